package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/daemon"
)

func newVerifyCommand(g *globals) *cobra.Command {
	var at, part string
	var days int
	var source bool
	cmd := &cobra.Command{
		Use:   "verify [NAMESPACE/CLAIM]",
		Short: "Read backups again and compare them with their manifests",
		Long: `Reads every file of the claim's backups, or of all backups, compares content,
owner, mode, times and attributes with the manifest, and names what differs. All
damaged backups are found, also those that list leaves out because they cannot be
used. It changes nothing and takes no lock.

With --days N it reads the content of one Nth: called once a day, it has read
everything after N days. --part says which one. All else is compared every time.

With --against-source it compares one backup, the latest if --at names no other,
with the Gluster snapshot that it was made from, byte by byte. That one must still
exist ([retention] snapshots), and the volume is locked meanwhile.

` + exitCodeHelp,
		Example: "  glusterbackupd verify\n  glusterbackupd verify media/photos --at latest\n  glusterbackupd verify --days 30\n  glusterbackupd verify shop/db --against-source",
		Args:    args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, names []string) error {
			if at != "" && len(names) == 0 {
				return usagef("--at needs a claim: name it as NAMESPACE/CLAIM")
			}
			sample, err := sampleOf(part, days, time.Now())
			if err != nil {
				return err
			}
			if source {
				if len(names) == 0 {
					return usagef("--against-source needs a claim: name it as NAMESPACE/CLAIM")
				}
				if sample.Parts > 0 {
					return usagef("--against-source compares everything: leave --days and --part out")
				}
				return runVerifySource(cmd.Context(), g, names[0], at)
			}
			return runVerify(cmd.Context(), g, names, at, sample)
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "only one backup: latest, a date as 20181202, or a time as 20181202T000000Z")
	cmd.Flags().IntVar(&days, "days", 0, "read one part of the content, another one each day, and everything in so many days")
	cmd.Flags().StringVar(&part, "part", "", "read one part of the content, as in 3/30")
	cmd.MarkFlagsMutuallyExclusive("days", "part")
	cmd.Flags().BoolVar(&source, "against-source", false, "compare with the Gluster snapshot that the backup was made from")
	return cmd
}

// mostParts is more than anybody needs, and less than what would overflow.
const mostParts = 100_000

// sampleOf returns the part of the content that is to be read. With days it is that
// of the day, which begins at midnight UTC.
func sampleOf(part string, days int, now time.Time) (catalog.Sample, error) {
	var s catalog.Sample
	switch {
	case days != 0:
		if days < 1 || days > mostParts {
			return s, usagef("--days is from 1 to %d", mostParts)
		}
		s = catalog.Sample{Part: int(now.Unix() / (24 * 60 * 60) % int64(days)), Parts: days}
	case part != "":
		text, of, _ := strings.Cut(part, "/")
		n, err := strconv.Atoi(text)
		parts, otherErr := strconv.Atoi(of)
		s = catalog.Sample{Part: n - 1, Parts: parts}
		if errors.Join(err, otherErr, s.Validate()) != nil || parts < 1 || parts > mostParts {
			return s, usagef("--part %q: write it as in 3/30, which is the third of thirty parts", part)
		}
	}
	return s, nil
}

// What verify says about a backup. The words are part of the output's interface.
const (
	resultIntact   = "intact"
	resultDamaged  = "damaged"
	resultUnusable = "unusable" // Of a newer format, or not made by us.
	resultRemoved  = "removed"  // By somebody else while it was read.
)

// verifyOutput is one backup in JSON output. Its fields are an interface.
type verifyOutput struct {
	Claim       string             `json:"claim"`
	ID          string             `json:"id,omitempty"`
	Files       int64              `json:"files"`
	Bytes       int64              `json:"bytes"`
	Part        int                `json:"part,omitempty"`  // Of so many parts the content was read,
	Parts       int                `json:"parts,omitempty"` // from 1 on; missing when all was.
	TookSeconds float64            `json:"tookSeconds"`
	Result      string             `json:"result"`
	Differences []differenceOutput `json:"differences,omitempty"` // The first ones.
	Total       int                `json:"differencesTotal,omitempty"`
	Error       string             `json:"error,omitempty"`
	Remedy      string             `json:"remedy,omitempty"`

	took time.Duration
	err  error
}

// differenceOutput is one difference between a backup and its manifest.
type differenceOutput struct {
	Path string `json:"path"`
	Kind string `json:"kind"`
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
}

func runVerify(ctx context.Context, g *globals, names []string, at string, sample catalog.Sample) error {
	c, err := g.parse()
	if err != nil {
		return err
	}
	r, err := catalog.Open(c.Destination.Path, catalog.Options{Logger: g.logger(c.Log)})
	if err != nil {
		return err
	}
	backups, rows, err := toVerify(r, names, at)
	if err != nil {
		return err
	}
	p := newProgress(g.err)
	for _, b := range backups {
		row, err := verifyBackup(ctx, r, b, sample, p)
		if err != nil {
			p.done()
			return errors.Join(err, g.printVerified(rows))
		}
		rows = append(rows, row)
	}
	p.done()
	return g.printVerified(rows)
}

