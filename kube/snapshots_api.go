package kube

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SnapshotAPI is an API of VolumeSnapshots, as group and version.
type SnapshotAPI string

// The APIs that there have been.
const (
	// SnapshotsV1 is that of CSI, whose CRDs come with many clusters and can be
	// installed in any since Kubernetes 1.20.
	SnapshotsV1 SnapshotAPI = "snapshot.storage.k8s.io/v1"
	// SnapshotsLegacy is that of external-storage, as in OpenShift 3.
	SnapshotsLegacy SnapshotAPI = "volumesnapshot.external-storage.k8s.io/v1"
	// SnapshotsNone is the lack of both.
	SnapshotsNone SnapshotAPI = "none"
)

// apiPause is how long the lack of a snapshot API is taken for granted.
const apiPause = 30 * time.Second

func (a SnapshotAPI) group() string {
	group, _, _ := strings.Cut(string(a), "/")
	return group
}

// API returns which API is used. With [SnapshotOptions.API] that is a constant.
// Else it takes up to two requests when called first, none as long as the API
// that was found is there, and, when there was none, two every 30 seconds at
// most. An API that is installed later is found by that, the one in use is not
// changed for a better one that is installed beside it.
func (s *Snapshots) API(ctx context.Context) (SnapshotAPI, error) {
	if s.o.API != "" {
		return s.o.API, nil
	}
	s.mu.Lock()
	api, asked := s.api, s.asked
	s.mu.Unlock()
	if api != "" && (api != SnapshotsNone || time.Since(asked) < apiPause) {
		return api, nil
	}
	found := SnapshotsNone
	for _, candidate := range []SnapshotAPI{SnapshotsV1, SnapshotsLegacy} {
		ok, err := s.probe(ctx, candidate)
		if err != nil {
			return "", err
		}
		if ok {
			found = candidate
			break
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.api, s.asked = found, time.Now()
	return found, nil
}

// form returns how the API in use says things; nil when there is none.
func (s *Snapshots) form(ctx context.Context) (snapshotForm, error) {
	api, err := s.API(ctx)
	if err != nil {
		return nil, err
	}
	switch api {
	case SnapshotsV1:
		return modernForm{s.o}, nil
	case SnapshotsLegacy:
		return legacyForm{s.o}, nil
	case SnapshotsNone:
	}
	return nil, nil
}

// need is form for what cannot be done without an API.
func (s *Snapshots) need(ctx context.Context, r request) (snapshotForm, error) {
	form, err := s.form(ctx)
	if err == nil && form == nil {
		e := s.client.about(r, nil)
		s.client.noSnapshotAPI(e)
		err = e
	}
	return form, err
}

// served asks the API server whether it serves both resources of an API.
func (s *Snapshots) served(ctx context.Context, api SnapshotAPI) (bool, error) {
	limited, cancel := s.client.limit(ctx)
	defer cancel()
	r := request{op: "look for", resource: snapshotResource, group: api.group()}
	body, err := s.client.root.Get().AbsPath("/apis/" + string(api)).Do(limited).Raw()
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, s.client.fail(ctx, limited, r, err)
	}
	var list metav1.APIResourceList
	if err := json.Unmarshal(body, &list); err != nil {
		return false, s.client.damaged(r, err)
	}
	found := make(map[string]bool)
	for _, resource := range list.APIResources {
		found[resource.Name] = true
	}
	contents := modernContents
	if api == SnapshotsLegacy {
		contents = legacyContents
	}
	return found[snapshotResource] && found[contents], nil
}

// snapshotGroup returns the group when a resource as in [Error.Resource] is one
// of a snapshot API, else "".
func snapshotGroup(resource string) string {
	_, group, _ := strings.Cut(resource, ".")
	if group == SnapshotsV1.group() || group == SnapshotsLegacy.group() {
		return group
	}
	return ""
}

// classifySnapshot fills in what an answer about snapshots means if that
// differs from answers about others.
func (c *Client) classifySnapshot(e *Error, err error) bool {
	switch {
	case apierrors.IsNotFound(err) && notServed(err):
		c.noSnapshotAPI(e)
	case apierrors.IsNotFound(err) && missingKind(err) == "namespaces", terminating(err):
		e.kind, e.cause = ErrNoNamespace, nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		e.kind, e.temporary = errConflict, true
	default:
		return false
	}
	return true
}

// terminating tells whether nothing is made since the namespace is being
// deleted, which API servers as old as SnapshotsLegacy say in words only.
func terminating(err error) bool {
	return apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) ||
		apierrors.IsForbidden(err) && strings.HasSuffix(err.Error(), "because it is being terminated")
}

func (c *Client) noSnapshotAPI(e *Error) {
	e.kind, e.cause, e.temporary = ErrNoSnapshotAPI, nil, false
	e.remedy = "Install the CustomResourceDefinitions of VolumeSnapshots, or turn snapshots in Kubernetes off: " + c.kubectl() + " api-resources."
}

// snapshotRights names what the identity needs for one of the APIs.
func snapshotRights(resource string) string {
	const verbs = "the rights get, list, watch, create, patch and delete for "
	if snapshotGroup(resource) == SnapshotsLegacy.group() {
		return verbs + snapshotResource + " and " + legacyContents + " of " + SnapshotsLegacy.group() + " in the whole cluster"
	}
	return verbs + snapshotResource + " and " + modernContents + ", and patch for their status, of " + SnapshotsV1.group() + " in the whole cluster"
}
