package gluster_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/gluster/failover"
	"github.com/glusterbackupd/glusterbackupd/runner"
)

// said is a Commander that says always the same.
type said struct {
	out string
	err error
}

func (said) Name() string { return "g1" }

func (s said) Run(context.Context, ...string) ([]byte, error) { return []byte(s.out), s.err }

func saying(t testing.TB, out string, err error) *gluster.Client {
	t.Helper()
	c, newErr := gluster.New(gluster.Options{Hosts: []gluster.Commander{said{out, err}}})
	if newErr != nil {
		t.Fatal(newErr)
	}
	return c
}

func TestUnexpectedAnswers(t *testing.T) {
	const ok = `<cliOutput><opRet>0</opRet><opErrno>0</opErrno><opErrstr/>`
	const snapshot = `<snapshot><name>s</name><uuid>u</uuid><description/><createTime>2026-11-22 17:37:00</createTime>` +
		`<snapVolume><status>Started</status><originVolume><name>v</name></originVolume></snapVolume></snapshot>`
	info := func(count, snapshots string) string {
		return ok + `<snapInfo><count>` + count + `</count><snapshots>` + snapshots + `</snapshots></snapInfo></cliOutput>`
	}
	if s, err := saying(t, info("1", snapshot), nil).SnapshotInfo(t.Context(), "s"); err != nil || s.Volume != "v" {
		t.Fatalf("SnapshotInfo = %+v, %v", s, err)
	}
	for desc, out := range map[string]string{
		"nothing":        "",
		"prose":          "Snapshot                  : s\n",
		"other document": "<html></html>",
		"cut off":        info("1", snapshot)[:200],
		"no opRet":       strings.Replace(info("1", snapshot), "<opRet>0</opRet>", "", 1),
		"word as opRet":  strings.Replace(info("1", snapshot), "<opRet>0", "<opRet>zero", 1),
		"two documents":  info("1", snapshot) + info("1", snapshot),
		"text behind":    info("1", snapshot) + "Error",
		"no info":        ok + "</cliOutput>",
		"none":           info("0", ""),
		"miscounted":     info("2", snapshot),
		"no count":       strings.Replace(info("1", snapshot), "<count>1</count>", "", 1),
		"other snapshot": strings.Replace(info("1", snapshot), "<name>s<", "<name>t<", 1),
		"no id":          strings.Replace(info("1", snapshot), "<uuid>u</uuid>", "", 1),
		"odd time":       strings.Replace(info("1", snapshot), "2026-11-22 17:37:00", "yesterday", 1),
		"odd status":     strings.Replace(info("1", snapshot), "Started", "Perhaps", 1),
		"no volume":      strings.Replace(info("1", snapshot), "<originVolume><name>v</name></originVolume>", "", 1),
	} {
		if s, err := saying(t, out, nil).SnapshotInfo(t.Context(), "s"); !errors.Is(err, gluster.ErrAnswer) {
			t.Errorf("%s: SnapshotInfo = %+v, %v, want ErrAnswer", desc, s, err)
		}
	}
}

// Whatever comes, it is an answer or an error.
func FuzzAnswer(f *testing.F) {
	f.Add(`<cliOutput><opRet>0</opRet><snapInfo><count>1</count><snapshots><snapshot/></snapshots></snapInfo></cliOutput>`)
	f.Add(`<cliOutput><opRet>-1</opRet><opErrno>30807</opErrno></cliOutput>`)
	f.Fuzz(func(t *testing.T, out string) {
		c := saying(t, out, nil)
		if s, err := c.SnapshotInfo(t.Context(), "s"); err == nil && (s.Name != "s" || s.UUID == "" || s.Created.IsZero() || s.Volume == "") {
			t.Errorf("SnapshotInfo = %+v", s)
		}
		if v, err := c.Volume(t.Context(), "v"); err == nil && (v.Name != "v" || v.ID == "" || len(v.Bricks) == 0) {
			t.Errorf("Volume = %+v", v)
		}
	})
}

