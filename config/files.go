package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// checkFiles notes the files that are named and missing, unreadable or, when
// they hold a secret, readable by every user.
func (c *Config) checkFiles(r *report) {
	if c.Kubernetes != nil {
		checkFile(r, "kubernetes.kubeconfig", c.Kubernetes.Kubeconfig)
	}
	if c.Heketi != nil {
		checkSecret(r, "heketi.key_file", c.Heketi.KeyFile)
		checkFile(r, "heketi.ca_file", c.Heketi.CAFile)
	}
	switch c.Gluster.Transport {
	case TransportSSH:
		checkSecret(r, "gluster.ssh.key_file", c.Gluster.SSH.KeyFile)
		checkFile(r, "gluster.ssh.known_hosts", c.Gluster.SSH.KnownHosts)
	case TransportPod:
		checkFile(r, "gluster.pod.kubeconfig", c.Gluster.Pod.Kubeconfig)
	case TransportGlusterd2:
		checkSecret(r, "gluster.glusterd2.secret_file", c.Gluster.Glusterd2.SecretFile)
		checkFile(r, "gluster.glusterd2.ca_file", c.Gluster.Glusterd2.CAFile)
	case TransportLocal:
	}
}

// checkSecret is checkFile for a file that other users must not read.
func checkSecret(r *report, key, path string) {
	info := checkFile(r, key, path)
	if info != nil && info.Mode().Perm()&0o007 != 0 {
		r.add(key, "%s is open to every user of this machine: run chmod o= %s", path, path)
	}
}

// checkFile notes a file that cannot be read, and returns what it is otherwise.
// A path that is missing or has a fault is not looked at.
func checkFile(r *report, key, path string) fs.FileInfo {
	if path == "" || r.has(key) {
		return nil
	}
	info, err := statReadable(path)
	if err != nil {
		r.add(key, "%s: %s", path, reason(err))
		return nil
	}
	return info
}

// statReadable opens the file, to know that it can be read. It asks for the
// kind first, since opening a FIFO would block.
func statReadable(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() == 0:
		return nil, errors.New("the file is empty")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	return info, f.Close()
}

// reason returns the error without the operation and path that the caller's
// message names already.
func reason(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// Key reads the Heketi key from its file, without the white space around it.
// The file is read at each call, so that a changed key is seen; the caller
// must not log or store the key.
func (h *Heketi) Key() (string, error) {
	content, err := os.ReadFile(h.KeyFile)
	if err != nil {
		return "", fmt.Errorf("heketi key: %w", err)
	}
	key := bytes.TrimSpace(content)
	if len(key) == 0 {
		return "", fmt.Errorf("heketi key: %s is empty", h.KeyFile)
	}
	return string(key), nil
}
