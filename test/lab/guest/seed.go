package guest

import (
	"archive/tar"
	"errors"
	"os"
	"path"
	"strings"
)

// SeedFile is a file that the guest finds at Path when it starts.
type SeedFile struct {
	Path    string // Absolute.
	Mode    int64
	Content []byte
}

// WriteSeed writes the seed disk: a tar archive that the guest unpacks over
// its root before sshd and glusterd start. All files belong to root. The
// archive holds private keys, so its mode is 0600.
func WriteSeed(name string, files []SeedFile) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	w := tar.NewWriter(f)
	for _, file := range files {
		if err := writeSeedFile(w, file); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	if err := errors.Join(w.Close(), padTo(f, 1<<20)); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

func writeSeedFile(w *tar.Writer, file SeedFile) error {
	header := &tar.Header{
		Name: strings.TrimPrefix(path.Clean(file.Path), "/"), Mode: file.Mode,
		Size: int64(len(file.Content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR,
	}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(file.Content)
	return err
}

// padTo makes the file's size a multiple of n, as a disk needs it.
func padTo(f *os.File, n int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Truncate((info.Size() + n - 1) / n * n)
}