// With --xml a failure has exit code 0 as a rule; when it has another one, the
// answer still counts.
func TestExitCodes(t *testing.T) {
	exit := &runner.ExitError{Host: "g1", Command: "gluster", Code: 1, Stderr: "bash: gluster: no such thing"}
	refused := `<?xml version="1.0"?><cliOutput><opRet>-1</opRet><opErrno>30802</opErrno><opErrstr>(null)</opErrstr></cliOutput>`
	tests := map[string]struct {
		out  string
		err  error
		kind error
	}{
		"refused":            {refused, exit, gluster.ErrBusy},
		"no daemon":          {"Connection failed. Please check if gluster daemon is operational.\n", exit, gluster.ErrNoDaemon},
		"no daemon, code 0":  {"Connection failed. Please check if gluster daemon is operational.\n", nil, gluster.ErrNoDaemon},
		"time-out":           {"Error : Request timed out\n", exit, gluster.ErrTimeout},
		"no gluster":         {"", exit, gluster.ErrFailed},
		"unknown option":     {"unrecognized option --xml\n", exit, gluster.ErrFailed},
		"cancelled":          {"", context.Canceled, context.Canceled},
		"output too large":   {"", &runner.OutputError{}, runner.ErrOutputTooLarge},
		"connection is lost": {"", &runner.LostError{Err: errors.New("EOF")}, gluster.ErrTimeout},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			_, err := saying(t, tt.out, tt.err).Volume(t.Context(), "v")
			if !errors.Is(err, tt.kind) {
				t.Errorf("Volume = %v, want %v", err, tt.kind)
			}
		})
	}
}

func unreachable(host string) error {
	return &runner.ConnectError{Host: host, Addr: host + ":22", Kind: runner.ErrUnreachable, Err: errors.New("no route")}
}

func TestNextHost(t *testing.T) {
	down := &recorded{name: "g1", fail: func(string) error { return unreachable("g1") }}
	up := host("volume info gbrec", "volume-info.xml")
	c := client(t, down, up)
	for range 3 {
		if _, err := c.Volume(t.Context(), "gbrec"); err != nil {
			t.Fatal(err)
		}
	}
	if len(down.calls) != 1 || len(up.calls) != 3 {
		t.Errorf("the dead host was asked %d times, the other one %d times", len(down.calls), len(up.calls))
	}
	// The one that worked fails now, the first one is back.
	up.fail = func(string) error { return unreachable("g2") }
	down.fail, down.answers = nil, map[string][]string{"volume info gbrec": {"volume-info.xml"}}
	if _, err := c.Volume(t.Context(), "gbrec"); err != nil {
		t.Error(err)
	}
}

// A question that changes nothing is asked again where the connection breaks; a
// command may have run, so that its result is looked for.
func TestLostHost(t *testing.T) {
	lost := &recorded{name: "g1", fail: func(string) error { return &runner.LostError{Host: "g1", Err: errors.New("EOF")} }}
	up := host("volume info gbrec", "volume-info.xml")
	if _, err := client(t, lost, up).Volume(t.Context(), "gbrec"); err != nil {
		t.Error(err)
	}
	up = host("snapshot info gbrec-snap-1", "snapshot-info-missing.xml")
	synctest.Test(t, func(t *testing.T) {
		_, err := client(t, lost, up).CreateSnapshot(t.Context(), gluster.SnapshotRequest{Name: "gbrec-snap-1", Volume: "gbrec"})
		if !errors.Is(err, gluster.ErrTimeout) || !gluster.Temporary(err) {
			t.Errorf("CreateSnapshot = %v, want a temporary ErrTimeout", err)
		}
	})
	for _, command := range up.calls {
		if !strings.HasPrefix(command, "snapshot info") {
			t.Errorf("the second host was told %q", command)
		}
	}
}

// Clients of the same hosts share what they know of them.
func TestSharedOutages(t *testing.T) {
	shared := &failover.Outages{}
	down := &recorded{name: "g1", fail: func(string) error { return unreachable("g1") }}
	for range 3 {
		up := host("volume info gbrec", "volume-info.xml")
		c, err := gluster.New(gluster.Options{Hosts: []gluster.Commander{down, up}, Outages: shared})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Volume(t.Context(), "gbrec"); err != nil {
			t.Error(err)
		}
	}
	if len(down.calls) != 1 {
		t.Errorf("three clients asked the dead host %d times, want once", len(down.calls))
	}
}

