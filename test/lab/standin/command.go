package standin

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
)

// Program is the stand-in with its places. The zero value works on the guest.
type Program struct {
	ConfigFS string                              // LIO's tree; "" is /sys/kernel/config/target.
	Mount    func(volume string) (string, error) // Folder in which a volume is mounted; nil mounts it.
}

var (
	validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,254}$`)
	validSize = regexp.MustCompile(`^([0-9]+)(MiB|GiB)$`)
)

// Run answers one command line (without the program's name) and returns what
// goes to standard output. Errors are reported with AsFail.
func (p Program) Run(args []string) (string, error) {
	args = withoutJSON(args)
	if len(args) < 2 {
		return "", &Fail{255, "usage: gluster-block create|delete|list|info VOLUME[/BLOCK] ..."}
	}
	volume, block, _ := strings.Cut(args[1], "/")
	if !validName.MatchString(volume) || (args[0] != "list" && !validName.MatchString(block)) {
		return "", &Fail{255, fmt.Sprintf("%q is no volume or block", args[1])}
	}
	root, err := p.mount(volume)
	if err != nil {
		return "", &Fail{255, fmt.Sprintf("Volume %s does not exist: %v", volume, err)}
	}
	s := store{root}
	lock, err := s.lock()
	if err != nil {
		return "", err
	}
	defer lock.Close()
	switch args[0] {
	case "list":
		names, err := s.names()
		return fmt.Sprintf(`{ "blocks": %s, "RESULT": "SUCCESS" }`, list(names)), err
	case "info":
		i, err := s.read(volume, block)
		return i.info(), err
	case "create":
		return p.create(s, volume, block, args[2:])
	case "delete":
		return p.remove(s, volume, block)
	}
	return "", &Fail{255, args[0] + " is not in the lab's stand-in for gluster-block"}
}

func withoutJSON(args []string) (kept []string) {
	for _, a := range args {
		if a != "--json" {
			kept = append(kept, a)
		}
	}
	return kept
}

func (p Program) create(s store, volume, block string, options []string) (string, error) {
	i, full, err := parseCreate(options)
	if err != nil {
		return "", err
	}
	i.Volume, i.Name = volume, block
	if err := s.create(i, full); err != nil {
		return "", err
	}
	if err := s.append(block, i.state(configStarted)); err != nil {
		return "", err
	}
	if err := p.target().export(i, s.image(i.GBID)); err != nil {
		return "", errors.Join(err, p.target().unexport(i), s.remove(i))
	}
	done := i.state(configDone)
	if i.Password != "" {
		done += i.state(authDone)
	}
	return i.createAnswer(), s.append(block, done)
}

// parseCreate reads what follows "create VOLUME/BLOCK": pairs of options, then
// the hosts and the size.
func parseCreate(options []string) (i image, preallocate bool, err error) {
	i = image{HA: 1, GBID: newUUID()}
	for len(options) > 2 {
		switch options[0] {
		case "ha":
			i.HA, err = strconv.Atoi(options[1])
		case "auth":
			if options[1] == "enable" {
				i.Password = newUUID()
			}
		case "prealloc":
			preallocate = options[1] == "full"
		default:
			err = fmt.Errorf("unknown option %q", options[0])
		}
		if err != nil {
			return i, false, &Fail{255, err.Error()}
		}
		options = options[2:]
	}
	if len(options) != 2 || i.HA != 1 || strings.Contains(options[0], ",") {
		return i, false, &Fail{255, "the lab's stand-in wants ha 1, one host and a size"}
	}
	size := validSize.FindStringSubmatch(options[1])
	if size == nil {
		return i, false, &Fail{255, fmt.Sprintf("size %q", options[1])}
	}
	n, err := strconv.ParseInt(size[1], 10, 64)
	i.Host, i.Size = options[0], n<<map[string]int{"MiB": 20, "GiB": 30}[size[2]]
	return i, preallocate, err
}

func (p Program) remove(s store, volume, block string) (string, error) {
	i, err := s.read(volume, block)
	if err != nil {
		return "", err
	}
	if err := s.append(block, i.state(cleanupStarted)); err != nil {
		return "", err
	}
	return i.deleteAnswer(), errors.Join(p.target().unexport(i), s.remove(i))
}

func (p Program) target() target {
	if p.ConfigFS != "" {
		return target{p.ConfigFS}
	}
	return target{"/sys/kernel/config/target"}
}

// mount returns the folder of a volume. The mount stays, because LIO has its
// image open in it. It neither caches data nor attributes: what another client
// writes into an image, as a restore does, must be seen through iSCSI.
func (p Program) mount(volume string) (string, error) {
	if p.Mount != nil {
		return p.Mount(volume)
	}
	dir := filepath.Join("/run/gluster-block", volume)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if mounted, err := mountinfo.Mounted(dir); err != nil || mounted {
		return dir, err
	}
	const options = "direct-io-mode=enable,attribute-timeout=0,entry-timeout=0,negative-timeout=0"
	out, err := exec.Command("mount", "-t", "glusterfs", "-o", options, "localhost:"+volume, dir).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("mount: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return dir, nil
}

// newUUID returns a random UUID (RFC 9562, version 4).
func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // Never fails.
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
