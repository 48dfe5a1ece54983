package standin

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// States of an image on one host, as the journal names them.
const (
	configStarted  = "CONFIGINPROGRESS"
	configDone     = "CONFIGSUCCESS"
	authDone       = "AUTHENFORCED"
	cleanupStarted = "CLEANUPINPROGRESS"
)

// image is what a journal says about an image.
type image struct {
	Volume, Name, GBID string
	Host               string // The one host that exports it.
	HA                 int
	Size               int64 // Bytes.
	Password           string
	State              string // Last state on Host; "" before it was configured.
}

// IQN is the name of the image's iSCSI target (gluster/gluster-block
// rpc/block_common.h).
func (i image) IQN() string { return "iqn.2016-12.org.gluster-block:" + i.GBID }

// head is the first part of the journal: what is known before the image file
// is made and after it (gluster/gluster-block rpc/glfs-operations.c and
// rpc/block_create.c).
func (i image) head() string {
	return fmt.Sprintf("VOLUME: %s\nGBID: %s\nHA: %d\nENTRYCREATE: INPROGRESS\n", i.Volume, i.GBID, i.HA)
}

// created is what follows when the image file is there.
func (i image) created() string {
	text := fmt.Sprintf("PRIOPATH: %s\nSIZE: %d\nRINGBUFFER: 0\nBLKSIZE: 0\nIOTIMEOUT: 0\nENTRYCREATE: SUCCESS\n", i.Host, i.Size)
	if i.Password != "" {
		text += "PASSWORD: " + i.Password + "\n"
	}
	return text
}

// state is the line that records a state on the host.
func (i image) state(s string) string { return i.Host + ": " + s + "\n" }

// parse reads a journal; the last value of a key wins.
func parse(name string, r io.Reader) (image, error) {
	i := image{Name: name}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		key, value, found := strings.Cut(lines.Text(), ": ")
		if !found {
			return i, fmt.Errorf("journal of %s: line %q", name, lines.Text())
		}
		if err := i.set(key, value); err != nil {
			return i, fmt.Errorf("journal of %s: %w", name, err)
		}
	}
	return i, lines.Err()
}

func (i *image) set(key, value string) (err error) {
	switch key {
	case "VOLUME":
		i.Volume = value
	case "GBID":
		i.GBID = value
	case "HA":
		i.HA, err = strconv.Atoi(value)
	case "SIZE":
		i.Size, err = strconv.ParseInt(value, 10, 64)
	case "PASSWORD":
		i.Password = value
	case "ENTRYCREATE", "ENTRYDELETE", "PRIOPATH", "RINGBUFFER", "BLKSIZE", "IOTIMEOUT":
	default:
		i.Host, i.State = key, value
	}
	return err
}

// exported lists the hosts that gluster-block info names: those on which the
// configuration came to its end, also while a delete is under way.
func (i image) exported() []string {
	if i.State == "" || i.State == configStarted {
		return nil
	}
	return []string{i.Host}
}
