package glusterd2

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

// because is a cause with what the admin can do about it: the remedies of
// package gluster speak of commands that a pool of glusterd2 does not have.
type because struct {
	error
	remedy string
}

// Remedy says what the admin can do.
func (b because) Remedy() string { return b.remedy }

// Unwrap returns the cause itself.
func (b because) Unwrap() error { return b.error }

// unconnected makes the error of a request that no server got.
func unconnected(q call, base string, err error) error {
	err = innermost(err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case certificate:
		return q.error(base, gluster.ErrCertificate, because{
			err, "set gluster.glusterd2.ca_file to the authority that signed the certificate, and use the certificate's host name in gluster.glusterd2.urls",
		})
	case record, strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return q.error(base, gluster.ErrAnswer, because{
			err, "the server speaks plain http: let the URL in gluster.glusterd2.urls begin with http://",
		})
	}
	return q.error(base, runner.ErrUnreachable, because{
		err, fmt.Sprintf("check gluster.glusterd2.urls, and that glusterd2 runs there: curl %s/ping", base),
	})
}

// innermost strips the *url.Error, whose text repeats the URL.
func innermost(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// answered makes the error of a request that got a status, and from glusterd2's
// client err: the messages of the answer, or what is wrong with its JSON.
func answered(q call, base string, p *performer, err error) error {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, typed := errors.AsType[*json.UnmarshalTypeError](err)
	_, size := errors.AsType[*http.MaxBytesError](err)
	switch {
	case size:
		return q.error(base, gluster.ErrAnswer, fmt.Errorf("it is larger than %d MiB", maxAnswer>>20))
	case p.status == http.StatusServiceUnavailable:
		return q.error(base, gluster.ErrNoDaemon, because{status(p), "see the log of glusterd2 there"})
	case p.status == http.StatusBadGateway, p.status == http.StatusGatewayTimeout:
		return q.error(base, gluster.ErrTimeout, because{status(p), "see the log of the proxy in front of glusterd2"})
	case syntax, typed, p.status < http.StatusBadRequest && p.status >= http.StatusMultipleChoices:
		return q.error(base, gluster.ErrAnswer, because{
			fmt.Errorf("%w, and it is not glusterd2's JSON", status(p)),
			fmt.Sprintf("check that %s is glusterd2's own address; glusterd, the older one, listens on the same port and needs the transport ssh", base),
		})
	case p.status < http.StatusMultipleChoices:
		// The answer began and broke off: the request was carried out.
		return q.error(base, gluster.ErrTimeout, &runner.LostError{Host: base, Command: q.op, Err: err})
	}
	return refusal(q, base, p, strings.TrimSpace(err.Error()))
}

func status(p *performer) error {
	return fmt.Errorf("status %d %s", p.status, http.StatusText(p.status))
}

// refusal sorts what glusterd2 says no to.
func refusal(q call, base string, p *performer, message string) error {
	e := q.error(base, kindOf(p.status, message), nil)
	e.Message = message
	e.Err = because{status(p), remedy(e)}
	return e
}

// kindOf sorts by status where it says something, and else by the words of
// gluster/glusterd2 pkg/errors and glusterd2/commands/snapshot. Their first
// letters differ between handlers, and those of other nodes come with the name
// of the step around them.
func kindOf(code int, message string) error {
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return runner.ErrAuth
	case http.StatusConflict:
		return gluster.ErrBusy
	case http.StatusNotImplemented:
		return gluster.ErrUnsupported
	}
	message = strings.ToLower(message)
	for _, p := range []struct {
		text string
		kind error
	}{
		{"volume not found", gluster.ErrNoVolume},
		{"snapshot not found", gluster.ErrNoSnapshot},
		{"snapshot already exists", gluster.ErrSnapshotExists},
		{"volume not started", gluster.ErrVolumeStopped},
		{"could not obtain lock", gluster.ErrBusy},
		{"brick is offline", gluster.ErrBrickDown},
		{"is probably down", gluster.ErrNodeDown},
		{"not compatable in size", gluster.ErrPoolFull},
		{"brick is not compatable", gluster.ErrNotThin},
		{"invalid snapshot name", gluster.ErrName},
		{"snapshot not supported", gluster.ErrUnsupported},
	} {
		if strings.Contains(message, p.text) {
			return p.kind
		}
	}
	return gluster.ErrFailed
}

// alreadySo recognises the refusals of what is as it should be already.
func alreadySo(err error) bool {
	e, ok := errors.AsType[*gluster.Error](err)
	return ok && (strings.Contains(e.Message, "already activated") || strings.Contains(e.Message, "already deactivated"))
}

// remedy says what the admin can do in a pool of glusterd2.
func remedy(e *gluster.Error) string {
	switch {
	case errors.Is(e.Kind, runner.ErrAuth) && strings.Contains(e.Message, "expired"):
		return "set the clocks of this host and of the server: chronyc tracking"
	case errors.Is(e.Kind, runner.ErrAuth):
		return `put the content of the file auth in glusterd2's working folder into gluster.glusterd2.secret_file; gluster.glusterd2.user must be "glustercli"`
	case errors.Is(e.Kind, gluster.ErrNoVolume):
		return `compare the name with the output of "glustercli volume list"`
	case errors.Is(e.Kind, gluster.ErrNoSnapshot), errors.Is(e.Kind, gluster.ErrSnapshotExists):
		return `see "glustercli snapshot list"`
	case errors.Is(e.Kind, gluster.ErrVolumeStopped):
		return fmt.Sprintf(`run "glustercli volume start %s"`, e.Volume)
	case errors.Is(e.Kind, gluster.ErrBusy):
		return "try again later; if it lasts, see the log of glusterd2 on all nodes"
	case errors.Is(e.Kind, gluster.ErrBrickDown):
		return fmt.Sprintf(`run "glustercli volume status %s" and see the logs of the bricks that are offline`, e.Volume)
	case errors.Is(e.Kind, gluster.ErrNodeDown):
		return `run "glustercli peer status" and bring the missing nodes back`
	case errors.Is(e.Kind, gluster.ErrPoolFull):
		return "delete snapshots or extend the thin pool with lvextend; from 90 % on, glusterd2 takes no snapshot"
	case errors.Is(e.Kind, gluster.ErrNotThin):
		return "move the bricks to thinly provisioned LVs; snapshots need that"
	}
	return "see the log of glusterd2 on " + e.Host
}
