package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/glusterbackupd/glusterbackupd/manifest"
)

// Names in the folder of a backup.
const (
	recordName   = "backup.json"
	manifestName = "manifest.zst"
	objectsName  = "objects"
	dataName     = "data"
	// fingerprintsName is what the copy engine keeps for itself beside the data.
	fingerprintsName = "fingerprints"
	// shardsName is what the bricks said of a block claim's image.
	shardsName = "shards"
	// blocksName has the digests of the blocks of a block claim's image.
	blocksName = "blocks"
)

// Kind says what the data of a backup is.
type Kind string

// The kinds of backups.
const (
	KindFile  Kind = "file"  // The tree of a file claim.
	KindBlock Kind = "block" // One block image with its journal.
)

// Info is what the caller knows about a backup. It is kept in backup.json and
// must hold no secret. Times are kept in UTC.
type Info struct {
	Kind         Kind       `json:"kind"`
	Volume       string     `json:"volume"`                  // The Gluster volume; of a block claim the hosting volume's.
	Snapshot     string     `json:"snapshot,omitempty"`      // The Gluster snapshot that was copied.
	SnapshotUUID string     `json:"snapshot_uuid,omitempty"` //
	SnapshotTime time.Time  `json:"snapshot_time,omitzero"`  // The state of the data is that of this time.
	Started      time.Time  `json:"started,omitzero"`
	Finished     time.Time  `json:"finished,omitzero"` // When the data was copied; verification comes after it.
	Host         string     `json:"host,omitempty"`    // The host that copied.
	Version      string     `json:"version,omitempty"` // The version of glusterbackupd that copied.
	Claim        *ClaimInfo `json:"claim,omitempty"`   // Nil without Kubernetes.
	Block        *BlockInfo `json:"block,omitempty"`   // Only of KindBlock, and there always.
	Copied       CopyStats  `json:"copied"`
}

// ClaimInfo identifies the claim beyond its name.
type ClaimInfo struct {
	UID              string `json:"uid"`
	NamespaceUID     string `json:"namespace_uid,omitempty"` // Who may see the backup: a later namespace of the same name is somebody else's.
	PersistentVolume string `json:"persistent_volume"`
	StorageClass     string `json:"storage_class,omitempty"`
	Size             int64  `json:"size,omitempty"` // The capacity in bytes.
}

// BlockInfo identifies a block image.
type BlockInfo struct {
	Name          string `json:"name"`   // As in block-meta, e.g. blockvol_<id>.
	GBID          string `json:"gbid"`   // As in block-store.
	Size          int64  `json:"size"`   // In bytes.
	Data          int64  `json:"data"`   // Bytes of it that are not zeros, which a restore writes.
	Chunks        int64  `json:"chunks"` // Bytes of thin pool that a restore can take at most.
	HostingVolume string `json:"hosting_volume"`
}

// CopyStats counts what the copier did. Sizes are in bytes.
type CopyStats struct {
	Files            int64 `json:"files"`
	FilesTransferred int64 `json:"files_transferred"`
	Bytes            int64 `json:"bytes"`
	BytesTransferred int64 `json:"bytes_transferred"`
	Cloned           bool  `json:"cloned,omitempty"` // The image began as a reflink of the previous one.
	// BytesUnread were not read from the image, because the bricks said that they
	// had not changed, or were never written.
	BytesUnread int64 `json:"bytes_unread,omitempty"`
}

func (i Info) validate() error {
	switch {
	case i.Kind != KindFile && i.Kind != KindBlock:
		return fmt.Errorf("kind %q is neither %s nor %s", i.Kind, KindFile, KindBlock)
	case (i.Kind == KindBlock) != (i.Block != nil):
		return fmt.Errorf("kind %s and block information do not fit", i.Kind)
	}
	return nil
}

func (i Info) utc() Info {
	i.SnapshotTime, i.Started, i.Finished = i.SnapshotTime.UTC(), i.Started.UTC(), i.Finished.UTC()
	return i
}

// Backup is one complete, published backup. It is a plain value.
type Backup struct {
	Key  Key
	ID   string    // The UTC time, 20181202T000000Z.
	Time time.Time // The same as a time.
	Dir  string    // The absolute path of the folder of the backup.
	Info Info
	// Summary counts what the manifest lists. To read the entries, use
	// [Backup.Manifest].
	Summary manifest.Summary
	// Objects are the names in objects/ with the SHA-256 of each in hex.
	Objects map[string]string
	// Protected says whether [Repository.Remove] refuses the backup, as it was
	// when the backup was listed.
	Protected bool

	repo *Repository
}

