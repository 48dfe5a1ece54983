package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"
)

// Limits of one connection, so that a client that sends nothing or reads
// nothing costs little. Writing may take longer than a scrape.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 16 << 10
)

// ServerOptions configure [NewServer].
type ServerOptions struct {
	// Listen is an address and port such as "127.0.0.1:9280". Port 0 is any
	// that is free; see [Server.Addr]. Required.
	Listen string
	// Handler is normally that of [Metrics.Handler]. Required.
	Handler http.Handler
	// Logger gets faults of connections. Optional.
	Logger *slog.Logger
}

// Server serves a handler on one address. It is started and shut down once.
type Server struct {
	listen   string
	http     *http.Server
	listener net.Listener
	done     chan struct{}
	err      error // Why serving ended; read after done is closed.
}

// NewServer checks the options. It does not listen yet.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Listen == "" || o.Handler == nil {
		return nil, errors.New("metrics: Listen and Handler are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		listen: o.Listen,
		done:   make(chan struct{}),
		http: &http.Server{
			Handler:           o.Handler,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       readTimeout,
			WriteTimeout:      writeTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
		},
	}, nil
}

// Start listens and then serves in the background until Shutdown. An address
// that cannot be had yields a [*ListenError] and leaves nothing behind. ctx
// bounds only the call itself.
func (s *Server) Start(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.listen)
	if err != nil {
		return &ListenError{Address: s.listen, cause: err}
	}
	s.listener = l
	go func() {
		defer close(s.done)
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.err = fmt.Errorf("serve metrics on %s: %w", l.Addr(), err)
		}
	}()
	return nil
}

// Addr returns the address that a started server listens on.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// Done is closed when a started server serves no more, for whatever reason.
func (s *Server) Done() <-chan struct{} { return s.done }

// Shutdown stops listening and lets requests under way end until ctx is done;
// then it cuts them off. It returns what ended the server before, if anything
// did, and is harmless on one that was not started.
func (s *Server) Shutdown(ctx context.Context) error {
	if s.listener == nil {
		return nil
	}
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("shut down metrics on %s: %w", s.listen, err), s.http.Close())
	}
	<-s.done
	return errors.Join(err, s.err)
}

// ListenError is an address that the server cannot listen on.
type ListenError struct {
	Address string

	cause error
}

// Error implements error.
func (e *ListenError) Error() string { return fmt.Sprintf("serve metrics: %v", e.cause) }

// Unwrap returns the cause.
func (e *ListenError) Unwrap() error { return e.cause }

// Remedy returns one sentence that tells the admin what to do.
func (e *ListenError) Remedy() string {
	_, port, _ := net.SplitHostPort(e.Address)
	switch {
	case errors.Is(e.cause, syscall.EADDRINUSE):
		return fmt.Sprintf("Another program listens there, perhaps a second glusterbackupd: find it with ss -ltnp 'sport = :%s' and stop it, or set listen in section [metrics] to another port.", port)
	case errors.Is(e.cause, syscall.EADDRNOTAVAIL):
		return "This host does not have the address: set listen in section [metrics] to one that ip address shows, or to 127.0.0.1."
	case errors.Is(e.cause, syscall.EACCES):
		return "The port needs more rights than glusterbackupd has: set listen in section [metrics] to a port above 1023."
	}
	return `Set listen in section [metrics] to an address and port of this host, such as "127.0.0.1:9280", or to "" for none.`
}
