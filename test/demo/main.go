// Command demo shows the main job on the lab's real stack: it backs up every
// claim, destroys a file claim and the database image of another one, restores
// both, and proves that everything is as it was. It runs the real binary and
// shows each command line. It needs root, the lab (make lab-up), and to be run
// inside the lab's network namespace; make demo does all of it.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/glusterbackupd/glusterbackupd/manifest"
	"github.com/glusterbackupd/glusterbackupd/test/lab"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// demo is one run: the lab, and a work folder with BackupDisk and
// configuration that is gone afterwards.
type demo struct {
	lab    *lab.Lab
	work   string
	binary string
	undo   []func() error
}

func run(ctx context.Context) (err error) {
	l, err := lab.Load()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	d := &demo{lab: l}
	defer func() { err = errors.Join(err, d.cleanUp()) }()
	if err := d.prepare(ctx); err != nil {
		return err
	}
	return d.show(ctx)
}

func (d *demo) cleanUp() error {
	var errs []error
	for i := len(d.undo) - 1; i >= 0; i-- {
		errs = append(errs, d.undo[i]())
	}
	return errors.Join(errs...)
}

// prepare makes a BackupDisk, XFS with reflinks in a file, and a configuration.
func (d *demo) prepare(ctx context.Context) (err error) {
	if d.binary, err = filepath.Abs("bin/glusterbackupd"); err != nil {
		return err
	}
	if d.work, err = os.MkdirTemp("", "glusterbackupd-demo-"); err != nil {
		return err
	}
	d.undo = append(d.undo, func() error { return os.RemoveAll(d.work) })
	disk, err := lab.NewDisk(ctx, lab.XFS, 8192, d.disk())
	if err != nil {
		return err
	}
	d.undo = append(d.undo, func() error { return disk.Close(context.WithoutCancel(ctx)) })
	// The demo leaves nothing on the lab's volumes.
	text := d.lab.Config(d.disk()) + "\n[retention]\nsnapshots = \"0s\"\nsafety_snapshots = \"0s\"\n"
	return os.WriteFile(d.config(), []byte(text), 0o600)
}

func (d *demo) disk() string   { return filepath.Join(d.work, "backupdisk") }
func (d *demo) config() string { return filepath.Join(d.work, "config.toml") }

// show is the story.
func (d *demo) show(ctx context.Context) error {
	image, ok := d.lab.ClaimImage("shop", "db")
	if !ok {
		return errors.New("the lab has no claim shop/db")
	}
	steps := []struct {
		title string
		do    func() error
	}{
		{"Make the BackupDisk a repository, and check everything that a backup needs", func() error {
			return errors.Join(d.command(ctx, "init"), d.command(ctx, "check"))
		}},
		{"Back up all claims: one snapshot per Gluster volume", func() error { return d.command(ctx, "backup", "--all") }},
		{"Again: nothing has changed, nothing is transferred", func() error { return d.command(ctx, "backup", "media/photos") }},
		{"Destroy the photos, restore them, compare every property of every file", func() error { return d.files(ctx) }},
		{"Overwrite the database's image through iSCSI, restore it, log in and check its file system", func() error { return d.image(ctx, image) }},
		{"What there is now", func() error { return d.command(ctx, "list") }},
	}
	for i, s := range steps {
		fmt.Printf("\n== %d/%d %s\n", i+1, len(steps), s.title)
		start := time.Now()
		if err := s.do(); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
		fmt.Printf("== %.1f s\n", time.Since(start).Seconds())
	}
	fmt.Println("\nEverything that was destroyed is back and identical. The lab stays up: make lab-status, make lab-down.")
	return nil
}

