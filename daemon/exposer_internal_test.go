package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/gluster"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// shelf is a cluster in which an Exposer works: its VolumeSnapshots, and the
// annotations of its claims. What kube.Snapshots does of it is tested on a real
// API server.
type shelf struct {
	t        *testing.T
	d        *Daemon
	cluster  *fullCluster
	exposer  *Exposer
	log      bytes.Buffer
	api      kube.SnapshotAPI
	slow     bool // A Withdraw does not come to its end.
	remove   bool // A deleted VolumeSnapshot deletes the Gluster snapshot.
	claims   []ClaimStatus
	objects  []kube.VolumeSnapshot
	copies   []kube.SnapshotClaim
	users    error // Of the snapshot claims.
	requests []kube.SnapshotRequest
	refused  []string
	demands  []string
	writes   int
}

func newShelf(t *testing.T, claims ...string) *shelf {
	t.Helper()
	s := &shelf{t: t, cluster: &fullCluster{}, remove: true, api: kube.SnapshotsV1}
	s.d = onDisk(t, s.cluster)
	for _, name := range claims {
		s.claims = append(s.claims, ClaimStatus{Candidate: Candidate{
			Key: catalog.Key{Namespace: "office", Claim: name}, Coverage: Covered, Volume: "vol", Hosts: []string{"host"},
			Claim: kube.Claim{Namespace: "office", Name: name, UID: "uid-" + name, NamespaceUID: "ns-1"},
		}})
	}
	var err error
	s.exposer, err = NewExposer(ExposerOptions{
		Daemon: func() *Daemon { return s.d }, Status: func() Status { return Status{Ready: true, Claims: s.claims} },
		BackUpNow: func(_ context.Context, k catalog.Key, _ time.Time) error {
			s.demands = append(s.demands, k.Claim)
			return nil
		},
		Objects: s, Requests: s, Claims: s, Delete: func() bool { return s.remove },
		Logger: slog.New(slog.NewTextHandler(&s.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s.d.o.SnapshotDeleted = s.exposer.Deleted
	return s
}

// backUp publishes backups of claims from one snapshot.
func (s *shelf) backUp(at time.Time, namespaceUID string, claims ...string) {
	s.t.Helper()
	name := "gb-vol-" + at.Format(snapshotTime)
	s.cluster.snapshots = append(s.cluster.snapshots, gluster.Snapshot{
		Name: name, Volume: "vol", Description: s.d.description(forBackup), Created: at, Active: true,
	})
	for _, claim := range claims {
		publish(s.t, s.d.o.Catalog, catalog.Key{Namespace: "office", Claim: claim}, at, catalog.Info{
			Kind: catalog.KindFile, Volume: "vol", Snapshot: name, Started: at, Finished: at,
			Claim: &catalog.ClaimInfo{UID: "uid-" + claim, NamespaceUID: namespaceUID},
		})
	}
}

// look lets the Exposer look at everything until it wants no more rounds soon.
func (s *shelf) look() (pause time.Duration) {
	s.t.Helper()
	s.exposer.Look("")
	for range 3 {
		pause = s.exposer.round(s.t.Context())
	}
	return pause
}

func (s *shelf) names() (names []string) {
	for _, o := range s.objects {
		names = append(names, o.Name)
	}
	slices.Sort(names)
	return names
}

func (s *shelf) want(names ...string) {
	s.t.Helper()
	if got := s.names(); !slices.Equal(got, names) {
		s.t.Errorf("shown: %q, want %q", got, names)
	}
}

// deleteObject is what a tenant does.
func (s *shelf) deleteObject(name string) {
	for n := range s.objects {
		if s.objects[n].Name == name {
			s.objects[n].Deleting = true
		}
	}
}

func (s *shelf) API(context.Context) (kube.SnapshotAPI, error) { return s.api, nil }

func (s *shelf) List(context.Context) ([]kube.VolumeSnapshot, error) {
	return slices.Clone(s.objects), nil
}

func (s *shelf) Show(_ context.Context, o kube.VolumeSnapshot) error {
	s.writes++
	for n := range s.objects {
		if s.objects[n].Name == o.Name {
			s.objects[n].Ready = true
			return nil
		}
	}
	o.Ready = true
	s.objects = append(s.objects, o)
	return nil
}

func (s *shelf) Withdraw(_ context.Context, o kube.VolumeSnapshot) error {
	s.writes++
	if s.slow {
		for n := range s.objects {
			if s.objects[n].Name == o.Name {
				s.objects[n].Deleting, s.objects[n].Withdrawn = true, true
			}
		}
		return nil // What others see in the middle of it.
	}
	s.objects = slices.DeleteFunc(s.objects, func(x kube.VolumeSnapshot) bool { return x.Name == o.Name })
	return nil
}

func (s *shelf) Requests(context.Context) ([]kube.SnapshotRequest, error) {
	return slices.Clone(s.requests), nil
}

func (s *shelf) Answer(_ context.Context, r kube.SnapshotRequest, o kube.VolumeSnapshot) error {
	o.Name, o.Request, o.Ready = r.Name, r.Name, true
	s.objects = append(s.objects, o)
	s.requests = slices.DeleteFunc(s.requests, func(x kube.SnapshotRequest) bool { return x == r })
	return nil
}

func (s *shelf) Refuse(_ context.Context, r kube.SnapshotRequest, reason string) error {
	s.refused = append(s.refused, reason)
	s.requests = slices.DeleteFunc(s.requests, func(x kube.SnapshotRequest) bool { return x == r })
	return nil
}

// copyShelf are the snapshot claims of the shelf.
type copyShelf struct{ *shelf }

func (s copyShelf) List(context.Context) ([]kube.SnapshotClaim, error) {
	return slices.Clone(s.copies), nil
}

func (s copyShelf) Show(_ context.Context, c kube.SnapshotClaim) error {
	s.writes++
	c.PV, c.Complete = "", true
	s.copies = append(s.copies, c)
	return nil
}

func (s copyShelf) Withdraw(_ context.Context, c kube.SnapshotClaim) error {
	if s.users != nil {
		return s.users
	}
	s.copies = slices.DeleteFunc(s.copies, func(x kube.SnapshotClaim) bool { return x.Name == c.Name })
	return nil
}

// with returns a map with one more value; the one that is given may be shared.
func with(values map[string]string, key, value string) map[string]string {
	changed := map[string]string{key: value}
	for k, v := range values {
		if k != key {
			changed[k] = v
		}
	}
	return changed
}

// patched returns a map after a patch, as of PatchClaimAnnotations.
func patched(old map[string]string, values map[string]*string) map[string]string {
	changed := maps.Clone(old)
	if changed == nil {
		changed = map[string]string{}
	}
	for k, v := range values {
		delete(changed, k)
		if v != nil {
			changed[k] = *v
		}
	}
	return changed
}

func (s *shelf) PatchClaimAnnotations(_ context.Context, _, name string, values map[string]*string) error {
	s.writes++
	for n := range s.claims {
		c := &s.claims[n].Claim
		if c.Name != name {
			continue
		}
		c.Annotations = patched(c.Annotations, values)
	}
	return nil
}

var monday = time.Date(2018, 12, 3, 0, 0, 0, 0, time.UTC)

const (
	mondayA  = "a-20181203-000000"
	mondayB  = "b-20181203-000000"
	tuesdayA = "a-20181204-000000"
)

func TestExposerShowsEachSnapshotOfEachClaim(t *testing.T) {
	s := newShelf(t, "a", "b")
	s.backUp(monday, "ns-1", "a", "b")
	s.backUp(monday.AddDate(0, 0, 1), "ns-1", "a")
	s.look()
	s.want(mondayA, tuesdayA, mondayB)
	if o := s.objects[0]; o.Namespace != "office" || o.ClaimUID != "uid-"+o.Claim || o.Volume != "vol" || o.Created.IsZero() {
		t.Errorf("%+v", o)
	}
	if got, want := s.claims[0].Claim.Annotations[kube.BackupsAnnotation], "20181204T000000Z 20181203T000000Z"; got != want {
		t.Errorf("claim lists %q, want %q", got, want)
	}
	writes := s.writes
	if pause := s.look(); s.writes != writes || pause != exposePause {
		t.Errorf("%d writes when nothing has changed, next round after %s", s.writes-writes, pause)
	}
	s.cluster.snapshots = s.cluster.snapshots[1:] // Its time was over.
	s.look()
	s.want(tuesdayA)
	if s.log.Len() > 0 {
		t.Errorf("log: %s", &s.log)
	}
}

// TestExposerKeepsToTheTenant must not show what was backed up in an earlier
// namespace of the same name, nor what cannot be known to be the tenant's.
func TestExposerKeepsToTheTenant(t *testing.T) {
	s := newShelf(t, "a")
	s.backUp(monday, "ns-0", "a")
	s.backUp(monday.AddDate(0, 0, 1), "", "a")
	s.look()
	s.want()
	if got, listed := s.claims[0].Claim.Annotations[kube.BackupsAnnotation]; listed && got != "" {
		t.Errorf("claim lists %q", got)
	}
	s.claims[0].Claim.NamespaceUID = "" // Not known: then nothing is.
	s.look()
	s.want()
}

func TestTenantDeletesVolumeSnapshot(t *testing.T) {
	tests := map[string]struct {
		claims []string
		remove bool
		locked bool

		shown     []string
		snapshots int // On Gluster.
		pause     time.Duration
	}{
		"of a volume that is the claim's own": {claims: []string{"a"}, remove: true, pause: exposePause},
		"of an image beside another one":      {claims: []string{"a", "b"}, remove: true, shown: []string{mondayB}, snapshots: 1, pause: exposePause},
		"and the admin keeps snapshots":       {claims: []string{"a"}, snapshots: 1, pause: exposePause},
		"while a run works on the volume":     {claims: []string{"a"}, remove: true, locked: true, shown: []string{mondayA}, snapshots: 1, pause: exposeSoon},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t, tt.claims...)
			s.remove = tt.remove
			s.backUp(monday, "ns-1", tt.claims...)
			s.look()
			if tt.locked {
				lock, err := s.d.o.Catalog.Lock("backup", catalog.VolumeScope("vol"))
				if err != nil {
					t.Fatal(err)
				}
				defer lock.Release()
			}
			s.deleteObject(mondayA)
			if pause := s.look(); pause != tt.pause {
				t.Errorf("next round after %s, want %s", pause, tt.pause)
			}
			s.want(tt.shown...)
			if len(s.cluster.snapshots) != tt.snapshots {
				t.Errorf("on Gluster are %+v, want %d", s.cluster.snapshots, tt.snapshots)
			}
			if got := s.claims[0].Claim.Annotations[kube.HiddenAnnotation]; got != "20181203T000000Z" {
				t.Errorf("hidden: %q", got)
			}
			if backups, err := s.d.o.Catalog.Backups(s.claims[0].Key); err != nil || len(backups) != 1 {
				t.Errorf("backups: %v, %v", backups, err)
			}
		})
	}
}

// TestSnapshotClaims come with each snapshot of files and go with it, but stay,
// with the snapshot, under a pod that uses them.
func TestSnapshotClaims(t *testing.T) {
	s := newShelf(t, "a")
	s.exposer.o.SnapshotClaims = copyShelf{s}
	s.d.o.SnapshotUsers = func(context.Context, string) error { return s.users }
	s.api = kube.SnapshotsNone // They need no definitions.
	s.backUp(monday, "ns-1", "a")
	s.look()
	if len(s.copies) != 1 || s.copies[0].Name != mondayA || s.copies[0].Claim != "a" || s.copies[0].Snapshot != s.cluster.snapshots[0].Name {
		t.Fatalf("shown: %+v", s.copies)
	}
	writes := s.writes
	if s.look(); s.writes != writes {
		t.Errorf("%d writes when nothing has changed", s.writes-writes)
	}
	s.users = &kube.InUseError{Namespace: "office", Claim: mondayA, Pods: []string{"reader"}}
	hosts := []string{"host"}
	for name, remove := range map[string]func() error{
		"its time is over":            func() error { _, err := s.d.ExpireSnapshots(t.Context(), hosts, "vol"); return err },
		"its VolumeSnapshot is gone":  func() error { return s.d.DropSnapshot(t.Context(), hosts, "vol", s.copies[0].Snapshot) },
		"the claim itself is deleted": func() error { return s.d.DropSnapshots(t.Context(), hosts, "vol") },
	} {
		if err := remove(); len(s.cluster.snapshots) != 1 {
			t.Errorf("%s: deleted under a pod, %v", name, err)
		}
	}
	s.users = nil
	if _, err := s.d.ExpireSnapshots(t.Context(), hosts, "vol"); err != nil || len(s.cluster.snapshots) != 0 {
		t.Errorf("left are %+v, %v", s.cluster.snapshots, err)
	}
	s.look()
	if len(s.copies) != 0 {
		t.Errorf("still shown: %+v", s.copies)
	}
}

// TestDefinitionsAreInstalledLater shows then what there is, and lists backups
// before that too.
func TestDefinitionsAreInstalledLater(t *testing.T) {
	s := newShelf(t, "a")
	s.api = kube.SnapshotsNone
	s.backUp(monday, "ns-1", "a")
	if pause := s.look(); pause != exposeRetry {
		t.Errorf("next round after %s", pause)
	}
	s.want()
	if got := s.claims[0].Claim.Annotations[kube.BackupsAnnotation]; got != "20181203T000000Z" {
		t.Errorf("claim lists %q", got)
	}
	s.api = kube.SnapshotsV1
	s.exposer.round(t.Context())
	s.want(mondayA)
}

// TestOwnWithdrawalIsNoWish: what another daemon withdraws, or this one did when
// it died, must not be taken for a tenant's deletion.
func TestOwnWithdrawalIsNoWish(t *testing.T) {
	s := newShelf(t, "a")
	s.backUp(monday, "ns-1", "a")
	s.look()
	s.slow = true
	if err := s.Withdraw(t.Context(), s.objects[0]); err != nil {
		t.Fatal(err)
	}
	s.slow = false
	s.look()
	s.want(mondayA) // Shown again, since there is no reason not to.
	if len(s.cluster.snapshots) != 1 || s.claims[0].Claim.Annotations[kube.HiddenAnnotation] != "" {
		t.Errorf("on Gluster are %+v, hidden is %q", s.cluster.snapshots, s.claims[0].Claim.Annotations[kube.HiddenAnnotation])
	}
}

// TestWhileNobodyKnowsWhereClaimsAre, as after a start while Heketi is away,
// nothing is withdrawn and nothing deleted.
func TestWhileNobodyKnowsWhereClaimsAre(t *testing.T) {
	for name, forget := range map[string]func(*ClaimStatus){
		"hosts of files":     func(c *ClaimStatus) { c.Coverage, c.Hosts = NotCovered, nil },
		"volume of an image": func(c *ClaimStatus) { c.Coverage, c.Hosts, c.Volume = NotCovered, nil, "" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t, "a", "b")
			s.exposer.o.SnapshotClaims = copyShelf{s}
			s.backUp(monday, "ns-1", "a", "b")
			s.look()
			for n := range s.claims {
				forget(&s.claims[n])
			}
			s.deleteObject(mondayA) // By its tenant: it goes, what it shares stays.
			s.look()
			s.want(mondayB)
			if len(s.copies) != 2 || len(s.cluster.snapshots) != 1 {
				t.Errorf("snapshot claims %+v, on Gluster are %+v", s.copies, s.cluster.snapshots)
			}
		})
	}
}

