package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
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
	RestoreNew(ctx context.Context, q NewRequest) (Restored, error)
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
	// Namespace returns "" for a namespace that does not exist.
	Namespace(ctx context.Context, name string) (uid string, annotations map[string]string, err error)
}

// SelfServiceOptions are the parts of a SelfService. All but Tell and Logger are
// required.
type SelfServiceOptions struct {
	// Restores returns the one that holds the policies of now.
	Restores func() Restores
	// Candidates is that of the Service.
	Candidates func() (list []Candidate, known bool)
	Claims     ClaimNotes
	// Tell is told how a restore ended, for an event on the claim.
	Tell   func(c kube.Claim, done bool, message string)
	Logger *slog.Logger
}

// SelfService restores claims whose tenants wish it by an annotation: its value
// names a backup as --at does, and after a colon, perhaps, a path. It writes
// into the claim that bears the annotation and into no other, from backups of
// this very namespace only, and refuses what glusterbackupd restore refuses. It
// also fills new claims whose StorageClass leaves that to it, before they are bound,
// from other namespaces too if these allow it.
//
// Each value is done once: how it ended is written on the claim beside it. A
// restore whose daemon died is begun again by whoever finds it, which ends in
// the same state.
type SelfService struct {
	o       SelfServiceOptions
	workers sync.WaitGroup

	mu      sync.Mutex
	working map[string]*restoring // By the claim's UID,
	ended   map[string]ended      // and what is still to be noted of it.
}

// ended is how a restore ended, until that was written on the claim.
type ended struct{ wish, text string }

// restoring is a restore that works now.
type restoring struct {
	key   catalog.Key
	wish  string
	phase Phase
	bytes int64
	told  string // As written on the claim last.

	noting sync.Mutex // Held while a note is written.
	over   bool       // Its last note is written; guarded by noting.
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
	return &SelfService{o: o, working: map[string]*restoring{}, ended: map[string]ended{}}, nil
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
			s.note(ctx, c.Claim, "", "")
		case wish != "" && !served(wish, note):
			s.begin(ctx, c.Claim, wish)
		}
	}
}

// How a note begins after the wish that it is about.
const (
	noteDone    = "done"
	noteFailed  = "failed"
	noteWaiting = "waiting"
	noteRunning = "running"
)

// longestWish is the longest value that is considered, in bytes.
const longestWish = 1024

// subject names a wish in a note: as it is, or if it is too long its beginning
// and a digest.
func subject(wish string) string {
	if len(wish) <= longestWish {
		return wish
	}
	sum := sha256.Sum256([]byte(wish))
	return strings.ToValidUTF8(wish[:100], "") + "…" + hex.EncodeToString(sum[:8])
}

func noteOn(wish, state, format string, a ...any) string {
	return subject(wish) + ": " + state + " " + fmt.Sprintf(format, a...)
}

// served says whether a wish was done or has failed.
func served(wish, note string) bool {
	about, ok := strings.CutPrefix(note, subject(wish)+": ")
	return ok && (strings.HasPrefix(about, noteDone) || strings.HasPrefix(about, noteFailed))
}

// begin starts a restore unless one of the claim works already, or too many do.
func (s *SelfService) begin(ctx context.Context, c kube.Claim, wish string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.working[c.UID] != nil || len(s.working) >= atOnce {
		return
	}
	r := &restoring{key: catalog.Key{Namespace: c.Namespace, Claim: c.Name}, wish: wish}
	s.working[c.UID] = r
	last := s.ended[c.UID]
	s.workers.Go(func() {
		if last.wish == wish {
			s.noteEnd(ctx, c, r, last) // It was done, only not written.
		} else {
			s.serve(ctx, c, r)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.working, c.UID)
	})
}

// serve does what is wished for and notes how it ended. What another process
// works on is left for a later look, and so is what the end of the daemon cut
// short.
func (s *SelfService) serve(ctx context.Context, c kube.Claim, r *restoring) {
	log := s.o.Logger.With("claim", c.Namespace+"/"+c.Name, "wish", subject(r.wish))
	// What the look saw may be old.
	if err := s.stands(ctx, c, r.wish); err != nil {
		return
	}
	done, err := s.restore(ctx, c, r.wish)
	switch {
	case errors.Is(err, errServed), err != nil && ctx.Err() != nil:
		return
	case heldElsewhere(err):
		s.note(ctx, c, r.wish, noteOn(r.wish, noteWaiting, "for whoever works on the volume: %v", err))
		return
	}
	if err != nil {
		log.Warn("restore that a tenant asked for failed", "error", err)
		text := err.Error()
		if r, ok := errors.AsType[interface {
			error
			Remedy() string
		}](err); ok {
			text += "; " + r.Remedy()
		}
		s.noteEnd(ctx, c, r, ended{r.wish, noteOn(r.wish, noteFailed, "at %s: %s; to try again, remove the annotation and set it again", stamp(), text)})
		s.o.Tell(c, false, "restore "+subject(r.wish)+": "+text)
		return
	}
	text := fmt.Sprintf("backup %s restored, %d bytes written, %d read back and equal", done.Plan.Backup.ID, done.Written, done.Compared)
	if done.SafetySnapshot != "" {
		text += "; the state before is in snapshot " + done.SafetySnapshot
	}
	log.Info("restore that a tenant asked for is done", "backup", done.Plan.Backup.ID, "written", done.Written)
	s.noteEnd(ctx, c, r, ended{r.wish, noteOn(r.wish, noteDone, "at %s: %s", stamp(), text)})
	s.o.Tell(c, true, text)
}

