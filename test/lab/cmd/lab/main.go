// Command lab brings the lab up and down: real Gluster with real snapshots in
// a guest, real Heketi and a real Kubernetes API, with claims that hold data.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: lab COMMAND

  up         make the lab, or complete it (idempotent), claims and data included
  down       end everything that up started and remove what it made
  status     what runs, and what the claims are
  ssh [CMD]  run a command, or a shell, in the Gluster guest
  env        the lab's files and addresses as shell variables
  setup      install the host's packages and build servers and guest image, nothing else
  glusterd2  build glusterd2, which only make soak needs
  bare       make a lab without volumes, claims and data, as after a disaster
  provision  only the last part of up: volumes, claims and data
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "lab:", err)
		stop()
		os.Exit(1)
	}
}

var errUsage = errors.New("unknown command, see lab help")

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Print(usage)
		return nil
	}
	switch args[0] {
	case "status":
		return status(ctx)
	case "ssh":
		return shell(args[1:])
	case "env":
		return env()
	}
	unlock, err := lock()
	if err != nil {
		return err
	}
	defer unlock()
	switch args[0] {
	case "up":
		return up(ctx)
	case "down":
		return down(ctx)
	case "setup":
		_, err := setup(ctx, newSteps())
		return err
	case "glusterd2":
		// Apart, since only make soak needs it, and inside the lab there is no network.
		return buildGlusterd2(ctx)
	case "bare":
		return bare(ctx)
	case "provision":
		return provisionOnly(ctx)
	}
	return errUsage
}

// lock keeps two of these commands from working on the lab at once. An
// abstract socket leaves no file and ends with the process.
func lock() (unlock func(), err error) {
	l, err := net.Listen("unix", "@glusterbackupd-lab")
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, errors.New("another lab command is at work")
	}
	if err != nil {
		return nil, err
	}
	return func() { l.Close() }, nil
}
