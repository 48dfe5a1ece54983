package blockstore

import (
	"fmt"
	"strings"
)

// A FencedError names the volume option that enforces mandatory locks. It Is
// ErrFenced.
type FencedError struct{ Volume, Option, Value string }

func (e *FencedError) Error() string {
	return fmt.Sprintf("volume %s: %v: %s is %q", e.Volume, ErrFenced, e.Option, e.Value)
}

// Is reports whether target is ErrFenced.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// Remedy names the command that resets the option.
func (e *FencedError) Remedy() string {
	return "'gluster volume reset " + e.Volume + " " + e.Option + "', then stop and start the volume while no block volume of it is used"
}

// MandatoryLocking returns a *FencedError when the options of the volume, as
// 'gluster volume info' shows them, enforce mandatory locks: then reading and
// writing the first 64 MiB of an image fails with EAGAIN or EBUSY while the
// rest succeeds, so that a restore would be half done.
//
// The option locks.mandatory-locking is on with each value but "off" and
// "none", features.enforce-mandatory-lock with each that is not a Gluster
// boolean for off. Either option alone is refused, although both are needed
// for the effect: whoever set one is about to set the other.
func MandatoryLocking(volume string, options map[string]string) error {
	const mode, enforce = "locks.mandatory-locking", "features.enforce-mandatory-lock"
	switch v := options[mode]; strings.ToLower(v) {
	case "", "off", "none":
	default:
		return &FencedError{volume, mode, v}
	}
	switch v := options[enforce]; strings.ToLower(v) {
	case "", "off", "no", "false", "disable", "0":
	default:
		return &FencedError{volume, enforce, v}
	}
	return nil
}