// command shows and runs one command line of the real binary.
func (d *demo) command(ctx context.Context, args ...string) error {
	fmt.Printf("\n# glusterbackupd %s\n", strings.Join(args, " "))
	cmd := exec.CommandContext(ctx, d.binary, append([]string{"--config", d.config()}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	return cmd.Run()
}

// files destroys and restores a file claim.
func (d *demo) files(ctx context.Context) error {
	claim, ok := d.lab.Claim("media", "photos")
	if !ok {
		return errors.New("the lab has no claim media/photos")
	}
	before, err := d.fingerprint(ctx, claim.Volume)
	if err != nil {
		return err
	}
	fmt.Println("before:", before)
	if err := d.destroy(ctx, claim.Volume); err != nil {
		return err
	}
	broken, err := d.fingerprint(ctx, claim.Volume)
	if err != nil {
		return err
	}
	fmt.Println("destroyed:", broken)
	if err := d.command(ctx, "restore", "media/photos", "--delete", "--yes"); err != nil {
		return err
	}
	after, err := d.fingerprint(ctx, claim.Volume)
	if err != nil {
		return err
	}
	fmt.Println("after: ", after)
	if after != before || broken == before {
		return errors.New("the restored claim is not what it was")
	}
	return nil
}

// fingerprint is one line over all properties of all entries of a volume.
func (d *demo) fingerprint(ctx context.Context, volume string) (line string, err error) {
	err = d.mounted(ctx, volume, func(dir string) error {
		sum, entries := sha256.New(), 0
		w, err := manifest.NewWriter(sum)
		if err != nil {
			return err
		}
		err = manifest.Scan(ctx, dir, manifest.ScanOptions{Hash: true}, func(e manifest.Entry) error {
			entries++
			return w.Write(e)
		})
		if err != nil {
			return err
		}
		if _, err := w.Close(); err != nil {
			return err
		}
		line = fmt.Sprintf("%d entries, SHA-256 over all their properties %s", entries, hex.EncodeToString(sum.Sum(nil)[:8]))
		return nil
	})
	return line, err
}

// mounted calls f with the volume mounted.
func (d *demo) mounted(ctx context.Context, volume string, f func(dir string) error) (err error) {
	dir, err := d.lab.MountVolume(ctx, volume, "acl") // Else ACLs cannot be read.
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.lab.Unmount(context.WithoutCancel(ctx), dir)) }()
	return f(dir)
}

// destroy removes every other entry of the volume's root.
func (d *demo) destroy(ctx context.Context, volume string) error {
	return d.mounted(ctx, volume, func(dir string) error {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for i, e := range entries {
			if i%2 == 0 {
				if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
					return err
				}
			}
		}
		fmt.Printf("removed %d of %d entries of the volume's root\n", (len(entries)+1)/2, len(entries))
		return nil
	})
}

// image destroys and restores a block image.
func (d *demo) image(ctx context.Context, image *lab.Image) error {
	before, err := d.imageFiles(ctx, image)
	if err != nil {
		return err
	}
	fmt.Print("files in the image before:\n", before)
	device, err := d.lab.Login(ctx, image)
	if err != nil {
		return err
	}
	_, err = d.lab.Guest(ctx, "dd", "if=/dev/urandom", "of="+device, "bs=1M", "count=16", "conv=fsync")
	if err != nil {
		return err
	}
	fmt.Println("overwrote the first 16 MiB through iSCSI; the initiator is still logged in, so a restore is refused:")
	if d.command(ctx, "restore-block", image.Name, "--yes") == nil {
		return errors.New("a restore under a logged-in initiator was not refused")
	}
	if err := d.lab.Logout(ctx, image); err != nil {
		return err
	}
	if err := d.command(ctx, "restore-block", image.Name, "--yes"); err != nil {
		return err
	}
	after, err := d.imageFiles(ctx, image)
	if err != nil {
		return err
	}
	fmt.Print("files in the image after:\n", after)
	if after != before {
		return errors.New("the restored image does not hold what it held")
	}
	return nil
}

// imageFiles logs the guest's initiator in, mounts the file system, lists its
// files with their hashes, and logs out.
func (d *demo) imageFiles(ctx context.Context, image *lab.Image) (list string, err error) {
	device, err := d.lab.Login(ctx, image)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, d.lab.Logout(context.WithoutCancel(ctx), image)) }()
	out, err := d.lab.Script(ctx, `
mnt=$(mktemp -d)
mount "$1" "$mnt"
cd "$mnt"
find . -type f | sort | head -n 5 | xargs -d '\n' sha256sum | cut -c1-16,65-
echo "$(find . -type f | wc -l) files, $(find . -type f | sort | xargs -d '\n' cat | sha256sum | cut -c1-16) over all"
cd /
umount "$mnt"
rmdir "$mnt"`, device)
	return string(out), err
}