// DataDir returns the absolute path of the data: of a file claim the tree, of
// a block claim block-meta/<name> and block-store/<gbid>.
func (b Backup) DataDir() string { return filepath.Join(b.Dir, dataName) }

// Shards returns the absolute path of what the bricks said of the image; it may
// be missing.
func (b Backup) Shards() string { return filepath.Join(b.Dir, shardsName) }

// Blocks returns the absolute path of the digests of the image's blocks; it may be
// missing.
func (b Backup) Blocks() string { return filepath.Join(b.Dir, blocksName) }

// Fingerprints returns the absolute path of what the copy engine kept of the
// source, which may be missing. It is no part of the backup.
func (b Backup) Fingerprints() string { return filepath.Join(b.Dir, fingerprintsName) }

// record is the content of backup.json.
type record struct {
	Format int `json:"format"`
	Key
	ID       string            `json:"id"`
	Info     Info              `json:"info"`
	Manifest summary           `json:"manifest"`
	Objects  map[string]string `json:"objects"`
}

// summary is manifest.Summary on the disk; a field that is renamed there must
// not change the format.
type summary struct {
	Entries int64  `json:"entries"`
	Files   int64  `json:"files"`
	Dirs    int64  `json:"dirs"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`
}

var (
	digest     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	objectName = regexp.MustCompile(`^[a-z0-9][-a-z0-9._]{0,99}$`)
)

func (b Backup) record() record {
	m := b.Summary
	return record{
		Format: Format, Key: b.Key, ID: b.ID, Info: b.Info, Objects: b.Objects,
		Manifest: summary{m.Entries, m.Files, m.Dirs, m.Bytes, m.SHA256},
	}
}

// parseRecord reads backup.json of the folder id of the claim k and refuses
// everything that this version would not have written.
func parseRecord(path string, text []byte, k Key, id string) (Backup, error) {
	var rec record
	if err := decode(path, text, &rec); err != nil {
		return Backup{}, err
	}
	if err := rec.validate(k, id); err != nil {
		return Backup{}, fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	t, err := parseID(id)
	if err != nil {
		return Backup{}, err
	}
	m := rec.Manifest
	return Backup{
		Key: k, ID: id, Time: t, Dir: filepath.Dir(path), Info: rec.Info, Objects: rec.Objects,
		Summary: manifest.Summary{Entries: m.Entries, Files: m.Files, Dirs: m.Dirs, Bytes: m.Bytes, SHA256: m.SHA256},
	}, nil
}

func (r record) validate(k Key, id string) error {
	m := r.Manifest
	switch {
	case r.Key != k || r.ID != id:
		return fmt.Errorf("it describes %s of %s", r.ID, r.Key)
	case !digest.MatchString(m.SHA256):
		return fmt.Errorf("manifest digest %q", m.SHA256)
	case m.Entries < 1 || m.Files < 0 || m.Dirs < 0 || m.Bytes < 0:
		return errors.New("impossible count")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Objects)) {
		if !objectName.MatchString(name) || !digest.MatchString(r.Objects[name]) {
			return fmt.Errorf("object %q", name)
		}
	}
	return r.Info.validate()
}

// encode is the only writer of our JSON files: indented for people.
func encode(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	return append(text, '\n'), err
}

// decode reads a JSON file with a format version. The version comes first, so
// that a newer file is an ErrFormat and not a complaint about its fields;
// within a known version every unknown field is damage.
func decode(path string, text []byte, v any) error {
	var version struct {
		Format int `json:"format"`
	}
	err := json.Unmarshal(text, &version)
	switch {
	case err != nil:
	case version.Format > Format:
		return &FormatError{Path: path, Found: version.Format, Supported: Format}
	case version.Format < 1:
		err = fmt.Errorf("format %d", version.Format)
	default:
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err = d.Decode(v); err == nil {
			if _, rest := d.Token(); !errors.Is(rest, io.EOF) {
				err = errors.New("text behind the end")
			}
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrDamaged, err)
	}
	return nil
}
