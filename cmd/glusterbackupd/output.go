package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// printJSON writes one result as indented JSON.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table writes rows in columns that line up.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, header ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	t.row(header...)
	return t
}

func (t *table) row(cells ...string) {
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t *table) flush() error { return t.w.Flush() }

func size(n int64) string { return humanize.IBytes(uint64(max(n, 0))) }

func took(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// backupOutput is a backup in JSON output. Its fields are an interface.
type backupOutput struct {
	Claim        string    `json:"claim"`
	ID           string    `json:"id"`
	Time         time.Time `json:"time"`
	Kind         string    `json:"kind"`
	Volume       string    `json:"volume"`
	Image        string    `json:"image,omitempty"`
	Snapshot     string    `json:"snapshot"`
	Files        int64     `json:"files"`
	Bytes        int64     `json:"bytes"`
	Transferred  int64     `json:"bytesTransferred"`
	Unread       int64     `json:"bytesUnread,omitempty"`
	Path         string    `json:"path"`
	TookSeconds  float64   `json:"tookSeconds"`
	SnapshotTime time.Time `json:"snapshotTime"`
	Protected    bool      `json:"protected"`
}

func outputOf(b catalog.Backup) backupOutput {
	o := backupOutput{
		Claim: b.Key.String(), ID: b.ID, Time: b.Time, Kind: string(b.Info.Kind), Volume: b.Info.Volume,
		Snapshot: b.Info.Snapshot, SnapshotTime: b.Info.SnapshotTime,
		Files: b.Summary.Files, Bytes: b.Summary.Bytes, Transferred: b.Info.Copied.BytesTransferred, Unread: b.Info.Copied.BytesUnread,
		Path: b.DataDir(), TookSeconds: b.Info.Finished.Sub(b.Info.Started).Seconds(),
		Protected: b.Protected,
	}
	if b.Info.Block != nil {
		o.Image = b.Info.Block.Name
	}
	return o
}

// source names what a backup was made from: the image, or else the volume.
func (o backupOutput) source() string {
	if o.Image != "" {
		return o.Image
	}
	return o.Volume
}
