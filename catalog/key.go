package catalog

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Key names a claim: the folder <namespace>/<claim> on the BackupDisk.
type Key struct {
	Namespace string `json:"namespace"`
	Claim     string `json:"claim"`
}

// Names as Kubernetes has them: a namespace is an RFC 1123 label, a claim an
// RFC 1123 subdomain (k8s.io/apimachinery/pkg/util/validation). They can
// neither be "..", nor begin with a dot, nor hold a slash.
var (
	namespaceName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	claimName     = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
)

// ParseKey reads "namespace/claim". The error matches ErrKey.
func ParseKey(s string) (Key, error) {
	namespace, claim, _ := strings.Cut(s, "/")
	k := Key{Namespace: namespace, Claim: claim}
	if err := k.Validate(); err != nil {
		return Key{}, fmt.Errorf("%q: %w", s, ErrKey)
	}
	return k, nil
}

// String returns "namespace/claim".
func (k Key) String() string { return k.Namespace + "/" + k.Claim }

// Validate reports a key that is not safe as a path or that Kubernetes would
// not accept. The error matches ErrKey.
func (k Key) Validate() error {
	if !validNamespace(k.Namespace) || !validClaim(k.Claim) {
		return fmt.Errorf("%q: %w", k.String(), ErrKey)
	}
	return nil
}

func validNamespace(s string) bool { return namespaceName.MatchString(s) }

func validClaim(s string) bool { return len(s) <= 253 && claimName.MatchString(s) }

// idLayout is the form of an ID: the UTC time of a backup to the second.
const idLayout = "20060102T150405Z"

// formatID returns the ID of the backup made at t, and t as the ID has it.
func formatID(t time.Time) (string, time.Time, error) {
	t = t.UTC().Truncate(time.Second)
	id := t.Format(idLayout)
	back, err := parseID(id)
	if err != nil || !back.Equal(t) {
		return "", time.Time{}, fmt.Errorf("%s: %w", t, ErrTime)
	}
	return id, t, nil
}

// parseID is strict: only what formatID writes is an ID.
func parseID(id string) (time.Time, error) {
	t, err := time.Parse(idLayout, id)
	if err != nil || t.Format(idLayout) != id {
		return time.Time{}, fmt.Errorf("%q: %w", id, ErrTime)
	}
	return t, nil
}

func isID(name string) bool {
	_, err := parseID(name)
	return err == nil
}

// Names of what is not a finished backup; an ID stands in the middle of each.
const (
	partialSuffix = ".partial"
	trashPrefix   = ".trash-"
	latestName    = "latest"
	latestPrefix  = ".latest-"
)

var randomSuffix = regexp.MustCompile(`^[0-9a-f]{8}$`)

// partialOf reports whether name, inside the folder of a claim, is that of a
// half-made backup, and of which.
func partialOf(name string) (id string, ok bool) {
	id, ok = strings.CutSuffix(name, partialSuffix)
	return id, ok && isID(id)
}

// trashName returns a new name for the backup id on its way out.
func trashName(id string) string { return trashPrefix + id + "-" + random(4) }

// isTrash reports whether name is one that trashName returned.
func isTrash(name string) bool {
	rest, ok := strings.CutPrefix(name, trashPrefix)
	id, random, _ := strings.Cut(rest, "-")
	return ok && isID(id) && randomSuffix.MatchString(random)
}

// A prefix of an ID, at least a year.
var idPrefix = regexp.MustCompile(`^[0-9]{4,8}$|^[0-9]{8}T[0-9]{0,6}$|^[0-9]{8}T[0-9]{6}Z$`)

// parseAt turns what a person writes as a time into the beginning of an ID.
func parseAt(at string) (prefix string, err error) {
	switch {
	case at == "" || at == latestName:
		return "", nil
	case idPrefix.MatchString(at):
		return at, nil
	}
	if t, err := time.Parse(time.RFC3339, at); err == nil {
		id, _, err := formatID(t)
		return id, err
	}
	if t, err := time.Parse(time.DateOnly, at); err == nil {
		return t.Format("20060102"), nil
	}
	return "", &remediedError{
		error: fmt.Errorf("%q: %w", at, ErrTime),
		remedy: "write latest, a UTC date or its beginning (20181202, 20181202T0300, 2018-12-02), " +
			"or an exact time (2018-12-02T03:00:00+01:00)",
	}
}
