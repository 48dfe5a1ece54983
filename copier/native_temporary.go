package copier

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"
)

// A temporary name is ".NAME.glusterbackupd-XXXXXX", which Gluster places where NAME
// belongs.
const (
	temporaryMark   = ".glusterbackupd-"
	temporaryRandom = 6
)

func temporary(name string) string { return temporaryPrefix(name) + rand.Text()[:temporaryRandom] }

func temporaryPrefix(name string) string {
	const longest = 255 - 1 - len(temporaryMark) - temporaryRandom
	return "." + name[:min(len(name), longest)] + temporaryMark
}

var temporaryName = regexp.MustCompile(`(?s)^\..+` + regexp.QuoteMeta(temporaryMark) + fmt.Sprintf("[A-Z2-7]{%d}$", temporaryRandom))

// tidy removes from a folder of the destination what an earlier copy, which was
// killed, left half done there. It comes before anything is copied into that folder.
// What the source has by such a name is a file like any other.
func (j *treeJob) tidy(p *place) error {
	return j.eachName(p.dst, func(name string) error {
		if !temporaryName.MatchString(name) || len(p.only) > 0 && !strings.HasPrefix(name, temporaryPrefix(p.only[0])) {
			return nil
		}
		var st unix.Stat_t
		if err := lstat(p.src, name, &st); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err := lstat(p.dst, name, &st)
		if err == nil && !isDir(&st) {
			err = unlink(p.dst, name, 0)
		}
		return err
	})
}