// TestSnapshotOfTheOthersStays, also when their object is not there yet.
func TestSnapshotOfTheOthersStays(t *testing.T) {
	s := newShelf(t, "a", "b")
	s.backUp(monday, "ns-1", "a", "b")
	s.look()
	s.objects = slices.DeleteFunc(s.objects, func(o kube.VolumeSnapshot) bool { return o.Name == mondayB })
	s.deleteObject(mondayA)
	s.exposer.round(t.Context())
	if len(s.cluster.snapshots) != 1 {
		t.Error("the snapshot of the other claim's backup was deleted")
	}
	s.look()
	s.want(mondayB)
	s.deleteObject(mondayB)
	s.look()
	s.want()
	if len(s.cluster.snapshots) != 0 {
		t.Errorf("nobody wants them any more: %+v", s.cluster.snapshots)
	}
}

// TestForeignSnapshotStays: not even an object that says so deletes what is not
// this BackupDisk's.
func TestForeignSnapshotStays(t *testing.T) {
	s := newShelf(t, "a")
	s.cluster.snapshots = []gluster.Snapshot{
		{Name: "of-somebody", Active: true},
		{Name: "gb-safety", Description: s.d.description(forSafety), Active: true},
	}
	for _, snapshot := range s.cluster.snapshots {
		s.objects = append(s.objects, kube.VolumeSnapshot{
			Namespace: "office", Name: snapshot.Name, ClaimUID: "uid-a", Volume: "vol", Snapshot: snapshot.Name, Deleting: true,
		})
	}
	s.look()
	s.want()
	if len(s.cluster.snapshots) != 2 {
		t.Errorf("left are %+v", s.cluster.snapshots)
	}
}

