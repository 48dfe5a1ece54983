package runner

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Errors that callers branch on.
var (
	// ErrUnreachable means that no ssh connection came about; the command was
	// not started.
	ErrUnreachable = errors.New("host is unreachable")
	// ErrHostKey means that the host's key is unknown, revoked or differs from
	// the one in known_hosts; the command was not started.
	ErrHostKey = errors.New("host key is not trusted")
	// ErrAuth means that the host refused the user's key; the command was not
	// started.
	ErrAuth = errors.New("authentication was refused")
	// ErrConnectionLost means that the connection broke while the command was
	// running: it may have run to its end, partly, or may still be running.
	ErrConnectionLost = errors.New("connection was lost while the command was running")
	// ErrOutputTooLarge means that the command wrote more than MaxOutput bytes
	// to its standard output and was stopped.
	ErrOutputTooLarge = errors.New("output is too large")
	// ErrHostName means that a host name contains characters that no host name
	// or IP address has; nothing was dialled.
	ErrHostName = errors.New("invalid host name")
	// ErrArgument means that an argument cannot be passed to a command, because
	// there is none or it contains a NUL byte.
	ErrArgument = errors.New("invalid argument")
	// ErrKeyFile means that the private key cannot be used: missing, readable by
	// others, encrypted, or not a key.
	ErrKeyFile = errors.New("unusable private key")
	// ErrKnownHosts means that the known_hosts file is missing or malformed.
	ErrKnownHosts = errors.New("unusable known_hosts file")
	// ErrClosed means that the SSH runner has been closed.
	ErrClosed = errors.New("ssh runner is closed")
)

// ExitError reports a command that ran and failed.
type ExitError struct {
	Host    string // The host's name, "localhost" for a local command.
	Command string // The command's name, without its arguments.
	Code    int    // The exit code, 128 plus the signal's number after a signal.
	Stderr  string // The last 4 KiB of standard error.
}

// Error names the host, the command, the code and the last line of standard error.
func (e *ExitError) Error() string {
	msg := fmt.Sprintf("%s on %s: exit code %d", e.Command, e.Host, e.Code)
	if line := lastLine(e.Stderr); line != "" {
		msg += ": " + line
	}
	return msg
}

// ConnectError reports that no usable connection to a host came about. The
// command was certainly not started. It matches Kind and Err in errors.Is.
type ConnectError struct {
	Host string // The host's name as the caller gave it.
	Addr string // The address that was dialled, with port.
	User string // The user on the host.
	Kind error  // ErrUnreachable, ErrHostKey or ErrAuth.
	Err  error  // The cause.

	keyFile, knownHosts string
	fingerprint         string // The offered host key's, when one was offered.
}

// Error names host, kind and cause.
func (e *ConnectError) Error() string {
	return fmt.Sprintf("ssh %s: %v: %v", e.Addr, e.Kind, e.Err)
}

// Unwrap returns the kind and the cause.
func (e *ConnectError) Unwrap() []error { return []error{e.Kind, e.Err} }

// Temporary tells whether the same command may succeed later without any change
// in the configuration: only an unreachable host is temporary.
func (e *ConnectError) Temporary() bool { return errors.Is(e.Kind, ErrUnreachable) }

// Remedy says what the admin can do.
func (e *ConnectError) Remedy() string {
	switch {
	case errors.Is(e.Kind, ErrHostKey) && e.fingerprint != "":
		return fmt.Sprintf("compare %s with the output of \"ssh-keygen -lf\" for the keys in /etc/ssh on %s; if it is right, "+
			"run \"ssh-keygen -R %s -f %s\" and add the new key to that file (gluster.ssh.known_hosts)",
			e.fingerprint, e.Host, bracketed(e.Addr), e.knownHosts)
	case errors.Is(e.Kind, ErrHostKey):
		return fmt.Sprintf("add the present host key of %s to %s (gluster.ssh.known_hosts), after comparing it on the host itself",
			e.Host, e.knownHosts)
	case errors.Is(e.Kind, ErrAuth):
		return fmt.Sprintf("append the public key of %s (gluster.ssh.key_file) to ~/.ssh/authorized_keys of user %s on %s",
			e.keyFile, e.User, e.Host)
	}
	return fmt.Sprintf("check that %s is up and that sshd answers on %s (gluster.ssh.port)", e.Host, e.Addr)
}

// LostError reports a connection that broke while a command was running on it.
type LostError struct {
	Host    string // The host's name.
	Command string // The command's name, without its arguments.
	Err     error  // The cause.
}

// Error names the command and the host.
func (e *LostError) Error() string {
	return fmt.Sprintf("%s on %s: %v: %v", e.Command, e.Host, ErrConnectionLost, e.Err)
}

// Unwrap returns ErrConnectionLost and the cause.
func (e *LostError) Unwrap() []error { return []error{ErrConnectionLost, e.Err} }

// Temporary is true: the host may answer again.
func (e *LostError) Temporary() bool { return true }

// OutputError reports a command whose output exceeded the limit. It matches
// ErrOutputTooLarge.
type OutputError struct {
	Host    string // The host's name.
	Command string // The command's name, without its arguments.
	Limit   int64  // The limit in bytes.
}

// Error names the command, the host and the limit.
func (e *OutputError) Error() string {
	return fmt.Sprintf("%s on %s: %v: more than %d bytes", e.Command, e.Host, ErrOutputTooLarge, e.Limit)
}

// Unwrap returns ErrOutputTooLarge.
func (e *OutputError) Unwrap() error { return ErrOutputTooLarge }

// FileError reports a key or known_hosts file that cannot be used. It matches
// Kind and Err in errors.Is.
type FileError struct {
	Path string // The file.
	Kind error  // ErrKeyFile or ErrKnownHosts.
	Err  error  // The cause, never with contents of the file.

	remedy string
}

// Error names the file and the cause.
func (e *FileError) Error() string { return fmt.Sprintf("%s: %v: %v", e.Path, e.Kind, e.Err) }

// Unwrap returns the kind and the cause.
func (e *FileError) Unwrap() []error { return []error{e.Kind, e.Err} }

// Remedy says what the admin can do.
func (e *FileError) Remedy() string { return e.remedy }

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return strings.TrimSpace(s[strings.LastIndexByte(s, '\n')+1:])
}

// commandName is what errors and logs call a command.
func commandName(args []string) string { return filepath.Base(args[0]) }
