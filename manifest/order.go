package manifest

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
)

// ErrOrder says that entries do not come in the order of PathLess, come twice,
// or lack the folder that they are in.
var ErrOrder = errors.New("entries out of order")

// PathLess reports whether path a comes before path b in a manifest: "." comes
// first, and all others compare byte by byte with '/' lower than any other byte.
// That is the order of a walk that sorts the names in each folder by bytes and
// visits a folder before what is in it.
func PathLess(a, b string) bool { return comparePaths(a, b) < 0 }

func comparePaths(a, b string) int {
	if a == "." || b == "." {
		return cmp.Compare(btoi(a != "."), btoi(b != "."))
	}
	n := min(len(a), len(b))
	for i := range n {
		switch {
		case a[i] == b[i]:
			continue
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		}
		return cmp.Compare(a[i], b[i])
	}
	return cmp.Compare(len(a), len(b))
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// isBelow reports whether path is something inside folder.
func isBelow(path, folder string) bool {
	if folder == "." {
		return path != "."
	}
	return len(path) > len(folder) && path[len(folder)] == '/' && strings.HasPrefix(path, folder)
}

func parentOf(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return "."
}

// sequence checks that entries form one tree in order: each but the first lies
// directly in a folder that came before.
type sequence struct {
	started bool
	last    string
	folders []string // The chain of folders around last, outermost first.
}

func (s *sequence) next(e *Entry) error {
	if s.started {
		if !PathLess(s.last, e.Path) {
			return fmt.Errorf("%w: %q after %q", ErrOrder, e.Path, s.last)
		}
		for len(s.folders) > 0 && !isBelow(e.Path, s.folders[len(s.folders)-1]) {
			s.folders = s.folders[:len(s.folders)-1]
		}
		if len(s.folders) == 0 || s.folders[len(s.folders)-1] != parentOf(e.Path) {
			return fmt.Errorf("%w: %q without its folder", ErrOrder, e.Path)
		}
	}
	s.started, s.last = true, e.Path
	if e.Type == Dir {
		s.folders = append(s.folders, e.Path)
	}
	return nil
}
