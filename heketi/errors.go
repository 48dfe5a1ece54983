package heketi

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// What callers branch on. Each comes inside an [*Error].
var (
	// ErrNotFound means that Heketi answered and does not know the id or name.
	// It is not returned when something else than Heketi answers 404.
	ErrNotFound = errors.New("not known to Heketi")
	// ErrUnauthorized means a wrong key, a user without the rights, or clocks
	// that differ; the error's remedy tells which.
	ErrUnauthorized = errors.New("access refused")
	// ErrThrottled means that Heketi has too many operations under way.
	ErrThrottled = errors.New("server is busy")
	// ErrUnreachable means that no complete answer came, for whatever reason.
	ErrUnreachable = errors.New("server cannot be reached")
	// ErrAnswer means that the answer is not what Heketi sends, or an error of
	// the server.
	ErrAnswer = errors.New("unusable answer")
	// ErrName means that an id or name is malformed; nothing was sent.
	ErrName = errors.New("malformed name")
	// ErrNoSpace means that no cluster has room, or enough nodes, for a volume.
	ErrNoSpace = errors.New("no device has room for the volume")
	// ErrAmbiguous means that several block volumes have the name.
	ErrAmbiguous = errors.New("name is not unique")
)

// Error is a request that failed. It never holds text of a server's answer,
// since Heketi may quote commands and credentials there.
type Error struct {
	// Op is what was tried, such as "read volume".
	Op string
	// ID is the id or name that was asked for; "" for lists.
	ID string
	// URL is the server's base URL.
	URL string
	// Status is the HTTP status of the answer; 0 when none came.
	Status int

	kind, cause error
	remedy      string
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "heketi %s: %s", e.URL, e.Op)
	if e.ID != "" {
		fmt.Fprintf(&b, " %.300q", e.ID)
	}
	for _, err := range e.Unwrap() {
		fmt.Fprintf(&b, ": %v", err)
	}
	return b.String()
}

// Unwrap returns the sentinel and the cause, as far as there are any.
func (e *Error) Unwrap() []error {
	var list []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}

// Remedy returns one sentence that tells the admin what to do, or "".
func (e *Error) Remedy() string { return e.remedy }

// Temporary tells whether the same request may succeed later without anybody
// changing anything: the server is busy, restarting or cannot be reached. A
// cancelled context and a refused certificate are not temporary.
func Temporary(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch {
	case errors.Is(e.kind, ErrThrottled):
		return true
	case errors.Is(e.kind, ErrUnreachable):
		return !wrongSetting(e.cause)
	}
	switch e.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// wrongSetting tells whether a connection failed for a reason that waiting
// does not change.
func wrongSetting(err error) bool {
	_, record := errors.AsType[tls.RecordHeaderError](err)
	if record || badCertificate(err) || plainAnswer(err) {
		return true
	}
	dns, ok := errors.AsType[*net.DNSError](err)
	return ok && dns.IsNotFound
}

func badCertificate(err error) bool {
	_, ok := errors.AsType[*tls.CertificateVerificationError](err)
	return ok
}

// plainAnswer recognises net/http's error for an http server behind an https
// URL, which has no type.
func plainAnswer(err error) bool {
	return err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// fail makes the error of a request without a usable answer.
func (c *Client) fail(op, id string, kind, cause error) error {
	e := &Error{Op: op, ID: id, URL: c.url, kind: kind, cause: cause}
	switch {
	case !errors.Is(kind, ErrUnreachable):
	case badCertificate(cause):
		e.remedy = "Set ca_file in section [heketi] to the authority that signed Heketi's certificate, and use the host name of that certificate in url."
	case plainAnswer(cause):
		e.remedy = "Heketi serves plain http there: let url in section [heketi] begin with http://."
	default:
		e.remedy = "Check url in section [heketi] and that Heketi runs: curl " + c.url + "/hello."
	}
	return e
}

// answered makes the error of a request that got the status and, from the
// go-client, err: the answer's text, or what is wrong with its JSON. Text of
// the answer is compared with what Heketi is known to say and then dropped.
func (c *Client) answered(op, id string, status int, err error) error {
	e := &Error{Op: op, ID: id, URL: c.url, Status: status}
	text := err.Error()
	switch {
	case status == http.StatusOK:
		return c.damaged(e, err)
	case status == http.StatusUnauthorized:
		e.kind = ErrUnauthorized
		e.remedy, e.cause = refusal(text)
	case status == http.StatusTooManyRequests:
		e.kind = ErrThrottled
		e.remedy = "Wait until Heketi has finished its operations, or raise max_inflight_operations in its configuration."
	case status == http.StatusNotFound && id != "" && strings.Contains(text, "Id not found"):
		e.kind = ErrNotFound
		e.remedy = "List what Heketi knows: heketi-cli volume list; heketi-cli blockvolume list."
	case status == http.StatusBadRequest && strings.Contains(text, "HTTP request to an HTTPS server"):
		e.kind, e.cause = ErrAnswer, errors.New("the server wants https")
		e.remedy = "Let url in section [heketi] begin with https://."
	case status == http.StatusInternalServerError && strings.Contains(text, "No space"):
		e.kind, e.cause = ErrNoSpace, nil
		e.remedy = "Add a device (heketi-cli device add), or delete volumes that nobody needs: heketi-cli topology info shows the free space of each device. A block volume needs a blockhost volume with room: by itself Heketi makes one with three replicas, others are made with heketi-cli volume create --block."
	default:
		e.kind, e.cause = ErrAnswer, fmt.Errorf("status %d %s", status, http.StatusText(status))
		e.remedy = "Check that url in section [heketi] is Heketi's own address, and look into Heketi's log."
	}
	return e
}

// damaged makes the error of an answer with status 200 that broke off or is
// not Heketi's JSON.
func (c *Client) damaged(e *Error, err error) error {
	_, syntax := errors.AsType[*json.SyntaxError](err)
	_, typed := errors.AsType[*json.UnmarshalTypeError](err)
	_, size := errors.AsType[*http.MaxBytesError](err)
	switch {
	case syntax, typed:
		e.kind, e.cause = ErrAnswer, errors.New("it is not Heketi's JSON")
	case size:
		e.kind, e.cause = ErrAnswer, fmt.Errorf("it is larger than %d MiB", maxAnswer>>20)
	default:
		e.kind, e.cause = ErrUnreachable, errors.New("the answer broke off")
	}
	e.remedy = "Check that url in section [heketi] is Heketi's own address: curl " + c.url + "/hello."
	return e
}

// refusal explains a 401 by the texts of heketi/heketi middleware/jwt.go and
// apps/glusterfs/app_middleware.go.
func refusal(text string) (remedy string, cause error) {
	switch {
	case strings.Contains(text, "used before issued"), strings.Contains(text, "is expired"):
		return "Set the clocks of this host and of the host where Heketi runs: chronyc tracking.",
			errors.New("the clocks of this host and of Heketi differ")
	case strings.Contains(text, "Administrator access required"):
		return `Set user in section [heketi] to "admin" and key_file to a file with the administrator's key.`,
			errors.New("the user is not Heketi's administrator")
	case strings.Contains(text, "Unknown user"):
		return `Set user in section [heketi] to "admin".`, errors.New("Heketi does not know the user")
	case strings.Contains(text, "signature is invalid"):
		return "Put the value of jwt.admin.key of Heketi's configuration into the file that key_file in section [heketi] names.",
			errors.New("wrong key")
	}
	return "Check user and key_file in section [heketi], and that no proxy between here and Heketi changes paths.",
		errors.New("Heketi does not accept the token")
}