func TestNoHost(t *testing.T) {
	var hosts []*recorded
	for _, name := range []string{"g1", "g2"} {
		hosts = append(hosts, &recorded{name: name, fail: func(string) error { return unreachable(name) }})
	}
	_, err := client(t, hosts...).Volume(t.Context(), "gbrec")
	if !errors.Is(err, runner.ErrUnreachable) || !gluster.Temporary(err) || !strings.Contains(err.Error(), "g1:22") || !strings.Contains(err.Error(), "g2:22") {
		t.Errorf("Volume = %v, want both hosts unreachable", err)
	}
}

// A host whose identity or ours is in doubt is not passed over.
func TestDistrustedHost(t *testing.T) {
	for _, kind := range []error{runner.ErrHostKey, runner.ErrAuth} {
		first := &recorded{name: "g1", fail: func(string) error { return unreachable("g1") }}
		second := &recorded{name: "g2", fail: func(string) error {
			return &runner.ConnectError{Host: "g2", Addr: "g2:22", Kind: kind, Err: errors.New("odd")}
		}}
		third := host("volume info gbrec", "volume-info.xml")
		_, err := client(t, first, second, third).Volume(t.Context(), "gbrec")
		if !errors.Is(err, kind) || !strings.Contains(err.Error(), "g1") || gluster.Temporary(err) {
			t.Errorf("Volume = %v, want a final %v with the first host's failure", err, kind)
		}
		if len(third.calls) > 0 {
			t.Errorf("the third host was asked: %q", third.calls)
		}
	}
}

// A refusal is the pool's answer: no other host is asked, and the names of dead
// hosts do not clutter it.
func TestRefusalIsFinal(t *testing.T) {
	down := &recorded{name: "g1", fail: func(string) error { return unreachable("g1") }}
	up := host("volume info nosuch", "volume-info-missing.xml")
	third := host()
	_, err := client(t, down, up, third).Volume(t.Context(), "nosuch")
	if !errors.Is(err, gluster.ErrNoVolume) || strings.Contains(err.Error(), "g1") || len(third.calls) > 0 {
		t.Errorf("Volume = %v, third host: %q", err, third.calls)
	}
}

func TestTemporary(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	for desc, tt := range map[string]struct {
		err  error
		want bool
	}{
		"none":              {nil, false},
		"unreachable":       {unreachable("g1"), true},
		"lost":              {&runner.LostError{Err: errors.New("EOF")}, true},
		"caller's deadline": {context.Cause(ctx), false},
		"exit":              {&runner.ExitError{}, false},
		"distrust":          {&runner.ConnectError{Kind: runner.ErrAuth, Err: context.DeadlineExceeded}, false},
	} {
		if got := gluster.Temporary(tt.err); got != tt.want {
			t.Errorf("%s: Temporary(%v) = %v", desc, tt.err, got)
		}
	}
}

// A host without the program gets a remedy of its own.
func TestNoProgram(t *testing.T) {
	for _, run := range []gluster.Commander{
		said{"", &runner.ExitError{Host: "g1", Command: "gluster", Code: 127, Stderr: "sh: 1: gluster: not found\n"}},
		runner.NewLocal(runner.LocalOptions{}),
	} {
		c, err := gluster.New(gluster.Options{Hosts: []gluster.Commander{run}, Command: []string{"no-gluster-here"}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Volume(t.Context(), "v")
		var e *gluster.Error
		if !errors.As(err, &e) || !strings.Contains(e.Remedy(), "gluster.ssh.command") || !strings.Contains(err.Error(), "not found") {
			t.Errorf("Volume = %v", err)
		}
	}
}

func TestOptions(t *testing.T) {
	if _, err := gluster.New(gluster.Options{}); err == nil {
		t.Error("New took options without hosts")
	}
	if _, err := gluster.New(gluster.Options{Hosts: []gluster.Commander{said{}}, Timeout: 1}); err == nil {
		t.Error("New took a time-out of a nanosecond")
	}
}
