package notify

import (
	"fmt"
	"net/http"
)

// Error is an address that did not get a summary, or that cannot be used.
type Error struct {
	// Target is the key in section [notify]: "ping" or "webhook".
	Target string
	// Server is the scheme and host of the address; "" of one that is
	// malformed.
	Server string
	// Attempts that were made, and the HTTP Status of the last one; 0 when it
	// got no answer.
	Attempts, Status int

	cause  error
	remedy string
}

// Error implements error.
func (e *Error) Error() string {
	if e.Server == "" {
		return fmt.Sprintf("notify: %s: %v", e.Target, e.cause)
	}
	if e.Attempts > 1 {
		return fmt.Sprintf("notify %s %s: %v, after %d attempts", e.Target, e.Server, e.cause, e.Attempts)
	}
	return fmt.Sprintf("notify %s %s: %v", e.Target, e.Server, e.cause)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.cause }

// Remedy returns one sentence that tells the admin what to do.
func (e *Error) Remedy() string { return e.remedy }

// failure makes the error of a message that was given up.
func failure(m message, last attempt, tried int) error {
	e := &Error{Target: m.target, Server: server(m.url), Attempts: tried, Status: last.status, cause: last.cause}
	switch {
	case last.status >= 300 && last.status < 400:
		e.remedy = fmt.Sprintf("The server points elsewhere, and redirects are not followed: set %s in section [notify] to the final address.", m.target)
	case last.status == http.StatusTooManyRequests || last.status >= 500 || last.verdict == temporary && last.status != 0:
		e.remedy = "Nothing is wrong here: look at the server's state. The next slot is told again."
	case last.status != 0:
		e.remedy = fmt.Sprintf("The server does not know the address any more or does not take it: copy it anew into %s in section [notify].", m.target)
	default:
		e.remedy = fmt.Sprintf("Check name, route, proxy and firewall from this host: curl -v %s", e.Server)
	}
	return e
}
