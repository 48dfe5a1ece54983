package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// Restores is what a SelfService lets tenants do. *Daemon implements it.
type Restores interface {
	Restore(ctx context.Context, q RestoreRequest) (Restored, error)
	RestoreBlock(ctx context.Context, q BlockRequest) (Restored, error)
	// TenantBackups returns the backups that the tenants of a claim may know of,
	// the oldest first, and TenantBackup the one of them that at names.
	TenantBackups(c kube.Claim) ([]catalog.Backup, error)
	TenantBackup(c kube.Claim, at string) (catalog.Backup, error)
}

// ClaimNotes reads a claim as it is now, and writes its annotations.
// *kube.Client implements it.
type ClaimNotes interface {
	Annotator
	Claim(ctx context.Context, namespace, name string) (kube.Claim, error)
}

// SelfServiceOptions are the parts of a SelfService. All but Tell and Logger are
// required.
type SelfServiceOptions struct {
	// Restores returns the one that holds the policies of now.
	Restores func() Restores
	// Candidates is that of the Service.
	Candidates func() (list []Candidate, known bool)
	Claims ClaimNotes
	// Tell is told how a restore ended, for an event on the claim.
	Tell   func(c kube.Claim, done bool, message string)
	Logger *slog.Logger
}

// SelfService restores claims whose tenants wish it by an annotation: its value
// names a backup as --at does, and after a colon, perhaps, a path. It writes
// into the claim that bears the annotation and into no other, from backups of
// this very namespace only, and refuses what glusterbackupd restore refuses.
//
// Each value is done once: how it ended is written on the claim beside it. A
// restore whose daemon died is begun again by whoever finds it, which ends in
// the same state.
type SelfService struct {
	o       SelfServiceOptions
	workers sync.WaitGroup

	mu      sync.Mutex
	working map[string]*restoring // By the claim's UID.
}

// restoring is a restore that works now.
type restoring struct {
	key   catalog.Key
	wish  string
	phase Phase
	bytes int64
	told  string // As written on the claim last.
}

const (
	// selfServicePause is the time between two looks at the claims, and
	// progressPause between two notes on how far a restore is.
	selfServicePause = 10 * time.Second
	progressPause    = 15 * time.Second
	// atOnce is how many restores work at a time.
	atOnce = 2
	// noteTimeout bounds the writing of how a restore ended.
	noteTimeout = time.Minute
)

var (
	errServed    = errors.New("somebody has done it")
	errWithdrawn = errors.New("the annotation was changed meanwhile, or the claim is another one; nothing was written")
)

// NewSelfService returns a SelfService that Run starts.
func NewSelfService(o SelfServiceOptions) (*SelfService, error) {
	if o.Restores == nil || o.Candidates == nil || o.Claims == nil {
		return nil, errors.New("daemon: Restores, Candidates and Claims are required")
	}
	if o.Tell == nil {
		o.Tell = func(kube.Claim, bool, string) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &SelfService{o: o, working: map[string]*restoring{}}, nil
}

// Run works until ctx ends and what it began has given back what it holds.
func (s *SelfService) Run(ctx context.Context) {
	defer s.workers.Wait()
	looks, notes := time.NewTicker(selfServicePause), time.NewTicker(progressPause)
	defer looks.Stop()
	defer notes.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
			s.look(ctx)
		case <-notes.C:
			s.tellProgress(ctx)
		}
	}
}

// Observe takes over how far restores are. It is for [Options].
func (s *SelfService) Observe(e Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.working {
		if r.key == e.Claim {
			r.phase, r.bytes = e.Phase, e.Progress.Bytes
		}
	}
}

// look begins what tenants wish for.
func (s *SelfService) look(ctx context.Context) {
	list, known := s.o.Candidates()
	if !known || ctx.Err() != nil {
		return
	}
	for _, c := range list {
		wish, note := wishOf(c.Claim)
		switch {
		case c.Claim.UID == "" || c.Coverage == Deleting:
		case wish == "" && note != "":
			s.note(ctx, c.Claim, "")
		case wish != "" && !served(wish, note):
			s.begin(ctx, c.Claim, wish)
		}
	}
}

// wishOf returns what is wished for, and what was written about the last wish.
func wishOf(c kube.Claim) (wish, note string) {
	return c.Annotations[kube.RestoreAnnotation], c.Annotations[kube.RestoreStatusAnnotation]
}

