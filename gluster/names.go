package gluster

import (
	"fmt"
	"regexp"
)

// Lengths: GLUSTERD_MAX_SNAP_NAME and GLUSTERD_MAX_SNAP_DESC of
// gluster/glusterfs xlators/mgmt/glusterd/src/glusterd-snapshot.h; a volume's
// name becomes a file name with a suffix.
const (
	maxVolumeName   = 240
	maxSnapshotName = 254
	maxDescription  = 1024
)

// A leading hyphen would make an option of a name.
var (
	gfidForm    = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	objectName  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*$`)
	description = regexp.MustCompile(`^[A-Za-z0-9][ -~]*$`)
)

// ValidVolume tells whether name can be a volume's. The error matches ErrName.
func ValidVolume(name string) error {
	if len(name) > maxVolumeName || !objectName.MatchString(name) || name == "all" {
		return fmt.Errorf("volume: %w %q", ErrName, name)
	}
	return nil
}

// ValidSnapshot tells whether name can be a snapshot's. The error matches
// ErrName.
func ValidSnapshot(name string) error {
	switch name {
	case "description", "force", "volume", "all":
		return fmt.Errorf("snapshot: %w %q", ErrName, name)
	}
	if len(name) > maxSnapshotName || !objectName.MatchString(name) {
		return fmt.Errorf("snapshot: %w %q", ErrName, name)
	}
	return nil
}

// validDescription allows printable ASCII that does not look like an option.
func validDescription(text string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxDescription || !description.MatchString(text) {
		return fmt.Errorf("snapshot description: %w %q", ErrName, text)
	}
	return nil
}
