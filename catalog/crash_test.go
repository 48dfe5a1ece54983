package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// The variables make the test binary a process that does one scenario on one
// BackupDisk and is killed at the n-th step of it.
const (
	crashScenario = "CATALOG_CRASH_SCENARIO"
	crashRoot     = "CATALOG_CRASH_ROOT"
	crashStep     = "CATALOG_CRASH_STEP"
)

func TestMain(m *testing.M) {
	name := os.Getenv(crashScenario)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := victim(name, os.Getenv(crashRoot), os.Getenv(crashStep)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// victim is the process that dies. It names the step on its standard output.
func victim(name, root, step string) error {
	n, err := strconv.Atoi(step)
	if err != nil {
		return err
	}
	hook := func(at string) error {
		if n--; n == 0 {
			fmt.Print(at)
			if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
				return err
			}
			select {}
		}
		return nil
	}
	if name == "init" {
		_, err := catalog.InitHook(root, hook)
		return err
	}
	r, err := catalog.Open(root, catalog.Options{})
	if err != nil {
		return err
	}
	r.SetHook(hook)
	return scenarios[name].locked(r)
}

// locked runs the scenario with the locks that it needs.
func (sc scenario) locked(r *catalog.Repository) (err error) {
	lock, err := r.Lock("test", catalog.ClaimScope(sc.key), catalog.VolumeScope("vol_1"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	return sc.run(r)
}

// scenario changes a BackupDisk that has the backups 0, 1 and 2 of shop/web.
type scenario struct {
	run func(r *catalog.Repository) error
	// at says from which step on which claim has how many backups.
	key    catalog.Key
	before []int
	turn   string // The last step before which the change is not visible.
	after  []int
}

var scenarios = map[string]scenario{
	"next backup": {
		run: func(r *catalog.Repository) error { _, err := makeBackup(r, web, 3); return err },
		key: web, before: []int{0, 1, 2}, turn: "publish: partial synced", after: []int{0, 1, 2, 3},
	},
	"first backup": {
		run: func(r *catalog.Repository) error { _, err := makeBackup(r, db, 0); return err },
		key: db, turn: "publish: partial synced", after: []int{0},
	},
	"remove newest": {
		run: func(r *catalog.Repository) error { return removeNth(r, 2) },
		key: web, before: []int{0, 1, 2}, turn: "latest: renamed", after: []int{0, 1},
	},
	"remove oldest": {
		run: func(r *catalog.Repository) error { return removeNth(r, 0) },
		key: web, before: []int{0, 1, 2}, turn: "lock: taken", after: []int{1, 2},
	},
	"remove all": {
		run: func(r *catalog.Repository) error {
			return errors.Join(removeNth(r, 0), removeNth(r, 1), removeNth(r, 2))
		},
		key: web, before: nil, turn: "", after: nil,
	},
	"trash newest": {
		run: func(r *catalog.Repository) error {
			b, err := r.Find(web, "")
			if err != nil {
				return err
			}
			return r.Trash(b)
		},
		key: web, before: []int{0, 1, 2}, turn: "latest: renamed", after: []int{0, 1},
	},
	"empty trash": {
		run: func(r *catalog.Repository) error {
			b, err := r.Find(web, at(1).Format("20060102"))
			if err != nil {
				return err
			}
			if err := r.Trash(b); err != nil {
				return err
			}
			_, err = r.EmptyTrash(context.Background(), catalog.EmptyOptions{})
			return err
		},
		key: web, before: []int{0, 1, 2}, turn: "lock: taken", after: []int{0, 2},
	},
	"sweep": {
		run: func(r *catalog.Repository) error {
			// What a process leaves that dies in its backup.
			if err := os.CopyFS(filepath.Join(r.Root(), "shop/web/20181230T030000Z.partial"), os.DirFS("testdata")); err != nil {
				return err
			}
			_, err := r.Sweep(context.Background(), web)
			return err
		},
		key: web, before: []int{0, 1, 2}, turn: "", after: []int{0, 1, 2},
	},
	"protect": {
		run: protectAndBack,
		key: web, before: []int{0, 1, 2}, turn: "", after: []int{0, 1, 2},
	},
	"abort": {
		run: func(r *catalog.Repository) error {
			s, err := r.Begin(web, at(3))
			if err != nil {
				return err
			}
			return errors.Join(stage(s, 3), s.Abort())
		},
		key: web, before: []int{0, 1, 2}, turn: "", after: []int{0, 1, 2},
	},
}

func removeNth(r *catalog.Repository, n int) error {
	b, err := r.Find(web, at(n).Format("20060102"))
	if err != nil {
		return err
	}
	return r.Remove(context.Background(), b)
}

func idsOf(days []int) (list []string) {
	for _, n := range days {
		list = append(list, at(n).Format("20060102T150405Z"))
	}
	return list
}

// die runs the victim. It returns the step at which it was killed, or "" when
// it was finished before.
func die(t *testing.T, name, root string, n int) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashScenario+"="+name, crashRoot+"="+root, crashStep+"="+strconv.Itoa(n))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err == nil {
		return ""
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signal() == syscall.SIGKILL {
		return string(out)
	}
	t.Fatalf("victim: %v: %s", err, stderr.String())
	return ""
}

// base makes the BackupDisk on which all scenarios begin.
func base(t *testing.T) string {
	t.Helper()
	r := newRepo(t)
	for n := range 3 {
		r.backup(web, n)
	}
	return r.Root()
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestKilled kills a real process at each step of each scenario. Whatever was
// there before is there afterwards, what is listed is whole, and Sweep leaves
// nothing behind.
func TestKilled(t *testing.T) {
	template := base(t)
	for name, sc := range scenarios {
		t.Run(name, func(t *testing.T) {
			visible := sc.turn == "" // Whether the step before which nothing shows was passed.
			for n := 1; ; n++ {
				root := filepath.Join(tempDir(t), "disk")
				copyTree(t, template, root)
				step := die(t, name, root, n)
				got := afterCrash(t, root, sc.key)
				switch {
				case name == "remove all":
					if step == "" && got != nil {
						t.Errorf("left after all were removed: %q", got)
					}
				case step == "" || visible:
					equal(t, got, idsOf(sc.after))
				default:
					equal(t, got, idsOf(sc.before))
				}
				if step == sc.turn {
					visible = true
				}
				if step == "" {
					if n < 4 || !visible {
						t.Errorf("only %d steps, and the turn %q was met: %v", n, sc.turn, visible)
					}
					return
				}
			}
		})
	}
}

// afterCrash is what the next start does: open, sweep, empty the trash. It
// returns what is listed before and after that, which must be the same. That
// every claim can be locked is part of it.
func afterCrash(t *testing.T, root string, k catalog.Key) []string {
	t.Helper()
	r, err := catalog.Open(root, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	first := ids(t, r, k)
	if _, err := r.SweepAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	equal(t, ids(t, r, k), first)
	if _, err := r.EmptyTrash(context.Background(), catalog.EmptyOptions{}); err != nil {
		t.Fatal(err)
	}
	equal(t, ids(t, r, k), first)
	if faults := audit(root); len(faults) > 0 {
		t.Errorf("after the sweep: %v", errors.Join(faults...))
	}
	if again, err := r.SweepAll(context.Background()); err != nil || len(again) > 0 {
		t.Errorf("second sweep removed %q, %v", again, err)
	}
	return first
}

// TestKilledInit shows that an Init that died can be repeated.
func TestKilledInit(t *testing.T) {
	var steps []string
	for n := 1; ; n++ {
		root := tempDir(t)
		step := die(t, "init", root, n)
		_, err := catalog.Open(root, catalog.Options{})
		done := step == "" || step == "init: marker renamed"
		if done != (err == nil) || !done && !errors.Is(err, catalog.ErrNotRepository) {
			t.Errorf("open after %q: %v", step, err)
		}
		if _, err := catalog.Init(root, catalog.Options{}); done != errors.Is(err, os.ErrExist) || !done && err != nil {
			t.Errorf("init after %q: %v", step, err)
		}
		afterCrash(t, root, web)
		if step == "" {
			break
		}
		steps = append(steps, step)
	}
	equal(t, steps, []string{"init: folder made", "init: marker written", "init: marker renamed"})
}

// TestFailed lets each step fail instead: the error comes back, and Abort or a
// later Sweep clean up.
func TestFailed(t *testing.T) {
	template := base(t)
	boom := errors.New("boom")
	for name, sc := range scenarios {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				root := filepath.Join(tempDir(t), "disk")
				copyTree(t, template, root)
				failed := failAt(t, root, sc, n, boom)
				got := afterCrash(t, root, sc.key)
				for _, id := range idsOf(sc.before) {
					if slices.Contains(idsOf(sc.after), id) && !slices.Contains(got, id) {
						t.Errorf("step %d lost %s", n, id)
					}
				}
				if !failed {
					equal(t, got, idsOf(sc.after))
					return
				}
			}
		})
	}
}

func failAt(t *testing.T, root string, sc scenario, n int, boom error) (failed bool) {
	t.Helper()
	r, err := catalog.Open(root, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	link := false // A link that cannot be renewed is mended later and is no error.
	r.SetHook(func(step string) error {
		if n--; n == 0 {
			failed, link = true, strings.HasPrefix(step, "latest: ")
			return boom
		}
		return nil
	})
	if err := sc.locked(r); failed != errors.Is(err, boom) && !link {
		t.Errorf("error %v, failed: %v", err, failed)
	}
	return failed
}