func TestSnapshotRequests(t *testing.T) {
	s := newShelf(t, "a", "b")
	s.claims[1].Coverage, s.claims[1].Reason = Excluded, "its annotation"
	asked := monday.Add(time.Hour)
	for _, claim := range []string{"a", "b", "c"} {
		s.requests = append(s.requests, kube.SnapshotRequest{Namespace: "office", Name: "mine-" + claim, Claim: claim, Created: asked})
	}
	s.backUp(asked, "ns-1", "a") // In the very second, perhaps before.
	if pause := s.look(); pause != exposeSoon {
		t.Errorf("next round after %s", pause)
	}
	if got := strings.Join(s.refused, "; "); got != "claim b is not backed up: its annotation; there is no claim c in namespace office" {
		t.Errorf("refused: %s", got)
	}
	if len(s.demands) == 0 || s.demands[0] != "a" {
		t.Errorf("demanded: %q", s.demands)
	}
	s.backUp(asked.Add(time.Second), "ns-1", "a")
	s.look()
	s.want("a-20181203-010000", "mine-a")
	s.deleteObject("mine-a")
	s.look()
	s.want("a-20181203-010000")
	if len(s.cluster.snapshots) != 1 {
		t.Errorf("on Gluster are %+v", s.cluster.snapshots)
	}
}