func stamp() string { return time.Now().UTC().Format(time.RFC3339) }

// stands says whether a wish is still that of the claim, and not done.
func (s *SelfService) stands(ctx context.Context, c kube.Claim, wish string) error {
	now, err := s.o.Claims.Claim(ctx, c.Namespace, c.Name)
	if err != nil {
		return err
	}
	current, note := wishOf(now)
	switch {
	case now.UID != c.UID || now.NamespaceUID != c.NamespaceUID || now.NamespaceUID == "" || current != wish:
		return errWithdrawn
	case served(wish, note):
		return errServed
	}
	return nil
}

// noteEnd writes how a restore ended, also while the daemon ends. What cannot be
// written is remembered, so that it is not done again for that.
func (s *SelfService) noteEnd(ctx context.Context, c kube.Claim, r *restoring, e ended) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	r.noting.Lock()
	defer r.noting.Unlock()
	r.over = true
	written := s.note(ctx, c, e.wish, e.text)
	s.mu.Lock()
	defer s.mu.Unlock()
	if written {
		delete(s.ended, c.UID)
	} else {
		s.ended[c.UID] = e
	}
}

// restore does what is wished for.
func (s *SelfService) restore(ctx context.Context, c kube.Claim, wish string) (Restored, error) {
	if len(wish) > longestWish {
		return Restored{}, &LongWishError{len(wish)}
	}
	if fillsNew(c, wish) {
		return s.fillNew(ctx, c, wish)
	}
	at, path, _ := strings.Cut(wish, ":")
	r := s.o.Restores()
	b, err := r.TenantBackup(c, at)
	if err != nil {
		return Restored{}, err
	}
	confirm := func(p Plan) error { return s.confirm(ctx, c, c, wish, p) }
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
// or its tenant may have thought better of it. owner is whose backup it must be.
func (s *SelfService) confirm(ctx context.Context, c, owner kube.Claim, wish string, p Plan) error {
	if err := s.stands(ctx, c, wish); err != nil {
		return err
	}
	if !tenantsOwn(owner, p.Backup) {
		return errWithdrawn
	}
	return s.o.Claims.PatchClaimAnnotations(ctx, c.Namespace, c.Name,
		noteOf(noteOn(wish, noteRunning, "since %s from backup %s", stamp(), p.Backup.ID)))
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

// note writes how a wish stands, or clears what is written when there is no wish
// any more, and says whether nothing of it is left to do. It replaces neither how
// the wish ended nor anything about another one.
func (s *SelfService) note(ctx context.Context, c kube.Claim, wish, text string) (written bool) {
	text = strings.ToValidUTF8(text[:min(len(text), longestNote)], "")
	now, err := s.o.Claims.Claim(ctx, c.Namespace, c.Name)
	if err == nil {
		current, old := wishOf(now)
		running := strings.HasPrefix(text, subject(wish)+": "+noteWaiting) && strings.HasPrefix(old, subject(wish)+": "+noteRunning)
		if now.UID != c.UID || current != wish || old == text || wish != "" && served(wish, old) || running {
			return true
		}
		err = s.o.Claims.PatchClaimAnnotations(ctx, c.Namespace, c.Name, noteOf(text))
	}
	if err != nil && !errors.Is(err, kube.ErrNoClaim) {
		if ctx.Err() == nil {
			s.o.Logger.Warn("annotation was not written", "claim", c.Namespace+"/"+c.Name, "error", err)
		}
		return false
	}
	return true
}

// tellProgress notes how far the restores are.
func (s *SelfService) tellProgress(ctx context.Context) {
	type progress struct {
		*restoring
		claim kube.Claim
		text  string
	}
	var all []progress
	s.mu.Lock()
	for uid, r := range s.working {
		if r.phase == "" {
			continue
		}
		text := noteOn(r.wish, noteRunning, "%s, %d bytes", r.phase, r.bytes)
		if text != r.told {
			all = append(all, progress{r, kube.Claim{Namespace: r.key.Namespace, Name: r.key.Claim, UID: uid}, text})
			r.told = text
		}
	}
	s.mu.Unlock()
	for _, p := range all {
		p.noting.Lock()
		if !p.over {
			s.note(ctx, p.claim, p.wish, p.text)
		}
		p.noting.Unlock()
	}
}
