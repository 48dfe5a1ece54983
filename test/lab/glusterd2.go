package lab

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// Glusterd2 is a glusterd2 server that runs in the guest, beside glusterd and
// apart from it: with a working folder, ports and a mount namespace of its own.
type Glusterd2 struct {
	URL    string
	Secret string // Of its REST interface.

	lab *Lab
}

// startGlusterd2 runs the server as a transient unit. glusterd2 reads the options
// of every translator of this machine and ends over mount/api.so of glusterfs
// 10, which has none; in its own mount namespace that one is not there. $1 is
// the guest's address.
const startGlusterd2 = `
d=/var/tmp/gblab-glusterd2
translators=$(glusterfsd --print-xlatordir)/mount
mkdir -p $d/state $d/run $d/log $d/mount
cp "$translators/fuse.so" $d/mount/
cat >$d/glusterd2.toml <<END
localstatedir = "$d/state"
rundir = "$d/run"
logdir = "$d/log"
logfile = "glusterd2.log"
clientaddress = "$1:24107"
peeraddress = "$1:24108"
etcdcurls = "http://$1:24179"
etcdpurls = "http://$1:24180"
END
systemd-run -q --unit=gblab-glusterd2 -p BindReadOnlyPaths="$d/mount:$translators" $d/glusterd2 --config $d/glusterd2.toml
`

// stopGlusterd2 ends the server with all bricks that it started.
const stopGlusterd2 = `
systemctl stop gblab-glusterd2 2>/dev/null || true
systemctl reset-failed gblab-glusterd2 2>/dev/null || true
rm -rf /var/tmp/gblab-glusterd2
`

// StartGlusterd2 builds glusterd2 if need be, starts it in the guest and waits
// until it answers. It must be called inside the lab's network namespace. The
// caller stops it.
func (l *Lab) StartGlusterd2(ctx context.Context) (*Glusterd2, error) {
	path, err := servers.BuildGlusterd2(ctx, servers.BuildOptions{Bin: os.Getenv("GLUSTERBACKUPD_LAB_BIN")})
	if err != nil {
		return nil, err
	}
	program, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer program.Close()
	g := &Glusterd2{URL: "http://" + l.Address + ":24107", lab: l}
	if err := g.Stop(ctx); err != nil {
		return nil, err
	}
	const put = "mkdir -p /var/tmp/gblab-glusterd2 && cat >/var/tmp/gblab-glusterd2/glusterd2 && chmod 755 /var/tmp/gblab-glusterd2/glusterd2"
	if _, err := l.GuestInput(ctx, program, "sh", "-c", put); err != nil {
		return nil, err
	}
	if _, err := l.Script(ctx, startGlusterd2, l.Address); err != nil {
		return nil, err
	}
	if err := g.wait(ctx); err != nil {
		log, _ := l.Guest(ctx, "tail", "-n", "20", "/var/tmp/gblab-glusterd2/log/glusterd2.log")
		return nil, fmt.Errorf("%w; its log ends with: %s", err, log)
	}
	secret, err := l.Guest(ctx, "cat", "/var/tmp/gblab-glusterd2/state/auth")
	g.Secret = strings.TrimSpace(string(secret))
	return g, err
}

// wait asks until the server answers.
func (g *Glusterd2) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	client := &http.Client{Timeout: 5 * time.Second}
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/ping", nil)
		if err != nil {
			return err
		}
		answer, err := client.Do(r)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("glusterd2 does not answer: %w", err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// Stop ends the server and removes all that it had.
func (g *Glusterd2) Stop(ctx context.Context) error {
	_, err := g.lab.Script(ctx, stopGlusterd2)
	return err
}
