package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

// status prints what runs and what the claims are. It fails when the lab is
// not complete.
func status(ctx context.Context) (err error) {
	l, err := lab.Load()
	if err != nil {
		return err
	}
	defer l.Close()
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer func() { err = errors.Join(err, out.Flush()) }()
	for _, p := range l.Servers {
		state := "runs"
		if !p.Alive() {
			state, err = "ENDED", errors.New("the lab is not complete")
		}
		fmt.Fprintf(out, "%s\t%s\tpid %d\t%s\n", p.Name, state, p.PID, p.Log)
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	volumes, guestErr := l.Guest(ctx, "gluster", "--mode=script", "volume", "list")
	for _, c := range l.Claims {
		fmt.Fprintf(out, "%s/%s\t%s\t%s\t%s\n", c.Namespace, c.Name, c.Kind, c.Volume, c.HeketiID)
	}
	for _, i := range l.Images {
		fmt.Fprintf(out, "%s\timage of %s/%s\t%s\t%s\n", i.Name, i.Namespace, i.Claim, i.GBID, i.FSType)
	}
	fmt.Fprintf(out, "provisioned\t%v\n", l.Provisioned)
	fmt.Fprintf(out, "%s", volumes)
	return errors.Join(err, guestErr)
}

// shell replaces this program by ssh to the guest.
func shell(args []string) error {
	l, err := lab.Load()
	if err != nil {
		return err
	}
	args = append(l.Enter(l.SSH()...), args...)
	path, err := findProgram(args[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, args, os.Environ())
}

// env prints shell variables for work by hand.
func env() error {
	l, err := lab.Load()
	if err != nil {
		return err
	}
	key, err := l.HeketiKey()
	if err != nil {
		return err
	}
	for _, v := range [][2]string{
		{"NETNS", l.NetNS},
		{"KUBECONFIG", l.Kubeconfig},
		{"HEKETI_CLI_SERVER", l.HeketiURL},
		{"HEKETI_CLI_USER", l.HeketiUser},
		{"HEKETI_CLI_KEY", key},
		{"HEKETI_CLI", l.HeketiCLI},
		{"GLUSTER_HOST", l.Address},
	} {
		fmt.Printf("export %s=%q\n", v[0], v[1])
	}
	return nil
}
