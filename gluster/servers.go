package gluster

import (
	"context"
	"net"
	"time"
)

const (
	// volfilePort is where glusterd serves volume files, which is all that a
	// mount needs of the servers that it names.
	volfilePort = "24007"
	// serverTimeout is how long a server may take to accept a connection before
	// another one is preferred.
	serverTimeout = 3 * time.Second
)

// preferReachable returns the servers with the first that dial reaches in front.
// The Gluster client itself gives a dead one, whose packets are lost, 42 s (10.3)
// before it asks the next: three of them are longer than a mount may take, and a
// restore mounts three times. When none can be reached, the order stays and the
// mount says why.
func preferReachable(ctx context.Context, servers []string, dial func(ctx context.Context, server string) error) []string {
	if len(servers) < 2 {
		return servers
	}
	ctx, cancel := context.WithTimeout(ctx, serverTimeout)
	defer cancel()
	answers := make([]chan error, len(servers))
	for i, s := range servers {
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- dial(ctx, s) }()
	}
	for i := range servers {
		if <-answers[i] == nil {
			ordered := append([]string{}, servers[i:]...)
			return append(ordered, servers[:i]...)
		}
	}
	return servers
}

// dialGlusterd connects to glusterd on the server and hangs up.
func dialGlusterd(ctx context.Context, server string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(server, volfilePort))
	if err != nil {
		return err
	}
	return conn.Close()
}
