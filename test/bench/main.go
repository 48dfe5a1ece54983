// Command bench measures how fast the engines of package copier copy out of and
// into Gluster volumes, beside the tools that an admin would use instead, and
// writes a table for the documentation.
//
// It makes real Gluster volumes on loop devices and runs everything, Gluster
// included, in namespaces of its own for networks, mounts and processes: nothing
// of it is seen outside, and nothing stays when it ends, however it ends. It
// needs root, and drops the page cache of the machine before each measurement.
// It does not decide whether a figure is good.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// options are the flags.
type options struct {
	dir, out, only       string
	files, many, delayed int
	large                int
	image                int64
	repeat               int
}

func main() {
	var err error
	if len(os.Args) > 1 && os.Args[1] == "copy" {
		err = copyOnce(os.Args[2:])
	} else {
		err = start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func start() error {
	var o options
	flag.StringVar(&o.dir, "dir", "/var/tmp", "folder for the disks, some 30 GiB at full size")
	flag.StringVar(&o.out, "out", "docs/benchmarks.md", "file for the table")
	flag.IntVar(&o.files, "files", 20000, "small files")
	flag.IntVar(&o.many, "many", 100000, "files of which 1 % change")
	flag.IntVar(&o.delayed, "delayed", 4000, "files on the volume that answers late, and on the one with replicas")
	flag.IntVar(&o.large, "large", 1000000, "files of the tree whose memory counts")
	flag.Int64Var(&o.image, "image", 4<<30, "size of the image in bytes")
	flag.IntVar(&o.repeat, "repeat", 3, "repetitions, of which the median counts")
	flag.StringVar(&o.only, "only", "", "run only the part of this name")
	inside := flag.Bool("inside", false, "the namespaces are made (used by bench itself)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *inside {
		return measure(ctx, o)
	}
	if err := install(ctx); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(o.dir, "glusterbackupd-bench-")
	if err != nil {
		return err
	}
	return errors.Join(isolate(ctx, append(os.Args[1:], "-inside", "-dir", dir)), os.RemoveAll(dir))
}

// isolate runs bench once more in namespaces of its own. All processes in them
// end with it.
func isolate(ctx context.Context, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	return cmd.Run()
}

// measure does everything, in the namespaces.
func measure(ctx context.Context, o options) error {
	s, err := newStage(ctx, o.dir)
	if err != nil {
		return err
	}
	r := &runs{stage: s, options: o, table: &table{}}
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"small files", r.small},
		{"1 ms for each operation", r.late},
		{"replicas", r.replicas},
		{"few changes", r.changes},
		{"images", r.images},
		{"a large tree", r.million},
	} {
		if o.only != "" && o.only != step.name {
			continue
		}
		fmt.Println("==", step.name)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		if err := r.table.write(o); err != nil {
			return err
		}
	}
	return nil
}
