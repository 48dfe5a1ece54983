package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
)

// SnapshotOptions configure [Client.Snapshots].
type SnapshotOptions struct {
	// API that is used; "" is SnapshotsV1 when it is served, else
	// SnapshotsLegacy when that is, else SnapshotsNone for the time being.
	API SnapshotAPI
	// Repository is the id of the BackupDisk's repository; required, and the
	// value of a label. Objects of other repositories are not listed and not
	// changed.
	Repository string
	// Class is the VolumeSnapshotClass by which tenants ask for snapshots in
	// SnapshotsV1, whose driver must be [SnapshotDriver]; "" means that they
	// cannot. In SnapshotsLegacy, which has no classes, every VolumeSnapshot
	// asks unless Class is "".
	Class string
	// Delete makes the deletionPolicy of the contents Delete, else Retain. It is
	// shown to readers and to the common snapshot-controller; [Snapshots] itself
	// treats both alike: it deletes nothing in Gluster, and tells every deletion
	// by Deleting.
	Delete bool
	// Logger gets what does not stand in the way of a method, at levels Debug
	// and Warn; nil discards it.
	Logger *slog.Logger
}

// VolumeSnapshot is one snapshot of one claim as tenants see it.
type VolumeSnapshot struct {
	// Namespace and Name of the object; the caller chooses the name.
	Namespace, Name string
	// Claim and ClaimUID are what it is a snapshot of.
	Claim, ClaimUID string
	// Volume and Snapshot are Gluster's names.
	Volume, Snapshot string
	// Backup is the id of the backup on the BackupDisk, such as
	// 20181202T000000Z, and Schedule the cron expression that it was made by;
	// "" when there is none.
	Backup, Schedule string
	// Created is when the Gluster snapshot was made.
	Created time.Time
	// Size in bytes that a restore needs.
	Size int64
	// Block is set for the image of a blockhost volume.
	Block bool

	// Ready tells whether the object says that the snapshot can be used. Like
	// the fields below it is what the API server says, and ignored by Show.
	Ready bool
	// Deleting tells that somebody asked to delete the VolumeSnapshot, its
	// content or its namespace. The objects stay until [Snapshots.Withdraw].
	Deleting bool
	// Withdrawn tells that Withdraw has begun and not ended: the deletion is
	// ours, by this process or another one, and only has to be finished.
	Withdrawn bool
	// Request is the name of the tenant's object when this answers a request,
	// else "".
	Request string
}

// Snapshots shows Gluster snapshots to tenants as VolumeSnapshot objects, and
// reads the requests that tenants make by such objects. It is safe for
// concurrent use, and one process needs one: it remembers since when it has
// seen what.
//
// Each snapshot has two objects: the VolumeSnapshot in the tenant's namespace,
// and a cluster-scoped content (VolumeSnapshotContent or VolumeSnapshotData).
// Tenants can write all of the first and nothing of the second. So which
// VolumeSnapshot is ours, and what for, is told by the contents only: they
// name the VolumeSnapshot with its UID. Labels and annotations of a
// VolumeSnapshot are for readers and never read here.
//
// Both objects get the finalizer [SnapshotFinalizer], whatever the deletion
// policy is, so that a deletion is seen although the daemon was away or no
// snapshot-controller runs. A tenant that removes it from the VolumeSnapshot
// gets rid of that object, nothing else: the content stays and is listed, and
// the next Show makes the object anew.
//
// It makes no Gluster snapshots and deletes none, and it makes no
// VolumeSnapshotClass.
type Snapshots struct {
	client  *Client
	o       SnapshotOptions
	changed chan struct{}
	probe   func(ctx context.Context, api SnapshotAPI) (bool, error)

	mu      sync.Mutex
	api     SnapshotAPI             // Last answer; "" when there is none.
	asked   time.Time               // When it came.
	seen    map[types.UID]time.Time // Objects that are not ready, since when.
	handled map[types.UID]time.Time // Requests that were answered or refused lately.
	freed   map[string]time.Time    // Claims that were looked at lately, by namespace/name.
	live    *snapshotFeeds          // Nil while no Watch is complete.
}

