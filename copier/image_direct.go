package copier

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// directSize is the size in bytes from which on a write passes by the page cache: it
// keeps a disk busy for long enough. Smaller ones, here and there, are for the kernel to
// put in order (docs/decisions/0019).
const directSize = 256 << 10

// openDirect opens f again for writes that pass by the page cache; nil when its file
// system has none.
func openDirect(f *os.File) *os.File {
	direct, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_WRONLY|unix.O_DIRECT, 0)
	if err != nil {
		return nil // Tmpfs, for one.
	}
	return direct
}

// isDirect reports whether a write may pass by the page cache: the kernel wants its
// parts aligned.
func isDirect(p []byte, off int64) bool {
	return len(p) >= directSize && len(p)%grain == 0 && off%grain == 0 && uintptr(unsafe.Pointer(unsafe.SliceData(p)))%grain == 0 //nolint:gosec // Only the address is asked.
}