// How a note begins after the wish that it is about.
const (
	noteDone    = "done"
	noteFailed  = "failed"
	noteWaiting = "waiting"
	noteRunning = "running"
)

// served says whether a wish was done or has failed.
func served(wish, note string) bool {
	about, ok := strings.CutPrefix(note, wish+": ")
	return ok && (strings.HasPrefix(about, noteDone) || strings.HasPrefix(about, noteFailed))
}

// begin starts a restore unless one of the claim works already, or too many do.
func (s *SelfService) begin(ctx context.Context, c kube.Claim, wish string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.working[c.UID] != nil || len(s.working) >= atOnce {
		return
	}
	s.working[c.UID] = &restoring{key: catalog.Key{Namespace: c.Namespace, Claim: c.Name}, wish: wish}
	s.workers.Go(func() {
		s.serve(ctx, c, wish)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.working, c.UID)
	})
}

// serve does what is wished for and notes how it ended. What another process
// works on is left for a later look, and so is what the end of the daemon cut
// short.
func (s *SelfService) serve(ctx context.Context, c kube.Claim, wish string) {
	log := s.o.Logger.With("claim", c.Namespace+"/"+c.Name, "wish", wish)
	done, err := s.restore(ctx, c, wish)
	switch {
	case errors.Is(err, errServed), ctx.Err() != nil:
		return
	case heldElsewhere(err):
		s.note(ctx, c, fmt.Sprintf("%s: %s for whoever works on the volume: %v", wish, noteWaiting, err))
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if err != nil {
		log.Warn("restore that a tenant asked for failed", "error", err)
		text := err.Error()
		if r, ok := errors.AsType[interface {
			error
			Remedy() string
		}](err); ok {
			text += "; " + r.Remedy()
		}
		s.note(ctx, c, fmt.Sprintf("%s: %s at %s: %s; to try again, remove the annotation and set it again", wish, noteFailed, stamp(), text))
		s.o.Tell(c, false, "restore "+wish+": "+text)
		return
	}
	text := fmt.Sprintf("backup %s restored, %d bytes written, %d read back and equal", done.Plan.Backup.ID, done.Written, done.Compared)
	if done.SafetySnapshot != "" {
		text += "; the state before is in snapshot " + done.SafetySnapshot
	}
	log.Info("restore that a tenant asked for is done", "backup", done.Plan.Backup.ID, "written", done.Written)
	s.note(ctx, c, fmt.Sprintf("%s: %s at %s: %s", wish, noteDone, stamp(), text))
	s.o.Tell(c, true, text)
}

func stamp() string { return time.Now().UTC().Format(time.RFC3339) }

// restore does what is wished for.
func (s *SelfService) restore(ctx context.Context, c kube.Claim, wish string) (Restored, error) {
	at, path, _ := strings.Cut(wish, ":")
	r := s.o.Restores()
	b, err := r.TenantBackup(c, at)
	if err != nil {
		return Restored{}, err
	}
	confirm := func(p Plan) error { return s.confirm(ctx, c, wish, p) }
	if b.Info.Block == nil {
		return r.Restore(ctx, RestoreRequest{Key: b.Key, At: b.ID, Path: path, Confirm: confirm})
	}
	if path != "" {
		return Restored{}, &ImagePathError{Claim: b.Key, Path: path}
	}
	return r.RestoreBlock(ctx, BlockRequest{Image: b.Info.Block.Name, Key: b.Key, At: b.ID, Confirm: confirm})
}

// confirm is asked under the lock of the volume, before anything is written. What
// was known of the claim may be old by then: another daemon may have served it,
// or its tenant may have thought better of it.
func (s *SelfService) confirm(ctx context.Context, c kube.Claim, wish string, p Plan) error {
	now, err := s.o.Claims.Claim(ctx, c.Namespace, c.Name)
	if err != nil {
		return err
	}
	current, note := wishOf(now)
	switch {
	case now.UID != c.UID || now.NamespaceUID != c.NamespaceUID || current != wish || !tenantsOwn(now, p.Backup):
		return errWithdrawn
	case served(wish, note):
		return errServed
	}
	return s.o.Claims.PatchClaimAnnotations(ctx, c.Namespace, c.Name, noteOf(
		fmt.Sprintf("%s: %s since %s from backup %s", wish, noteRunning, stamp(), p.Backup.ID)))
}

func noteOf(text string) map[string]*string {
	values := map[string]*string{kube.RestoreStatusAnnotation: &text}
	if text == "" {
		values[kube.RestoreStatusAnnotation] = nil
	}
	return values
}

// longestNote bounds what is written on a claim, in bytes.
const longestNote = 8 << 10

// note writes how a wish stands. A note that is not written is written after the
// next try of the same: nothing is lost by that.
func (s *SelfService) note(ctx context.Context, c kube.Claim, text string) {
	text = strings.ToValidUTF8(text[:min(len(text), longestNote)], "")
	if text != "" && c.Annotations[kube.RestoreStatusAnnotation] == text {
		return // It waits, and has said so.
	}
	err := s.o.Claims.PatchClaimAnnotations(ctx, c.Namespace, c.Name, noteOf(text))
	if err != nil && !errors.Is(err, kube.ErrNoClaim) && ctx.Err() == nil {
		s.o.Logger.Warn("annotation was not written", "claim", c.Namespace+"/"+c.Name, "error", err)
	}
}

// tellProgress notes how far the restores are.
func (s *SelfService) tellProgress(ctx context.Context) {
	type progress struct {
		claim kube.Claim
		text  string
	}
	var all []progress
	s.mu.Lock()
	for _, r := range s.working {
		if r.phase == "" {
			continue
		}
		text := fmt.Sprintf("%s: %s, %s, %d bytes", r.wish, noteRunning, r.phase, r.bytes)
		if text != r.told {
			all = append(all, progress{kube.Claim{Namespace: r.key.Namespace, Name: r.key.Claim}, text})
			r.told = text
		}
	}
	s.mu.Unlock()
	for _, p := range all {
		s.note(ctx, p.claim, p.text)
	}
}

// TenantBackups implements Restores.
func (d *Daemon) TenantBackups(c kube.Claim) ([]catalog.Backup, error) {
	backups, err := d.o.Catalog.Backups(catalog.Key{Namespace: c.Namespace, Claim: c.Name})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(backups, func(b catalog.Backup) bool { return !tenantsOwn(c, b) }), nil
}

// TenantBackup implements Restores.
func (d *Daemon) TenantBackup(c kube.Claim, at string) (catalog.Backup, error) {
	key := catalog.Key{Namespace: c.Namespace, Claim: c.Name}
	b, err := d.o.Catalog.Find(key, at)
	if err == nil && tenantsOwn(c, b) {
		return b, nil
	}
	if err != nil && !errors.Is(err, catalog.ErrNoBackup) {
		return b, err
	}
	// The error of Find would name all there are.
	own, err := d.TenantBackups(c)
	if err != nil {
		return catalog.Backup{}, err
	}
	have := make([]string, 0, len(own))
	for _, b := range own {
		have = append(have, b.ID)
	}
	return catalog.Backup{}, &NoTenantBackupError{Claim: key, At: at, Have: have}
}

// NoTenantBackupError says that a tenant named no backup that is the tenant's. It
// matches catalog.ErrNoBackup.
type NoTenantBackupError struct {
	Claim catalog.Key
	At    string
	Have  []string // The tenant's own, the oldest first.
}

// Error names what was asked for.
func (e *NoTenantBackupError) Error() string {
	return fmt.Sprintf("claim %s has no backup %.100q", e.Claim, e.At)
}

// Is makes the error one of catalog.ErrNoBackup.
func (e *NoTenantBackupError) Is(target error) bool { return target == catalog.ErrNoBackup }

// Remedy names what there is.
func (e *NoTenantBackupError) Remedy() string {
	if len(e.Have) == 0 {
		return "it has none yet"
	}
	newest := slices.Clone(e.Have)
	slices.Reverse(newest)
	more := ""
	if len(newest) > listed {
		newest, more = newest[:listed], fmt.Sprintf(" and %d older", len(newest)-listed)
	}
	return `use "latest", a day like ` + newest[0][:8] + " or one of " + strings.Join(newest, ", ") + more
}

// ImagePathError says that a path was named in a block image.
type ImagePathError struct {
	Claim catalog.Key
	Path  string
}

// Error names the claim and the path.
func (e *ImagePathError) Error() string {
	return fmt.Sprintf("claim %s is a block image, in which there is no path %.200q for us", e.Claim, e.Path)
}

// Remedy says what can be done.
func (e *ImagePathError) Remedy() string {
	return "leave the path out to restore the whole image"
}
