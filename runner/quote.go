package runner

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// quote joins args to a command line from which a POSIX shell makes exactly
// args again. Every argument is put into single quotes, inside which such a
// shell interprets nothing but the closing quote: reserved words, assignments,
// aliases, globs and newlines need no rule of their own, and every byte but NUL
// survives. Arguments must have passed checkArgs.
func quote(args []string) string {
	var b strings.Builder
	for i, arg := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteByte('\'')
		b.WriteString(strings.ReplaceAll(arg, "'", `'\''`))
		b.WriteByte('\'')
	}
	return b.String()
}

// checkArgs refuses what no command line can carry.
func checkArgs(args []string) error {
	if len(args) == 0 || args[0] == "" {
		return fmt.Errorf("%w: no command", ErrArgument)
	}
	for i, arg := range args {
		if strings.IndexByte(arg, 0) >= 0 {
			return fmt.Errorf("%w: argument %d of %s contains a NUL byte", ErrArgument, i, commandName(args))
		}
	}
	return nil
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$`)

// ValidHost tells whether name is a DNS name or an IP address (without brackets
// or port) that is safe on a command line and in a mount source. The error
// matches ErrHostName.
func ValidHost(name string) error {
	if hostName.MatchString(name) {
		return nil
	}
	// ParseAddr takes any zone, a shell metacharacter included.
	if addr, err := netip.ParseAddr(name); err == nil && (addr.Zone() == "" || hostName.MatchString(addr.Zone())) {
		return nil
	}
	return fmt.Errorf("%w %q", ErrHostName, name)
}
