package copier

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// A file of fingerprints is a set of 16-byte digests, one for each entry that a
// copy has seen: of path, type, size, times of modification and change, inode
// and number of links. Whoever finds the digest of an entry in it knows that
// the entry is what it was, attributes included, because none of them changes
// without the time of change.
//
//	8 bytes   magic, with the version
//	8 bytes   number of digests
//	4 × 65537 bytes   where the digests that begin with these 16 bits start
//	16 bytes each, sorted
//	32 bytes  SHA-256 of all before
//
// All numbers are little-endian. The set is read in place: to look up a digest
// takes one read of the few that begin like it.
const (
	fingerprintMagic = "gbfp0001"
	fingerprintSize  = 16
	fingerprintIndex = 1<<16 + 1
	fingerprintHead  = int64(len(fingerprintMagic)) + 8 + 4*fingerprintIndex
)

type fingerprint [fingerprintSize]byte

// fingerprintOf digests what is known of an entry from listing it. Size and
// links of a folder change with what is in it and say nothing of the folder's
// own attributes.
func fingerprintOf(path string, st *unix.Stat_t) fingerprint {
	buf := make([]byte, 0, 64+len(path))
	buf = binary.LittleEndian.AppendUint32(buf, st.Mode)
	if !isDir(st) {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(st.Nlink)) //nolint:unconvert // 32 bits on arm64.
		buf = binary.LittleEndian.AppendUint64(buf, uint64(st.Size))  //nolint:gosec // Any number will do.
	}
	for _, t := range []unix.Timespec{st.Mtim, st.Ctim} {
		buf = binary.LittleEndian.AppendUint64(buf, uint64(t.Sec))  //nolint:gosec // As above.
		buf = binary.LittleEndian.AppendUint64(buf, uint64(t.Nsec)) //nolint:gosec // As above.
	}
	buf = binary.LittleEndian.AppendUint64(buf, st.Ino)
	sum := sha256.Sum256(append(buf, path...))
	return fingerprint(sum[:fingerprintSize])
}

// fingerprints is an open file of them. A nil one knows nothing. It may be used
// by several goroutines.
type fingerprints struct {
	f     *os.File
	index []uint32
}

// openFingerprints checks the whole file. One that is missing or damaged gives
// none: everything is then compared, which only takes longer.
func openFingerprints(path string) (*fingerprints, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	index, err := checkFingerprints(f)
	if err != nil || index == nil {
		return nil, errors.Join(err, f.Close())
	}
	return &fingerprints{f, index}, nil
}

// checkFingerprints returns the index, or nil when the file is not whole.
func checkFingerprints(f *os.File) ([]uint32, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	body := fi.Size() - sha256.Size
	if body < fingerprintHead || (body-fingerprintHead)%fingerprintSize != 0 {
		return nil, nil
	}
	digest, head := sha256.New(), make([]byte, fingerprintHead)
	if _, err := io.ReadFull(f, head); err != nil {
		return nil, err
	}
	digest.Write(head)
	if _, err := io.CopyN(digest, f, body-fingerprintHead); err != nil {
		return nil, err
	}
	sum := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f, sum); err != nil {
		return nil, err
	}
	if !bytes.Equal(sum, digest.Sum(nil)) || string(head[:len(fingerprintMagic)]) != fingerprintMagic {
		return nil, nil
	}
	index := make([]uint32, fingerprintIndex)
	for i := range index {
		index[i] = binary.LittleEndian.Uint32(head[16+4*i:])
	}
	return index, nil
}

// has reports whether fp is in the set. A set that cannot be read has nothing.
func (s *fingerprints) has(fp fingerprint) bool {
	if s == nil {
		return false
	}
	first := binary.BigEndian.Uint16(fp[:])
	from, to := s.index[first], s.index[int(first)+1]
	if from >= to {
		return false
	}
	buf := make([]byte, int(to-from)*fingerprintSize)
	if _, err := s.f.ReadAt(buf, fingerprintHead+int64(from)*fingerprintSize); err != nil {
		return false
	}
	for ; len(buf) > 0; buf = buf[fingerprintSize:] {
		if fingerprint(buf[:fingerprintSize]) == fp {
			return true
		}
	}
	return false
}

func (s *fingerprints) close() {
	if s != nil {
		_ = s.f.Close()
	}
}

// known reports whether the last copy saw exactly this.
func (j *treeJob) known(path string, st *unix.Stat_t) bool {
	return j.old != nil && !j.Checksum && j.old.has(fingerprintOf(path, st))
}

// quietTime is how long before the frozen moment an entry must have been left
// alone. It covers the tick of a clock and small differences between clocks.
const quietTime = 2 // Seconds.

// mark notes an entry for the next copy. An entry that is too young is left out.
func (j *treeJob) mark(path string, st *unix.Stat_t) {
	if j.marks == nil {
		return
	}
	if latest := j.Frozen.Unix() - quietTime; st.Ctim.Sec >= latest || st.Mtim.Sec >= latest {
		return
	}
	if err := j.marks.add(fingerprintOf(path, st)); err != nil {
		j.fail(fmt.Errorf("write %s: %w", j.Fingerprints, err))
	}
}

// openNewFingerprints makes the file for them, if one is wanted.
func (j *treeJob) openNewFingerprints() (err error) {
	if j.DryRun {
		return nil
	}
	if j.Fingerprints != "" {
		if j.marks, err = newFingerprintWriter(j.Fingerprints); err != nil {
			return err
		}
	}
	if j.sums, err = newDigester(j.Digests); err != nil {
		j.marks.discard()
	}
	return err
}

// writeSorted writes digests that are in order but for those of the same first
// byte, which come together, and counts them by their first 16 bits.
func writeSorted(w io.Writer, part []fingerprint, counts []uint32) error {
	slices.SortFunc(part, func(a, b fingerprint) int { return bytes.Compare(a[:], b[:]) })
	buf := make([]byte, 0, len(part)*fingerprintSize)
	for _, fp := range part {
		counts[binary.BigEndian.Uint16(fp[:])]++
		buf = append(buf, fp[:]...)
	}
	_, err := w.Write(buf)
	return err
}

// header returns the beginning of the file.
func header(counts []uint32) []byte {
	total := uint32(0)
	index := make([]byte, 0, 4*fingerprintIndex)
	for _, n := range counts {
		index = binary.LittleEndian.AppendUint32(index, total)
		total += n
	}
	index = binary.LittleEndian.AppendUint32(index, total)
	head := append([]byte(fingerprintMagic), 0, 0, 0, 0, 0, 0, 0, 0)
	binary.LittleEndian.PutUint64(head[8:], uint64(total))
	return append(head, index...)
}

// sumOf digests the file from its beginning.
func sumOf(f *os.File) ([]byte, error) {
	digest := sha256.New()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	if _, err := io.Copy(digest, f); err != nil {
		return nil, err
	}
	return digest.Sum(nil), nil
}
