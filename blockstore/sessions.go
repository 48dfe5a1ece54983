package blockstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

const (
	configFS   = "/sys/kernel/config"
	targetsDir = configFS + "/target/iscsi"
	iqnPrefix  = "iqn.2016-12.org.gluster-block:" // gluster/gluster-block rpc/block_common.h

	// UnknownInitiator stands for a session that the host counts but does
	// not name.
	UnknownInitiator = "(unknown)"
)

// IQN returns the iSCSI name of the target that exports the image.
func IQN(gbid string) string { return iqnPrefix + gbid }

// A Session is an initiator that is logged in to an image.
type Session struct {
	Host      string // the one that exports the image
	Initiator string // its IQN, or UnknownInitiator
	Target    string // IQN of the image
}

// An InUseError says who uses an image. It Is ErrInUse.
type InUseError struct {
	Image    string
	Sessions []Session // at least one
}

func (e *InUseError) Error() string {
	who := make([]string, 0, len(e.Sessions))
	for _, s := range e.Sessions {
		who = append(who, "initiator "+s.Initiator+" is logged in on host "+s.Host)
	}
	return fmt.Sprintf("%v: %s: %s", ErrInUse, e.Image, strings.Join(who, ", "))
}

// Is reports whether target is ErrInUse.
func (e *InUseError) Is(target error) bool { return target == ErrInUse }

// Remedy says how to log the initiator out.
func (e *InUseError) Remedy() string {
	target := "IQN"
	if len(e.Sessions) > 0 {
		target = e.Sessions[0].Target
	}
	return "stop the pod that uses the claim, or unmount and run 'iscsiadm -m node -T " + target +
		" --logout' on the initiator's host; or restore with --to FILE"
}

// An UnknownSessionsError says why a host could not tell whether somebody is
// logged in. It Is ErrUnknownSessions and unwraps to the error of the command,
// if one failed.
type UnknownSessionsError struct {
	Host, Target string
	Reason       string
	Err          error
}

func (e *UnknownSessionsError) Error() string {
	s := fmt.Sprintf("%v on host %s: %s", ErrUnknownSessions, e.Host, e.Reason)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is reports whether target is ErrUnknownSessions.
func (e *UnknownSessionsError) Is(target error) bool { return target == ErrUnknownSessions }

// Unwrap returns the error of the command.
func (e *UnknownSessionsError) Unwrap() error { return e.Err }

// Remedy is that of the command's error where it has one.
func (e *UnknownSessionsError) Remedy() string {
	var r interface{ Remedy() string }
	if errors.As(e.Err, &r) {
		return r.Remedy()
	}
	return "on host " + e.Host + " run 'ls " + targetsDir + "': it must be readable there, on the host itself and not in a container" +
		" without configfs; 'mount -t configfs none " + configFS + "' mounts it"
}

// A commander runs one command on one host. *runner.Host and *runner.Local
// implement it.
type commander interface {
	Run(ctx context.Context, args ...string) ([]byte, error)
}

// Sessions returns who is logged in to the image on one host, as the kernel
// says at this moment; nothing keeps another from logging in right after. It
// has to be asked on each exporting host. No sessions without an error means
// that the host was seen to have none: a host that cannot tell, because it
// does not answer, has no configfs in sight, or misses the attributes, is an
// error that Is ErrUnknownSessions.
//
// The source is configfs (Linux drivers/target/iscsi/iscsi_target_configfs.c):
// <IQN>/tpgt_*/dynamic_sessions for initiators with generated ACLs, which
// gluster-block uses, <IQN>/tpgt_*/acls/*/info for those with explicit ones,
// and the count of <IQN>/fabric_statistics/iscsi_instance/sessions as a check.
// 'targetcli sessions' knows only explicit ACLs and says "no open sessions"
// when there are some.
func Sessions(ctx context.Context, host string, c commander, gbid string) ([]Session, error) {
	if !validGBID.MatchString(gbid) {
		return nil, fmt.Errorf("%w: GBID %q", ErrName, gbid)
	}
	p := probe{host: host, target: IQN(gbid), dir: path.Join(targetsDir, IQN(gbid)), c: c}
	exported, err := p.exported(ctx)
	if err != nil || !exported {
		return nil, err
	}
	files, err := p.attributes(ctx)
	if err != nil {
		return nil, err
	}
	return p.sessions(ctx, files)
}

// A probe asks one host for one target.
type probe struct {
	host, target, dir string
	c                 commander
}

func (p probe) unknown(err error, format string, args ...any) error {
	return &UnknownSessionsError{Host: p.host, Target: p.target, Reason: fmt.Sprintf(format, args...), Err: err}
}

// exported says whether the host has the target. A missing folder is an answer
// only when configfs itself is in sight, so that is asked first; and find
// walks from there, so that it succeeds whether or not LIO is loaded.
func (p probe) exported(ctx context.Context) (bool, error) {
	out, err := p.c.Run(ctx, "stat", "-f", "-c", "%T", configFS)
	if err != nil {
		return false, p.unknown(err, "look for %s", configFS)
	}
	if kind := string(bytes.TrimSpace(out)); kind != "configfs" {
		return false, p.unknown(nil, "%s is not a configfs but %q", configFS, kind)
	}
	out, err = p.c.Run(ctx, "find", configFS, "-maxdepth", "3", "-path", p.dir, "-print")
	if err != nil {
		return false, p.unknown(err, "look for the target")
	}
	switch found := strings.TrimSpace(string(out)); found {
	case "":
		return false, nil
	case p.dir:
		return true, nil
	default:
		return false, p.unknown(nil, "unexpected answer %q", found)
	}
}

// The attributes of a target that tell of sessions.
type attributes struct {
	groups  []string // tpgt_N folders
	dynamic []string // tpgt_N/dynamic_sessions
	acls    []string // tpgt_N/acls/<initiator>/info
	counts  []string // fabric_statistics/iscsi_instance/sessions
}

func (p probe) attributes(ctx context.Context) (attributes, error) {
	var a attributes
	out, err := p.c.Run(ctx, "find", p.dir, "-mindepth", "1", "-maxdepth", "4",
		"(", "-name", "tpgt_*", "-o", "-name", "dynamic_sessions", "-o", "-name", "info", "-o", "-name", "sessions", ")", "-print0")
	if err != nil {
		return a, p.unknown(err, "list the target")
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(out), "\x00"), "\x00") {
		rel, below := strings.CutPrefix(name, p.dir+"/")
		switch part := strings.Split(rel, "/"); {
		case !below && name != "":
			return a, p.unknown(nil, "unexpected answer %q", name)
		case len(part) == 1 && strings.HasPrefix(rel, "tpgt_"):
			a.groups = append(a.groups, name)
		case len(part) == 2 && part[1] == "dynamic_sessions":
			a.dynamic = append(a.dynamic, name)
		case len(part) == 4 && part[1] == "acls" && part[3] == "info":
			a.acls = append(a.acls, name)
		case rel == "fabric_statistics/iscsi_instance/sessions":
			a.counts = append(a.counts, name)
		}
	}
	if len(a.dynamic) < len(a.groups) && len(a.counts) == 0 {
		return a, p.unknown(nil, "its kernel shows neither dynamic_sessions nor a count of sessions")
	}
	return a, nil
}