// Snapshots returns what shows snapshots; ErrName for options that cannot
// work. It does not ask the API server.
func (c *Client) Snapshots(o SnapshotOptions) (*Snapshots, error) {
	r := request{op: "show", resource: snapshotResource}
	switch {
	case o.API != "" && o.API != SnapshotsV1 && o.API != SnapshotsLegacy && o.API != SnapshotsNone:
		return nil, c.malformed(r, fmt.Sprintf("API %.100q is none of %s, %s, %s", o.API, SnapshotsV1, SnapshotsLegacy, SnapshotsNone))
	case o.Repository == "" || len(validation.IsValidLabelValue(o.Repository)) != 0:
		return nil, c.malformed(r, fmt.Sprintf("repository %.100q cannot be the value of a label", o.Repository))
	case o.Class != "" && len(validation.IsDNS1123Subdomain(o.Class)) != 0:
		return nil, c.malformed(r, fmt.Sprintf("class %.100q cannot be the name of a VolumeSnapshotClass", o.Class))
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Snapshots{
		client: c, o: o, changed: make(chan struct{}, 1),
		seen: make(map[types.UID]time.Time), handled: make(map[types.UID]time.Time), freed: make(map[string]time.Time),
	}
	s.probe = s.served
	return s, nil
}

// check refuses what cannot be shown before anything is sent.
func (s *Snapshots) check(op string, v VolumeSnapshot) error {
	r := request{op: op, resource: snapshotResource, namespace: v.Namespace, name: v.Name}
	if err := s.client.checkNames(r); err != nil {
		return err
	}
	for field, text := range map[string]string{"volume": v.Volume, "snapshot": v.Snapshot, "UID of the claim": v.ClaimUID} {
		if text == "" || len(text) > maxHandle || strings.ContainsAny(text, "/\n") {
			return s.client.malformed(r, fmt.Sprintf("%.100q cannot be a %s", text, field))
		}
	}
	if len(v.Backup)+len(v.Schedule) > maxMessage {
		return s.client.malformed(r, "the backup's id or the schedule is too long")
	}
	if v.Created.IsZero() || v.Size < 0 {
		return s.client.malformed(r, "the time of the snapshot or its size is missing")
	}
	return nil
}

// List returns the snapshots that are shown, by namespace and name; nil, nil
// when the API server has no snapshot API. Each content that is ours is one,
// also when its VolumeSnapshot is missing: that one is not Ready, and Show
// makes it. It takes nothing from what tenants can write but whether their
// object is ready or being deleted.
//
// It answers from memory while [Snapshots.Watch] is complete, and else by one
// list each of our contents and of all VolumeSnapshots. For a VolumeSnapshot
// that is being deleted and whose content is gone, which somebody else must
// have forced, it removes our finalizer, by two requests each.
func (s *Snapshots) List(ctx context.Context) ([]VolumeSnapshot, error) {
	state, err := s.state(ctx)
	if err != nil || state.form == nil {
		return nil, err
	}
	best := make(map[snapshotKey]VolumeSnapshot)
	for _, content := range state.contents {
		if _, refused := content.GetAnnotations()[refusedAnnotation]; refused {
			continue
		}
		v, object := s.join(state, content)
		key := snapshotKey{v.Namespace, v.Name, v.Snapshot, v.ClaimUID}
		if _, known := best[key]; !known || object != nil {
			best[key] = v // Of two contents for one snapshot, after a crash, the one in use.
		}
	}
	s.letGo(ctx, state)
	var list []VolumeSnapshot
	for _, v := range best {
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b VolumeSnapshot) int {
		return strings.Compare(a.Namespace+"/"+a.Name+"/"+a.Snapshot, b.Namespace+"/"+b.Name+"/"+b.Snapshot)
	})
	return list, nil
}

// snapshotKey tells snapshots apart.
type snapshotKey struct{ namespace, name, snapshot, claim string }

// join makes a snapshot of its two objects, and returns the VolumeSnapshot; nil
// when the content's is missing.
func (s *Snapshots) join(state snapshotState, content *unstructured.Unstructured) (VolumeSnapshot, *unstructured.Unstructured) {
	v := described(content)
	ref := state.form.ref(content)
	object := state.snapshots[ref.namespace+"/"+ref.name]
	v.Deleting = deleting(content)
	if object == nil || !state.form.bound(content, object) {
		return v, nil
	}
	v.Deleting = v.Deleting || object.GetDeletionTimestamp() != nil
	v.Ready = state.form.ready(object)
	return v, object
}

// snapshotState is what a list of both resources says.
type snapshotState struct {
	form      snapshotForm
	contents  []*unstructured.Unstructured          // Ours.
	snapshots map[string]*unstructured.Unstructured // All, by namespace/name.
}

// state returns what there is; without a form when there is no API.
func (s *Snapshots) state(ctx context.Context) (snapshotState, error) {
	form, err := s.form(ctx)
	if err != nil || form == nil {
		return snapshotState{}, err
	}
	if live := s.complete(form); live != nil {
		return live.state(), nil
	}
	state := snapshotState{form: form, snapshots: make(map[string]*unstructured.Unstructured)}
	// First the contents, so that what they name exists when it is listed.
	state.contents, err = s.contents(ctx, form, "")
	if err != nil {
		return state, s.learn(err)
	}
	r := request{op: "list", resource: snapshotResource, group: form.group()}
	err = s.client.list(ctx, r, func(u *unstructured.Unstructured) error {
		u.SetManagedFields(nil)
		state.snapshots[u.GetNamespace()+"/"+u.GetName()] = u
		return nil
	})
	return state, s.learn(err)
}

// contents lists our contents from the server; with an object only those of
// the VolumeSnapshot of that [objectLabel].
func (s *Snapshots) contents(ctx context.Context, form snapshotForm, object string) ([]*unstructured.Unstructured, error) {
	var list []*unstructured.Unstructured
	r := request{op: "list", resource: form.contents(), group: form.group()}
	err := s.client.listLabeled(ctx, r, s.selector(object), func(u *unstructured.Unstructured) error {
		if form.ours(u) {
			u.SetManagedFields(nil)
			list = append(list, u)
		}
		return nil
	})
	return list, err
}

// selector of our contents.
func (s *Snapshots) selector(object string) string {
	text := managedLabel + "=" + managedBy + "," + RepositoryLabel + "=" + s.o.Repository
	if object != "" {
		text += "," + objectLabel + "=" + object
	}
	return text
}

// Changed returns the channel that gets a value after VolumeSnapshots of
// anybody or our contents were made, deleted or began to be deleted, after a
// VolumeSnapshot began or ended to be a request, and when a Show that was waiting
// for the snapshot-controller should be repeated: one value for all of that
// since the last one was received. What this process itself writes counts,
// too. It is for one reader, is never closed, and except for the last case
// silent unless [Snapshots.Watch] runs.
func (s *Snapshots) Changed() <-chan struct{} { return s.changed }

func (s *Snapshots) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// learn takes down that an API is gone, and returns err.
func (s *Snapshots) learn(err error) error {
	if errors.Is(err, ErrNoSnapshotAPI) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.api, s.asked = "", time.Time{}
	}
	return err
}