func TestSnapshotRequestThatCannotBeMet(t *testing.T) {
	tests := map[string]struct {
		prepare func(*shelf)
		want    string
	}{
		"backup failed for good": {func(s *shelf) { s.claims[0].Err, s.claims[0].Tried = errBusy, monday.Add(time.Minute) }, "the backup failed: " + errBusy.Error()},
		"no snapshots are kept": {func(s *shelf) {
			s.backUp(monday.Add(time.Minute), "ns-1", "a")
			s.cluster.snapshots = nil
		}, "backup 20181203T000100Z was made, but its snapshot is not kept"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newShelf(t, "a")
			s.requests = []kube.SnapshotRequest{{Namespace: "office", Name: "mine", Claim: "a", Created: monday}}
			tt.prepare(s)
			s.look()
			if len(s.refused) != 1 || !strings.HasPrefix(s.refused[0], tt.want) {
				t.Errorf("refused: %q, want %q", s.refused, tt.want)
			}
		})
	}
}

func TestSnapshotObjectName(t *testing.T) {
	long := strings.Repeat("x", 252)
	names := map[string]bool{}
	for _, claim := range []string{"a", long + "y", long + "z", strings.Repeat("x", longestClaim)} {
		name := snapshotObjectName(claim, monday)
		if len(name) > 253 || names[name] || !strings.HasSuffix(name, "-20181203-000000") {
			t.Errorf("%d characters: %s", len(name), name)
		}
		names[name] = true
	}
}

