package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	formatName    = "glusterbackupd manifest"
	formatVersion = 3
	// maxLine bounds one line in bytes, so that a damaged file cannot fill the
	// memory.
	maxLine = 16 << 20
)

// header is the first line of a manifest file.
type header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
}

// line is every other line: an entry, or the end. Pointers tell absent from
// zero.
type line struct {
	Path       string            `json:"path,omitempty"`
	Type       Type              `json:"type,omitempty"`
	Mode       string            `json:"mode,omitempty"`
	UID        *uint32           `json:"uid,omitempty"`
	GID        *uint32           `json:"gid,omitempty"`
	Size       *int64            `json:"size,omitempty"`
	MTime      []int64           `json:"mtime,omitempty"`
	Target     string            `json:"target,omitempty"`
	Major      *uint32           `json:"major,omitempty"`
	Minor      *uint32           `json:"minor,omitempty"`
	HardlinkOf string            `json:"hardlink_of,omitempty"`
	Xattrs     map[string][]byte `json:"xattrs,omitempty"`
	SHA256     string            `json:"sha256,omitempty"`
	PieceSize  int64             `json:"piece_size,omitempty"`
	BlockSize  int64             `json:"block_size,omitempty"`
	Pieces     []byte            `json:"pieces,omitempty"`
	End        *int64            `json:"end,omitempty"`
}

// marshal gives value as one line.
func marshal(value any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, err
	}
	if out.Len() > maxLine {
		return nil, fmt.Errorf("line of %d bytes is too long", out.Len())
	}
	return out.Bytes(), nil
}

// unmarshal reads one line strictly: one JSON value, no unknown fields.
func unmarshal(text []byte, value any) error {
	if !utf8.Valid(text) { // Package json would replace it silently.
		return errors.New("bad UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(value)
	if errors.Is(err, io.EOF) {
		return errors.New("blank line") // A wrapped io.EOF would pass for the end.
	}
	if err != nil {
		return fmt.Errorf("bad JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value")
	}
	return nil
}

// newLine encodes an entry that passed its check.
func newLine(e *Entry) line {
	l := line{
		Path: Escape(e.Path), Type: e.Type, Mode: fmt.Sprintf("%04o", e.Mode), UID: &e.UID, GID: &e.GID,
		MTime:  []int64{e.MTime.Unix(), int64(e.MTime.Nanosecond())},
		Target: Escape(e.Target), HardlinkOf: Escape(e.HardlinkOf), SHA256: e.SHA256,
		PieceSize: e.Pieces.Size, BlockSize: e.Pieces.Block, Pieces: []byte(e.Pieces.SHA256),
	}
	switch e.Type {
	case File:
		l.Size = &e.Size
	case Char, Block:
		l.Major, l.Minor = &e.Major, &e.Minor
	case Dir, Symlink, FIFO, Socket:
	}
	if len(e.Xattrs) > 0 {
		l.Xattrs = make(map[string][]byte, len(e.Xattrs))
		for name, value := range e.Xattrs {
			l.Xattrs[Escape(name)] = value
		}
	}
	return l
}

// entry decodes and checks an entry.
func (l *line) entry() (Entry, error) {
	e := Entry{Type: l.Type, SHA256: l.SHA256, Pieces: Pieces{l.PieceSize, l.BlockSize, string(l.Pieces)}}
	if err := l.present(); err != nil {
		return e, err
	}
	for _, s := range []struct {
		to   *string
		from string
	}{{&e.Path, l.Path}, {&e.Target, l.Target}, {&e.HardlinkOf, l.HardlinkOf}} {
		var err error
		if *s.to, err = Unescape(s.from); err != nil {
			return e, err
		}
	}
	mode, err := strconv.ParseUint(l.Mode, 8, 12)
	if err != nil || len(l.Mode) != 4 {
		return e, fmt.Errorf("bad mode %q", l.Mode)
	}
	e.Mode, e.UID, e.GID = uint32(mode), *l.UID, *l.GID
	e.MTime = time.Unix(l.MTime[0], l.MTime[1]).UTC()
	if l.Size != nil {
		e.Size = *l.Size
	}
	if l.Major != nil {
		e.Major, e.Minor = *l.Major, *l.Minor
	}
	if e.Xattrs, err = l.xattrs(); err != nil {
		return e, err
	}
	return e, e.check()
}

// present checks that the line has the fields that its type must have, and no
// others.
func (l *line) present() error {
	device := l.Type == Char || l.Type == Block
	switch {
	case l.End != nil, l.UID == nil, l.GID == nil, (l.Size != nil) != (l.Type == File),
		(l.Major != nil) != device, (l.Minor != nil) != device:
		return fmt.Errorf("missing or superfluous fields for type %q", l.Type)
	case len(l.MTime) != 2 || l.MTime[1] < 0 || l.MTime[1] >= int64(time.Second):
		return fmt.Errorf("bad mtime %v", l.MTime)
	}
	return nil
}

func (l *line) xattrs() (map[string][]byte, error) {
	if len(l.Xattrs) == 0 {
		return nil, nil
	}
	xattrs := make(map[string][]byte, len(l.Xattrs))
	for escaped, value := range l.Xattrs {
		name, err := Unescape(escaped)
		if err != nil {
			return nil, err
		}
		if value == nil { // A JSON null.
			return nil, fmt.Errorf("xattr %q without value", name)
		}
		xattrs[name] = value
	}
	return xattrs, nil
}
