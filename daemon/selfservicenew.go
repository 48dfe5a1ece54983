package daemon

import (
	"context"
	"fmt"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// wishOf returns what is wished for, and what was written about the last wish. A
// claim that waits for its volume can only wish to be filled.
func wishOf(c kube.Claim) (wish, note string) {
	wish, note = c.Annotations[kube.RestoreAnnotation], c.Annotations[kube.RestoreStatusAnnotation]
	from := c.Annotations[kube.RestoreFromAnnotation]
	switch {
	case from == "" || wish != "" && c.Kind != kube.Pending:
	case c.Kind == kube.Pending, note == "", strings.HasPrefix(note, subject(from)+": "):
		wish = from
	default:
		note = "" // It was bound long ago, and the note is about a later wish.
	}
	return wish, note
}

// fillsNew says whether a wish is the one to be filled from another claim.
func fillsNew(c kube.Claim, wish string) bool {
	return c.Annotations[kube.RestoreFromAnnotation] == wish && (c.Kind == kube.Pending || c.Annotations[kube.RestoreAnnotation] != wish)
}

// fillNew gives a claim that waits for its volume one that is filled already, from
// a backup of another claim: CLAIM@BACKUP, or NAMESPACE/CLAIM@BACKUP. It is bound
// when everything is there, so that no pod can use it before.
func (s *SelfService) fillNew(ctx context.Context, c kube.Claim, wish string) (Restored, error) {
	from, at, ok := strings.Cut(wish, "@")
	key := catalog.Key{Namespace: c.Namespace, Claim: from}
	if namespace, claim, other := strings.Cut(from, "/"); other {
		key = catalog.Key{Namespace: namespace, Claim: claim}
	}
	if !ok || at == "" || key.Validate() != nil {
		return Restored{}, &FromWishError{wish}
	}
	if c.Kind != kube.Pending {
		return Restored{}, &BoundError{Claim: c}
	}
	owner, err := s.ownerOf(ctx, key, c)
	if err != nil {
		return Restored{}, err
	}
	r := s.o.Restores()
	b, err := r.TenantBackup(owner, at)
	if err != nil {
		return Restored{}, err
	}
	return r.RestoreNew(ctx, NewRequest{
		Key: b.Key, At: b.ID, Into: catalog.Key{Namespace: c.Namespace, Claim: c.Name}, Waiting: c.UID, Size: c.Size, Class: c.StorageClass,
		Confirm: func(p Plan) error {
			owner, err := s.ownerOf(ctx, key, c) // The backup was read meanwhile, for hours perhaps.
			if err != nil {
				return err
			}
			return s.confirm(ctx, c, owner, wish, p)
		},
	})
}

// ownerOf returns whose backups are asked for, if c may have them. Where it may
// not, nothing is told of what there is, not even whether the namespace exists.
func (s *SelfService) ownerOf(ctx context.Context, k catalog.Key, c kube.Claim) (kube.Claim, error) {
	owner := kube.Claim{Namespace: k.Namespace, Name: k.Claim, NamespaceUID: c.NamespaceUID}
	if k.Namespace == c.Namespace {
		return owner, nil
	}
	uid, annotations, err := s.o.Claims.Namespace(ctx, k.Namespace)
	if err != nil {
		return owner, err
	}
	for name := range strings.SplitSeq(annotations[kube.RestoreToAnnotation], ",") {
		if uid != "" && strings.TrimSpace(name) == c.Namespace {
			owner.NamespaceUID = uid
			return owner, nil
		}
	}
	return owner, &NotAllowedError{From: k.Namespace, To: c.Namespace}
}

// NotAllowedError says that a namespace does not give its backups to another one.
type NotAllowedError struct{ From, To string }

// Error names both.
func (e *NotAllowedError) Error() string {
	return fmt.Sprintf("namespace %s does not allow claims of namespace %s to be filled from its backups", e.From, e.To)
}

// Remedy says who can allow it.
func (e *NotAllowedError) Remedy() string {
	return fmt.Sprintf("ask an admin of the cluster for: kubectl annotate namespace %s %s=%s", e.From, kube.RestoreToAnnotation, e.To)
}

// FromWishError says that a wish to be filled is not understood.
type FromWishError struct{ Wish string }

// Error repeats the wish.
func (e *FromWishError) Error() string {
	return fmt.Sprintf("%.200q is neither CLAIM@BACKUP nor NAMESPACE/CLAIM@BACKUP", e.Wish)
}

// Remedy says what is understood.
func (e *FromWishError) Remedy() string {
	return "name a claim of this namespace and one of its backups, as in uploads@20181202 or uploads@latest"
}

// BoundError says that a claim cannot be filled before somebody uses it.
type BoundError struct{ Claim kube.Claim }

// Error names claim and volume.
func (e *BoundError) Error() string {
	return fmt.Sprintf("claim %s/%s has a volume already (PersistentVolume %s), so that pods may use it", e.Claim.Namespace, e.Claim.Name, e.Claim.PV)
}

// Remedy says how it can be done.
func (e *BoundError) Remedy() string {
	return "make a new claim with a StorageClass whose provisioner is " + kube.RestoreProvisioner + ", or restore into this one with " + kube.RestoreAnnotation
}