// TestManyBackupsAreListedInPart, so that the annotation stays small.
func TestManyBackupsAreListedInPart(t *testing.T) {
	s := newShelf(t, "a")
	for n := range listed + 2 {
		s.backUp(monday.Add(time.Duration(n)*time.Hour), "ns-1", "a")
	}
	s.cluster.snapshots = nil
	s.look()
	got := s.claims[0].Claim.Annotations[kube.BackupsAnnotation]
	first := fmt.Sprint(monday.Add((listed + 1) * time.Hour).Format("20060102T150405Z"))
	if !strings.HasPrefix(got, first+" ") || !strings.HasSuffix(got, " (and 2 older)") || len(strings.Fields(got)) != listed+3 {
		t.Errorf("%s", got)
	}
}

// TestSnapshotNamesAreShortEnough for Gluster to activate them, however long the
// name of the volume is, and are not the same for two volumes.
func TestSnapshotNamesAreShortEnough(t *testing.T) {
	d := onDisk(t, &fullCluster{})
	names := map[string]bool{}
	for _, volume := range []string{"v", "vol_0123456789abcdef0123456789abcdef", strings.Repeat("v", 200) + "a", strings.Repeat("v", 200) + "b"} {
		name := d.snapshotName(volume, monday)
		if len(name) > 65 || names[name] {
			t.Errorf("%d bytes: %s", len(name), name)
		}
		names[name] = true
	}
	if name := d.snapshotName("vol_0123456789abcdef0123456789abcdef", monday); !strings.HasPrefix(name, "gb-vol_0123456789abcdef0123456789abcdef-20181203T000000Z-") {
		t.Errorf("a name of Heketi's is cut: %s", name)
	}
}
