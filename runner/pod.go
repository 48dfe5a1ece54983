package runner

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream" //nolint:staticcheck // client-go's spdy.Upgrader is declared with it.
	protocol "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	exec "k8s.io/client-go/util/exec"
)

// Pod runs commands in the pod on one node. It is safe for concurrent use.
type Pod struct {
	pods *Pods
	name string
}

// Name returns the host's name as given to Pods.Host.
func (p *Pod) Name() string { return p.name }

// Run runs args in the pod, without a shell, and returns the standard output. Its
// errors are those of Host.Run, with a *PodError where that has a *ConnectError.
func (p *Pod) Run(ctx context.Context, args ...string) ([]byte, error) {
	if err := checkArgs(args); err != nil {
		return nil, err
	}
	if err := ValidHost(p.name); err != nil {
		return nil, err
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("%s on %s: %w", commandName(args), p.name, err)
	}
	start := time.Now()
	out, err := p.run(ctx, args)
	p.pods.opts.Logger.DebugContext(ctx, "command ended", "host", p.name, "args", args, "duration", time.Since(start), "ok", err == nil)
	return out, err
}

// run finds the pod and streams the command's output from it.
func (p *Pod) run(ctx context.Context, args []string) ([]byte, error) {
	name := commandName(args)
	pod, err := p.pods.pod(ctx, p.name)
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := p.pods.opts.MaxOutput
	stdout := &bounded{limit: limit, full: func() { cancel(&OutputError{Host: p.name, Command: name, Limit: limit}) }}
	stderr := &tail{}
	up, executor, err := p.executor(pod, args)
	if err != nil {
		return nil, fmt.Errorf("%s on %s: %w", name, p.name, err)
	}
	// No command is started before the streams are there.
	timer := time.AfterFunc(p.pods.opts.DialTimeout, func() {
		if !up.connected.Load() {
			cancel(errNoAnswer)
		}
	})
	defer timer.Stop()
	err = executor.StreamWithContext(run, remotecommand.StreamOptions{Stdout: stdout, Stderr: stderr})
	var full *OutputError
	var exit exec.CodeExitError
	switch {
	case err == nil && up.ended.Load():
		return stdout.Bytes(), nil
	case err == nil:
		return nil, &LostError{Host: p.name, Command: name, Err: errNoStatus}
	case errors.As(context.Cause(run), &full):
		return nil, full
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s on %s: %w", name, p.name, context.Cause(ctx))
	case !up.connected.Load():
		return nil, p.pods.fail(p.name, pod, int(up.status.Load()), cause(run, err))
	case errors.As(err, &exit):
		return stdout.Bytes(), &ExitError{Host: p.name, Command: name, Code: exit.Code, Stderr: stderr.String()}
	case notStarted(err):
		return nil, &ExitError{Host: p.name, Command: name, Code: codeNotFound, Stderr: err.Error()}
	}
	return nil, &LostError{Host: p.name, Command: name, Err: err}
}

// codeNotFound is what a shell returns for a program that is not there.
const codeNotFound = 127

// notStarted recognises a container runtime's word for a program that is not in
// the container.
func notStarted(err error) bool {
	return strings.Contains(err.Error(), "executable file not found") || strings.Contains(err.Error(), "no such file or directory")
}

// executor prepares the request. SPDY is the one protocol that API servers of
// all versions speak, those of OpenShift 3 included; and with it a kubelet that
// does not answer is known before the command could have started.
func (p *Pod) executor(pod string, args []string) (*upgrade, remotecommand.Executor, error) {
	transport, upgrader, err := spdy.RoundTripperFor(p.pods.config)
	if err != nil {
		return nil, nil, err
	}
	up := &upgrade{next: upgrader}
	target := p.pods.core.Post().Namespace(p.pods.opts.Namespace).Resource("pods").Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: p.pods.opts.Container, Command: args, Stdout: true, Stderr: true}, p.pods.params)
	// Versions of the streams' protocol before the fourth (Kubernetes 1.4) say
	// nothing at the end of a success.
	executor, err := remotecommand.NewSPDYExecutorForProtocols(direct{transport}, up, http.MethodPost, target.URL(),
		protocol.StreamProtocolV5Name, protocol.StreamProtocolV4Name)
	return up, executor, err
}

// direct refuses redirections: credentials and command are the API server's.
type direct struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.RoundTripper.RoundTrip(r)
	if err == nil && answer.StatusCode >= http.StatusMultipleChoices && answer.StatusCode < http.StatusBadRequest {
		return nil, errors.Join(errRedirected, answer.Body.Close())
	}
	return answer, err
}

var (
	errRedirected = errors.New("the API server redirects the request")
	errNoStatus   = errors.New("the stream ended without a result")
)

// upgrade notes what became of the request for streams, which the errors of
// remotecommand do not tell.
type upgrade struct {
	next      spdy.Upgrader
	status    atomic.Int64
	connected atomic.Bool
	ended     atomic.Bool // The result of the command came.
}

// NewConnection implements spdy.Upgrader.
func (u *upgrade) NewConnection(r *http.Response) (httpstream.Connection, error) {
	u.status.Store(int64(r.StatusCode))
	c, err := u.next.NewConnection(r)
	if err != nil {
		return nil, err
	}
	u.connected.Store(true)
	return watched{c, &u.ended}, nil
}

// watched notes whether anything comes on the stream that tells the command's
// result. To remotecommand a connection that breaks before is a success.
type watched struct {
	httpstream.Connection
	ended *atomic.Bool
}

// CreateStream implements httpstream.Connection.
func (w watched) CreateStream(headers http.Header) (httpstream.Stream, error) {
	s, err := w.Connection.CreateStream(headers)
	if err == nil && headers.Get(corev1.StreamType) == corev1.StreamTypeError {
		return resultStream{s, w.ended}, nil
	}
	return s, err
}

// RemoveStreams implements httpstream.Connection, which knows its own streams.
func (w watched) RemoveStreams(streams ...httpstream.Stream) {
	for i, s := range streams {
		if r, ok := s.(resultStream); ok {
			streams[i] = r.Stream
		}
	}
	w.Connection.RemoveStreams(streams...)
}

type resultStream struct {
	httpstream.Stream
	ended *atomic.Bool
}

// Read implements io.Reader.
func (r resultStream) Read(p []byte) (int, error) {
	n, err := r.Stream.Read(p)
	if n > 0 {
		r.ended.Store(true)
	}
	return n, err
}

// withoutURL strips the *url.Error, whose text repeats the command.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
