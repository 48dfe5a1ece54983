package copier

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
)

// RsyncError is an rsync that ran and failed.
type RsyncError struct {
	// Code is rsync's exit code; -1 when a signal ended it.
	Code int
	// Meaning is what rsync's manual says about the code.
	Meaning string
	// Stderr is the beginning and the end of what it wrote there.
	Stderr string
	// Errno is the system error that it reported: a full disk or exceeded
	// quota before others, else the first; 0 when it named none.
	Errno syscall.Errno

	// again says that a second run will find nothing to complain about.
	again bool
}

// Error implements error. It gives one line of Stderr, the one that names the
// path as a rule.
func (e *RsyncError) Error() string {
	s := fmt.Sprintf("rsync exit code %d (%s)", e.Code, e.Meaning)
	if first := e.firstMessage(); first != "" {
		s += ": " + first
	}
	return s
}

// Unwrap makes errors.Is(err, syscall.ENOSPC) and errors.Is(err,
// fs.ErrPermission) work.
func (e *RsyncError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Remedy tells the admin what to do.
func (e *RsyncError) Remedy() string {
	switch {
	case e.Errno == syscall.ENOSPC || e.Errno == syscall.EDQUOT:
		return "free space on the destination, or raise its quota, then run the command again"
	case e.Code == 24:
		return "something changed the source while it was copied; make sure that it is a snapshot, then run the command again"
	case e.Errno == syscall.EOPNOTSUPP:
		return "the destination lacks ACLs or extended attributes; use a file system that has them (XFS, ext4), or mount a Gluster volume with the option \"acl\""
	case e.Errno == syscall.EIO:
		return "check the disk and the mount that the message names, in \"dmesg\" and in Gluster's log"
	}
	return "see rsync's messages, which name the paths; the codes are listed under EXIT VALUES in \"man rsync\""
}

func (e *RsyncError) firstMessage() string {
	var first string
	for line := range strings.SplitSeq(e.Stderr, "\n") {
		if first == "" {
			first = line
		}
		if e.Errno != 0 && strings.HasSuffix(line, fmt.Sprintf("(%d)", int(e.Errno))) {
			return line
		}
	}
	return first
}

// meaning names an exit code of rsync (errcode.h).
func meaning(code int) string {
	names := map[int]string{
		-1: "ended by a signal",
		1:  "syntax or usage error",
		2:  "protocol incompatibility",
		3:  "errors selecting input/output files or folders",
		4:  "requested action not supported",
		5:  "error starting client-server protocol",
		6:  "cannot append to log file",
		10: "error in socket I/O",
		11: "error in file I/O",
		12: "error in rsync protocol data stream",
		13: "errors with program diagnostics",
		14: "error in IPC code",
		15: "sibling process crashed",
		16: "sibling process ended by a signal",
		19: "received SIGUSR1",
		20: "received SIGINT, SIGTERM or SIGHUP",
		21: "error returned by waitpid",
		22: "error allocating memory",
		23: "partial transfer due to error",
		24: "partial transfer due to vanished source files",
		25: "deletion limit reached",
		30: "timeout in data send/receive",
		35: "timeout waiting for connection",
		// Codes of shells and wrappers, for a Command that is one.
		124: "remote command failed",
		125: "remote command killed",
		126: "command cannot be run",
		127: "command not found",
	}
	if name, ok := names[code]; ok {
		return name
	}
	return "unknown code"
}

// messages keeps the first and the last lines of a stream, and the system
// error that counts.
type messages struct {
	first, last []string
	omitted     int
	errno       syscall.Errno
	// spurious counts the messages of staleACL, real all others.
	spurious, real int
}

const (
	firstLines = 12
	lastLines  = 8
)

// sysError is how rsync ends a message about a failed system call.
var sysError = regexp.MustCompile(`: [^:]+ \((\d{1,3})\)$`)

// staleACL is what rsync (seen in 3.5.0) says of a folder that it has just
// replaced by a hard link to another file: it made the link, and then asked it
// for the default ACL that only folders have, which fails in libacl. The run
// counts as failed though nothing is wrong.
var staleACL = regexp.MustCompile(`get_acl: sys_acl_get_file\(.*, ACL_TYPE_DEFAULT\): Permission denied \(13\)$`)

// summaryOf23 is the last line of a run with exit code 23.
const summaryOf23 = "rsync error: some files/attrs were not transferred"

func (m *messages) line(b []byte) {
	line := strings.TrimSpace(string(b))
	if line == "" {
		return
	}
	if s := sysError.FindStringSubmatch(line); s != nil {
		if n, err := strconv.Atoi(s[1]); err == nil {
			m.note(syscall.Errno(n))
		}
	}
	switch {
	case staleACL.MatchString(line):
		m.spurious++
	case !strings.HasPrefix(line, summaryOf23):
		m.real++
	}
	if len(m.first) < firstLines {
		m.first = append(m.first, line)
		return
	}
	m.last = append(m.last, line)
	if len(m.last) > lastLines {
		m.last = m.last[1:]
		m.omitted++
	}
}

func (m *messages) note(e syscall.Errno) {
	full := e == syscall.ENOSPC || e == syscall.EDQUOT
	if m.errno == 0 || full && m.errno != syscall.ENOSPC {
		m.errno = e
	}
}

// String returns the kept lines; one line says how many were left out.
func (m *messages) String() string {
	lines := append([]string(nil), m.first...)
	if m.omitted > 0 {
		lines = append(lines, fmt.Sprintf("... (%d more lines) ...", m.omitted))
	}
	return strings.Join(append(lines, m.last...), "\n")
}