// toVerify returns the backups to read, and rows about those that are known to
// be bad without reading them.
func toVerify(r *catalog.Repository, names []string, at string) ([]catalog.Backup, []verifyOutput, error) {
	keys, err := keysOf(r, names)
	if err != nil {
		return nil, nil, err
	}
	problems, err := r.Problems()
	if err != nil {
		return nil, nil, err
	}
	if at != "" {
		return toVerifyOne(r, keys[0], at, problems)
	}
	var list []catalog.Backup
	var rows []verifyOutput
	for _, p := range problems {
		if len(names) == 0 || p.Key == keys[0] {
			rows = append(rows, problemRow(p))
		}
	}
	for _, k := range keys {
		backups, err := r.Backups(k)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, backups...)
	}
	if len(names) > 0 && len(list)+len(rows) == 0 {
		return nil, nil, &catalog.NoBackupError{Key: keys[0], At: "any time"}
	}
	return list, rows, nil
}

func toVerifyOne(r *catalog.Repository, k catalog.Key, at string, problems []catalog.Problem) ([]catalog.Backup, []verifyOutput, error) {
	b, err := r.Find(k, at)
	var none *catalog.NoBackupError
	if !errors.As(err, &none) || len(none.Damaged) == 0 {
		return []catalog.Backup{b}, nil, err
	}
	var rows []verifyOutput
	for _, p := range problems {
		if p.Key == k && slices.Contains(none.Damaged, p.ID) {
			rows = append(rows, problemRow(p))
		}
	}
	return nil, rows, nil
}

func problemRow(p catalog.Problem) verifyOutput {
	row := verifyOutput{Claim: p.Key.String(), ID: p.ID}
	if p.Key.Claim == "" {
		row.Claim = p.Key.Namespace
	}
	return row.judge(p)
}

// verifyBackup reads one backup. The error is one that ends the command: an
// interruption, or a BackupDisk that is gone.
func verifyBackup(ctx context.Context, r *catalog.Repository, b catalog.Backup, sample catalog.Sample, p *progress) (verifyOutput, error) {
	row := verifyOutput{Claim: b.Key.String(), ID: b.ID, Files: b.Summary.Files, Bytes: b.Summary.Bytes}
	if sample.Parts > 1 {
		row.Part, row.Parts = sample.Part+1, sample.Parts
	}
	start := time.Now()
	event := daemon.Event{Claim: b.Key, Phase: daemon.PhaseVerify + daemon.Phase(" "+b.ID)}
	p.observe(event)
	err := b.Verify(ctx, catalog.VerifyOptions{Sample: sample, Progress: func(read int64) {
		event.Progress = copier.Progress{Bytes: read, TotalBytes: b.Summary.Bytes / int64(max(1, sample.Parts))}
		p.observe(event)
	}})
	row.took = time.Since(start)
	row.TookSeconds = row.took.Seconds()
	if err == nil {
		return row.judge(nil), nil
	}
	if ctx.Err() != nil || errors.Is(err, catalog.ErrNotRepository) {
		return row, err
	}
	var none *catalog.NoBackupError
	if _, gone := r.Find(b.Key, b.ID); errors.As(gone, &none) && len(none.Damaged) == 0 {
		row.Result = resultRemoved
		return row, nil
	}
	return row.judge(err), nil
}

// judge fills in what an error says about the backup.
func (o verifyOutput) judge(err error) verifyOutput {
	switch {
	case err == nil:
		o.Result = resultIntact
		return o
	case errors.Is(err, catalog.ErrDamaged):
		o.Result = resultDamaged
	default:
		o.Result = resultUnusable
	}
	o.err, o.Error, o.Remedy = err, err.Error(), remedyOf(err)
	var damage *catalog.DamageError
	if errors.As(err, &damage) {
		o.Total = damage.Total
		for _, d := range damage.Differences {
			o.Differences = append(o.Differences, differenceOutput{d.Path, string(d.Kind), d.Want, d.Got})
		}
	}
	return o
}

// printVerified prints all rows and reports every fault. Damage is the error
// that counts, whatever else failed.
func (g *globals) printVerified(rows []verifyOutput) error {
	if err := g.printVerifiedRows(rows); err != nil {
		return err
	}
	damaged, unusable := 0, 0
	for _, o := range rows {
		if o.err == nil {
			continue
		}
		report(g.err, o.err)
		if o.Result == resultDamaged {
			damaged++
		} else {
			unusable++
		}
	}
	switch {
	case damaged > 0:
		return fmt.Errorf("%d of %d backups: %w", damaged, len(rows), catalog.ErrDamaged)
	case unusable > 0:
		return fmt.Errorf("%d of %d backups are unusable", unusable, len(rows))
	}
	return nil
}

func (g *globals) printVerifiedRows(rows []verifyOutput) error {
	if g.json() {
		if rows == nil {
			rows = []verifyOutput{}
		}
		return printJSON(g.out, rows)
	}
	t := newTable(g.out, "CLAIM", "BACKUP", "FILES", "SIZE", "TOOK", "RESULT")
	for _, o := range rows {
		t.row(o.Claim, o.ID, fmt.Sprint(o.Files), size(o.Bytes), took(o.took), o.describe())
	}
	return t.flush()
}

// describe is the result with the first thing that differs.
func (o verifyOutput) describe() string {
	if len(o.Differences) == 0 && o.Parts > 0 {
		return fmt.Sprintf("%s (part %d of %d)", o.Result, o.Part, o.Parts)
	}
	if len(o.Differences) == 0 {
		return o.Result
	}
	first := o.Differences[0]
	text := fmt.Sprintf("%s: %q %s", o.Result, first.Path, first.Kind)
	if o.Total > 1 {
		text += fmt.Sprintf(" and %d more", o.Total-1)
	}
	return text
}
