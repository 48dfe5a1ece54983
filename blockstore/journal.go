package blockstore

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
)

// maxJournal is the largest journal that is read, in bytes. A command appends
// less than 200, so it is thousands of commands away.
const maxJournal = 1 << 20

var (
	validName   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,254}$`)
	validGBID   = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
	validVolume = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$`)
	validKey    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,254}$`)
	upperKey    = regexp.MustCompile(`^[A-Z]+$`)
)

// ValidName reports with an error that Is ErrName that name is not a block
// name: 1 to 254 of A-Z, a-z, 0-9, '_' and '-' (gluster/gluster-block
// cli/gluster-block.c). Every method that takes a name checks it first.
func ValidName(name string) error {
	if !validName.MatchString(name) {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	return nil
}

// A Journal is what the journal of one block volume says. It holds no
// password. The zero Journal is that of a create that was killed before its
// first line.
type Journal struct {
	Volume string            // Gluster volume
	GBID   string            // a UUID, or "" when the line is not there
	Size   int64             // bytes; 0 when the line is not there
	HA     int               // number of hosts that export the image
	Hosts  map[string]string // host to its last status as written, e.g. "RSSUCCESS-268435456"
	// HasPassword says that the text holds a CHAP password, also when
	// authentication was switched off later.
	HasPassword bool
	// Torn says that the text ends in mid-line. That fragment was ignored:
	// everything here is as it was before the line was begun.
	Torn bool

	entryCreate, entryDelete string
}

// ParseJournal reads a journal to its end. Of several lines with one key the
// last one counts. Keys that have no field here, PRIOPATH, RINGBUFFER, BLKSIZE
// and IOTIMEOUT among them, are passed over: a journal is backed up and put
// back as the bytes that it is, so that they are kept all the same. A last line
// without newline is being written by gluster-block, or was cut off by a crash:
// it is never interpreted, see Journal.Torn. Any other text that gluster-block
// cannot have written, and more than 1 MiB, is an error that Is ErrJournal; an
// error of r is returned as it is.
func ParseJournal(r io.Reader) (Journal, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxJournal+1))
	if err != nil {
		return Journal{}, err
	}
	if len(text) > maxJournal {
		return Journal{}, &JournalError{Reason: "it is larger than 1 MiB"}
	}
	var j Journal
	for n := 1; len(text) > 0; n++ {
		line, rest, found := bytes.Cut(text, []byte{'\n'})
		if !found {
			j.Torn = true
			break
		}
		if reason := j.add(line); reason != "" {
			return Journal{}, &JournalError{Line: n, Reason: reason}
		}
		text = rest
	}
	return j, nil
}

// add takes one line. It returns what is wrong with it, never with its value.
func (j *Journal) add(line []byte) (reason string) {
	if len(line) == 0 {
		return "" // gluster-block skips them, too
	}
	if bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "it has a control character"
	}
	// A host may be an IPv6 address, so the key ends at colon and space.
	k, v, found := bytes.Cut(line, []byte(": "))
	if !found {
		k, found = bytes.CutSuffix(line, []byte(":"))
	}
	if key := string(k); found && validKey.MatchString(key) {
		return j.set(key, string(v))
	}
	return `it is not "KEY: value"`
}

func (j *Journal) set(key, value string) (reason string) {
	switch key {
	case "VOLUME":
		return assign(&j.Volume, value, validVolume.MatchString(value), "VOLUME is not a volume name")
	case "GBID":
		return assign(&j.GBID, value, validGBID.MatchString(value), "GBID is not a UUID")
	case "SIZE":
		size, err := strconv.ParseUint(value, 10, 63)
		return assign(&j.Size, int64(size), err == nil && size > 0, "SIZE is not a number of bytes")
	case "HA":
		ha, err := strconv.ParseUint(value, 10, 16)
		return assign(&j.HA, int(ha), err == nil && ha > 0, "HA is not a number of hosts")
	case "ENTRYCREATE":
		j.entryCreate = value
	case "ENTRYDELETE":
		j.entryDelete = value
	case "PASSWORD":
		j.HasPassword = j.HasPassword || value != ""
	default:
		j.setOther(key, value)
	}
	return ""
}

// assign sets *to when value is ok, else it returns the reason why not.
func assign[T any](to *T, value T, ok bool, reason string) string {
	if !ok {
		return reason
	}
	*to = value
	return ""
}

// setOther tells host lines from keys that have no field here: gluster-block's
// own keys are all upper-case letters. A host with such a name is still known by
// its status.
func (j *Journal) setOther(key, value string) {
	_, host := j.Hosts[key]
	if host || phaseOf(value) != phaseUnknown || !upperKey.MatchString(key) {
		if j.Hosts == nil {
			j.Hosts = make(map[string]string)
		}
		j.Hosts[key] = value
	}
}

// String describes the journal in one line, without any value that could be
// secret.
func (j Journal) String() string {
	s := fmt.Sprintf("volume=%s gbid=%s size=%d ha=%d state=%s", j.Volume, j.GBID, j.Size, j.HA, j.State())
	for _, h := range slices.Sorted(maps.Keys(j.Hosts)) {
		s += fmt.Sprintf(" %s=%s", h, j.Hosts[h])
	}
	if j.HasPassword {
		s += " password=set"
	}
	if j.Torn {
		s += " torn"
	}
	return s
}

// GoString is String, so that %#v shows no more than %v.
func (j Journal) GoString() string { return "blockstore.Journal{" + j.String() + "}" }
