package gluster_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/gluster"
)

// recorded is a Commander that answers with what a real host answered: the
// files in testdata are output of Gluster 10.3 and of LVM 2.03, recorded on a
// one-node pool; only volume-status-foreign.xml was edited, to name a brick that
// the volume does not have. A command that was not recorded is an error.
type recorded struct {
	name string
	// answers maps a command, without the options that every one has, to the
	// file with its output, or to several that are given one after the other;
	// the last one stays.
	answers map[string][]string
	// literal holds output that was not recorded, for what a healthy pool does
	// not say.
	literal map[string]string
	// answer, if set, gives output that was not recorded to commands that are too
	// long to be keys.
	answer func(command string) (out string, ok bool)
	// fail, if set, is asked before the answers.
	fail func(command string) error

	mu    sync.Mutex
	calls []string
}

const commonOptions = "gluster --mode=script --timeout=600 --xml "

func (r *recorded) Name() string { return r.name }

func (r *recorded) Run(_ context.Context, args ...string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	command := strings.TrimPrefix(strings.Join(args, " "), commonOptions)
	r.calls = append(r.calls, command)
	if r.fail != nil {
		if err := r.fail(command); err != nil {
			return nil, err
		}
	}
	if r.answer != nil {
		if out, ok := r.answer(command); ok {
			return []byte(out), nil
		}
	}
	if out, ok := r.literal[command]; ok {
		return []byte(out), nil
	}
	files, ok := r.answers[command]
	if !ok {
		return nil, fmt.Errorf("command %q was not recorded", command)
	}
	if len(files) > 1 {
		r.answers[command] = files[1:]
	}
	return os.ReadFile(filepath.Join("testdata", files[0]))
}

// host returns a recorded host; answers alternates commands and files, several
// files for one command being separated by spaces.
func host(answers ...string) *recorded {
	r := &recorded{name: "192.168.77.10", answers: make(map[string][]string), literal: make(map[string]string)}
	for i := 0; i < len(answers); i += 2 {
		r.answers[answers[i]] = strings.Fields(answers[i+1])
	}
	return r
}

// client returns a client of the hosts.
func client(t *testing.T, hosts ...*recorded) *gluster.Client {
	t.Helper()
	o := gluster.Options{Timeout: 600 * time.Second}
	for _, h := range hosts {
		o.Hosts = append(o.Hosts, h)
	}
	c, err := gluster.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
