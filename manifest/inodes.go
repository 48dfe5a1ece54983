package manifest

import "sync"

// Inodes is a set of inode numbers that forgets none, but now and then takes a
// new one for one that it has, the more the more there are: one in a million at
// 200,000, one in two hundred at 5 million. So it never takes more than 8 MiB. The
// zero value is empty. It may be used by several goroutines.
type Inodes struct {
	mu   sync.Mutex
	bits []uint64
}

const inodeBits = 1 << 26

// Add reports whether the inode was not there, and adds it.
func (s *Inodes) Add(ino uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bits == nil {
		s.bits = make([]uint64, inodeBits/64)
	}
	fresh, h := false, ino
	for range 4 {
		// The step of splitmix64, which spreads numbers that follow each other.
		h += 0x9e3779b97f4a7c15
		z := (h ^ h>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		bit := z % inodeBits
		if s.bits[bit/64]&(1<<(bit%64)) == 0 {
			s.bits[bit/64] |= 1 << (bit % 64)
			fresh = true
		}
	}
	return fresh
}