func (p probe) sessions(ctx context.Context, a attributes) ([]Session, error) {
	var initiators []string
	for _, name := range a.dynamic {
		text, err := p.read(ctx, name)
		if err != nil {
			return nil, err
		}
		initiators = append(initiators, parseDynamic(text)...)
	}
	for _, name := range a.acls {
		text, err := p.read(ctx, name)
		if err != nil {
			return nil, err
		}
		active, err := parseInfo(text)
		if err != nil {
			return nil, p.unknown(err, "read %s", name)
		}
		if active {
			initiators = append(initiators, path.Base(path.Dir(name)))
		}
	}
	count, err := p.count(ctx, a.counts)
	if err != nil {
		return nil, err
	}
	if count > 0 && len(initiators) == 0 {
		initiators = []string{UnknownInitiator}
	}
	slices.Sort(initiators)
	var all []Session
	for _, i := range slices.Compact(initiators) {
		all = append(all, Session{Host: p.host, Initiator: i, Target: p.target})
	}
	return all, nil
}

func (p probe) count(ctx context.Context, names []string) (total int, err error) {
	for _, name := range names {
		text, err := p.read(ctx, name)
		if err != nil {
			return 0, err
		}
		n, err := strconv.Atoi(string(bytes.TrimSpace(text)))
		if err != nil {
			return 0, p.unknown(err, "read %s", name)
		}
		total += n
	}
	return total, nil
}

func (p probe) read(ctx context.Context, name string) ([]byte, error) {
	out, err := p.c.Run(ctx, "cat", name)
	if err != nil {
		return nil, p.unknown(err, "read %s", name)
	}
	return out, nil
}

// parseDynamic reads dynamic_sessions: for each session the initiator's name,
// a newline and a NUL.
func parseDynamic(text []byte) []string {
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == 0 })
}

// parseInfo reads an explicit ACL's info: either "No active iSCSI Session For
// Initiator Endpoint: …" (the case of "For" differs between kernels), or some
// lines about the session that begin with its initiator's name.
func parseInfo(text []byte) (active bool, err error) {
	s := strings.ToLower(string(text))
	switch {
	case strings.HasPrefix(s, "no active iscsi session"):
		return false, nil
	case strings.HasPrefix(s, "initiatorname:"):
		return true, nil
	}
	return false, errors.New("it is neither a session nor the lack of one")
}
