package daemon

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestMountNames(t *testing.T) {
	long := strings.Repeat("v", 240)
	for _, kind := range lockedKinds {
		name, err := mountName(kind, "view-volume-1")
		if v, ok := volumeOf(name); err != nil || !ok || v != "view-volume-1" || deadPlan(name) {
			t.Errorf("%s: %q is of volume %q, %v", kind, name, v, err)
		}
	}
	one, err := mountName(kindPlan, long)
	if err != nil || len(one) > 200 || !planMount.MatchString(one) {
		t.Errorf("plan: %q, %v", one, err)
	}
	if two, err := mountName(kindPlan, long); err != nil || two == one {
		t.Errorf("two plans have the name %q, %v", two, err)
	}
	if v, ok := volumeOf(one); ok {
		t.Errorf("a plan is taken for a mount of %q", v)
	}
}

// TestDeadPlan tells plans of living processes from those of dead ones, also
// when the number went to another process, and when nobody has waited for it.
func TestDeadPlan(t *testing.T) {
	start := func(pid int) string {
		t.Helper()
		s, err := startOf(pid)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	child := exec.Command("sleep", "60")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid := child.Process.Pid
	name := fmt.Sprintf("plan-%d-%s-ABCDEF-vol_1", pid, start(pid))
	if deadPlan(name) {
		t.Error("a living child is dead")
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// It is not waited for, and so becomes a zombie.
	for deadline := time.Now().Add(time.Minute); !deadPlan(name) && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if !deadPlan(name) {
		t.Error("a zombie is alive")
	}
	_ = child.Wait() // It was killed.
	if !deadPlan(name) {
		t.Error("a process that is gone is alive")
	}
	self := os.Getpid()
	for name, dead := range map[string]bool{
		fmt.Sprintf("plan-%d-%s-ABCDEF-v", self, start(self)): false,
		fmt.Sprintf("plan-%d-1-ABCDEF-v", self):               true,
		"plan-99999999999999999999-1-ABCDEF-v":                false,
		"plan-vol_1":                                          false,
		"snapshot-1-1-ABCDEF-v":                               false,
		"":                                                    false,
	} {
		if deadPlan(name) != dead {
			t.Errorf("%q: dead is %v", name, !dead)
		}
	}
}
