package blockstore

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrName says that a block name or a GBID is not one that gluster-block makes.
	ErrName = errors.New("invalid block name")
	// ErrNoLayout says that the volume has no block-meta or block-store folder.
	ErrNoLayout = errors.New("not a blockhost volume")
	// ErrNoImage says that no journal has the name.
	ErrNoImage = errors.New("no such image")
	// ErrIncomplete says that the journal shows an unfinished or failed command.
	ErrIncomplete = errors.New("image is incomplete")
	// ErrJournal says that a journal cannot be understood.
	ErrJournal = errors.New("journal is damaged")
	// ErrJournalExists says that a journal is there and was left alone.
	ErrJournalExists = errors.New("journal exists")
	// ErrNoFile says that a journal names an image that is not in block-store.
	ErrNoFile = errors.New("image file is missing")
	// ErrSize says that an image and its journal differ in size.
	ErrSize = errors.New("image size differs from its journal")
	// ErrNotRegular says that something other than a regular file is in the image's place.
	ErrNotRegular = errors.New("image is not a regular file")
	// ErrChanged says that the image is another inode than the one that was found before.
	ErrChanged = errors.New("image was replaced")
	// ErrLinked says that the image has a second name, so that writing changes both.
	ErrLinked = errors.New("image has more than one name")
	// ErrAmbiguous says that several journals name one image, or that a name and a GBID belong to different images.
	ErrAmbiguous = errors.New("image is ambiguous")
	// ErrBounds says that an access lies outside the image; an image never grows or shrinks here.
	ErrBounds = errors.New("outside the image")
	// ErrNoHoles says that the file system cannot punch holes; the range is unchanged.
	ErrNoHoles = errors.New("punching holes is not supported")
	// ErrBusy says that a gluster-block command holds the volume's lock.
	ErrBusy = errors.New("gluster-block is busy")
	// ErrInUse says that an initiator is logged in.
	ErrInUse = errors.New("image is in use")
	// ErrUnknownSessions says that a host could not tell whether an initiator is logged in.
	ErrUnknownSessions = errors.New("cannot tell whether an initiator is logged in")
	// ErrFenced says that the volume enforces mandatory locks.
	ErrFenced = errors.New("mandatory locking is on")
)

// A PermissionError says that a folder of mode 000 could not be entered. It
// unwraps to the system's error.
type PermissionError struct {
	Path       string
	Capability string
	Err        error
}

func (e *PermissionError) Error() string { return fmt.Sprintf("%s: %v", e.Path, e.Err) }

// Unwrap returns the system's error.
func (e *PermissionError) Unwrap() error { return e.Err }

// Remedy names the missing capability.
func (e *PermissionError) Remedy() string {
	return "run as root with " + e.Capability +
		": add it to CapabilityBoundingSet and AmbientCapabilities of the systemd unit"
}

// A LayoutError says that a volume is not a blockhost volume. It Is ErrNoLayout.
type LayoutError struct{ Path string }

func (e *LayoutError) Error() string { return fmt.Sprintf("%v: no folder %s", ErrNoLayout, e.Path) }

// Is reports whether target is ErrNoLayout.
func (e *LayoutError) Is(target error) bool { return target == ErrNoLayout }

// Remedy says where to look for the right volume.
func (e *LayoutError) Remedy() string {
	return "check with 'heketi-cli blockvolume info' that this is the volume that hosts the block volume"
}

// A JournalError says why a journal cannot be understood. It never holds the
// journal's text, which may be a password. It Is ErrJournal.
type JournalError struct {
	Name   string // block name, "" when it is not known
	Line   int    // counted from 1; 0 is the whole journal
	Reason string
}

func (e *JournalError) Error() string {
	var b strings.Builder
	b.WriteString(ErrJournal.Error())
	if e.Name != "" {
		b.WriteString(": " + MetaDir + "/" + e.Name)
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, ": line %d", e.Line)
	}
	return b.String() + ": " + e.Reason
}

// Is reports whether target is ErrJournal.
func (e *JournalError) Is(target error) bool { return target == ErrJournal }

// Remedy says how to see what gluster-block thinks of the journal.
func (e *JournalError) Remedy() string {
	return "compare the journal in block-meta with 'gluster-block info VOLUME/NAME' and with the one in the last backup"
}

// An IncompleteError says in which unfinished state an image is. It Is
// ErrIncomplete.
type IncompleteError struct {
	Name, GBID string
	Volume     string
	State      State
	Torn       bool // the journal ends in mid-line
}

func (e *IncompleteError) Error() string {
	what := "its journal says " + string(e.State)
	if e.Torn {
		what += " and ends in mid-line"
	}
	return fmt.Sprintf("%v: %s: %s", ErrIncomplete, e.Name, what)
}

// Is reports whether target is ErrIncomplete.
func (e *IncompleteError) Is(target error) bool { return target == ErrIncomplete }

// Remedy says which gluster-block command ends the state.
func (e *IncompleteError) Remedy() string {
	block := cmp.Or(e.Volume, "VOLUME") + "/" + e.Name
	switch {
	case e.State == StateReplacing:
		return "finish the node replacement with 'gluster-block replace " + block + " OLD-NODE NEW-NODE', then try again"
	case e.State.Readable():
		return "wait until the running gluster-block command has ended and see 'gluster-block info " + block + "', then try again"
	default:
		return "if no gluster-block command is running, 'gluster-block delete " + block +
			"' removes what is left; restore-block --to FILE restores beside it"
	}
}

// An ImageError says why an image cannot be used. It unwraps to one of
// ErrNoImage, ErrNoFile, ErrSize, ErrNotRegular, ErrChanged, ErrLinked,
// ErrAmbiguous and ErrBounds.
type ImageError struct {
	Name, GBID string
	Detail     string
	Err        error
}

func (e *ImageError) Error() string {
	s := fmt.Sprintf("%v: %s", e.Err, e.Name)
	if e.GBID != "" {
		s += " (" + e.GBID + ")"
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Unwrap returns the sentinel.
func (e *ImageError) Unwrap() error { return e.Err }

// Remedy says what to do, or is "" when nothing is known.
func (e *ImageError) Remedy() string {
	switch {
	case errors.Is(e.Err, ErrNoImage):
		return "see 'gluster-block list VOLUME' for the names on the blockhost volume"
	case errors.Is(e.Err, ErrNoFile):
		return "restore with --to FILE: the image file is gone from block-store"
	case errors.Is(e.Err, ErrSize):
		return "finish the resize with 'gluster-block modify VOLUME/NAME size SIZE', then try again"
	case errors.Is(e.Err, ErrNotRegular):
		return "look at " + StoreDir + "/" + e.GBID + " on the mounted volume: gluster-block puts only plain files there"
	case errors.Is(e.Err, ErrChanged):
		return "run the command again; if it repeats, 'gluster-block reload VOLUME/NAME' on every host"
	case errors.Is(e.Err, ErrLinked):
		return "find the second name with 'find block-store -inum INODE' and decide which block volume owns the data"
	case errors.Is(e.Err, ErrAmbiguous):
		return "compare the GBID in 'gluster-block info VOLUME/NAME' with the claim's IQN"
	}
	return ""
}
