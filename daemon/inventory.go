package daemon

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
	"github.com/glusterbackupd/glusterbackupd/retention"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// Coverage says whether a claim is backed up on schedule.
type Coverage string

// The kinds of coverage. Every claim has exactly one.
const (
	// Covered claims are backed up.
	Covered Coverage = "covered"
	// Excluded ones are left out by the configuration or an annotation.
	Excluded Coverage = "excluded"
	// NotCovered ones should be backed up and cannot be.
	NotCovered Coverage = "not covered"
	// Pending ones have no volume yet.
	Pending Coverage = "pending"
	// Deleting ones are on their way out.
	Deleting Coverage = "deleting"
	// Foreign ones are not on Gluster.
	Foreign Coverage = "foreign"
)

// Candidate is one claim as the schedule sees it.
type Candidate struct {
	Key      catalog.Key
	Coverage Coverage
	// Reason says who or what keeps the claim from being covered.
	Reason string
	// Volume, Hosts and Image are those of Target; empty where nobody knows.
	Volume string
	Hosts  []string
	Image  string
	// Created is when the claim was made; zero where nobody knows.
	Created   time.Time
	Schedule  schedule.Schedule
	Retention retention.Policy
	// Faults are annotations that were not understood; the defaults hold.
	Faults []string
	// Claim is what Kubernetes says; its zero value without Kubernetes.
	Claim kube.Claim
}

// Rules say which claims are covered, and how, where no annotation says
// otherwise. They are a plain value.
type Rules struct {
	// Namespaces and StorageClasses are patterns of path.Match. No pattern of
	// storage classes means all.
	Namespaces, ExcludeNamespaces         []string
	StorageClasses, ExcludeStorageClasses []string
	// Selector is a label selector as of kubectl; empty means all claims.
	Selector  string
	Schedule  schedule.Schedule
	Retention retention.Policy
}

// judge decides about a claim by what Kubernetes says of it alone. A claim that
// stays covered has no volume yet.
func (r Rules) judge(c kube.Claim) Candidate {
	candidate := Candidate{
		Key:     catalog.Key{Namespace: c.Namespace, Claim: c.Name},
		Created: c.Created, Claim: c, Image: c.BlockName, Volume: c.VolumePath,
	}
	candidate.Schedule, candidate.Retention, candidate.Faults = r.annotated(c)
	excluded, faults := r.excluded(c)
	candidate.Faults = append(candidate.Faults, faults...)
	reason, ours := covered(c)
	switch {
	case c.Kind == kube.Foreign:
		candidate.Coverage, candidate.Reason = Foreign, reason
	case c.Deleting:
		candidate.Coverage, candidate.Reason = Deleting, "the claim is being deleted"
	case excluded != "":
		candidate.Coverage, candidate.Reason = Excluded, excluded
	case c.Kind == kube.Pending:
		candidate.Coverage, candidate.Reason = Pending, reason
	case !ours:
		candidate.Coverage, candidate.Reason = NotCovered, reason
	default:
		candidate.Coverage = Covered
	}
	return candidate
}

// annotated returns the schedule and retention of a claim: its own annotation,
// else its namespace's, else the rules'. What cannot be understood is a fault,
// and the next one holds.
func (r Rules) annotated(c kube.Claim) (s schedule.Schedule, p retention.Policy, faults []string) {
	s, p = r.Schedule, r.Retention
	for _, a := range annotationsOf(c) {
		if text := a.values[kube.ScheduleAnnotation]; text != "" {
			own, err := schedule.Parse(text, r.Schedule.Zone())
			if err == nil {
				s = own
			} else {
				faults = append(faults, a.fault(kube.ScheduleAnnotation, err))
			}
		}
		if text := a.values[kube.RetentionAnnotation]; text != "" {
			own, err := retention.ParsePolicy(text, r.Retention)
			if err == nil {
				p = own
			} else {
				faults = append(faults, a.fault(kube.RetentionAnnotation, err))
			}
		}
	}
	return s, p, faults
}

// excluded returns what leaves the claim out, or "".
func (r Rules) excluded(c kube.Claim) (reason string, faults []string) {
	by := ""
	for _, a := range annotationsOf(c) {
		text := a.values[kube.ExcludeAnnotation]
		if text == "" {
			continue
		}
		yes, err := strconv.ParseBool(text)
		switch {
		case err != nil:
			faults = append(faults, a.fault(kube.ExcludeAnnotation, fmt.Errorf("want \"true\" or \"false\", not %q", text)))
		case yes:
			by = fmt.Sprintf("annotation %s of the %s", kube.ExcludeAnnotation, a.of)
		default:
			by = ""
		}
	}
	return cmp.Or(by, r.filtered(c)), faults
}

// filtered returns the key of the configuration that leaves the claim out.
func (r Rules) filtered(c kube.Claim) string {
	switch {
	case !matches(r.Namespaces, c.Namespace):
		return "[claims] namespaces, which does not name " + c.Namespace
	case matches(r.ExcludeNamespaces, c.Namespace):
		return "[claims] exclude_namespaces, which names " + c.Namespace
	case len(r.StorageClasses) > 0 && !matches(r.StorageClasses, c.StorageClass):
		return "[claims] storage_classes, which does not name " + c.StorageClass
	case matches(r.ExcludeStorageClasses, c.StorageClass):
		return "[claims] exclude_storage_classes, which names " + c.StorageClass
	}
	selector, err := labels.Parse(r.Selector)
	if err == nil && !selector.Matches(labels.Set(c.Labels)) {
		return "[claims] selector, which its labels do not match"
	}
	return ""
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := path.Match(p, name)
		return ok && err == nil
	})
}

// annotations are those of one object, the namespace's before the claim's, so
// that the last word is the claim's.
type annotations struct {
	of     string
	values map[string]string
}

func annotationsOf(c kube.Claim) []annotations {
	return []annotations{{"namespace", c.NamespaceAnnotations}, {"claim", c.Annotations}}
}

func (a annotations) fault(name string, err error) string {
	return fmt.Sprintf("annotation %s of the %s is not used: %v", name, a.of, err)
}

// Inventory knows every claim that there is. Its methods are called by one
// goroutine at a time.
type Inventory interface {
	// Candidates judges every claim. Claims that cannot be looked up now are
	// NotCovered with the reason; an error means that nothing is known.
	Candidates(ctx context.Context, r Rules) ([]Candidate, error)
}

// FixedInventory are the volumes that the configuration lists. The rules about
// namespaces, classes and labels do not apply to them.
type FixedInventory []Target

// Candidates returns the list.
func (f FixedInventory) Candidates(_ context.Context, r Rules) ([]Candidate, error) {
	var list []Candidate
	for _, t := range f {
		list = append(list, Candidate{
			Key: t.Key, Coverage: Covered, Volume: t.Volume, Hosts: t.Hosts, Image: t.Image,
			Schedule: r.Schedule, Retention: r.Retention,
		})
	}
	slices.SortFunc(list, byKey)
	return list, nil
}

func byKey(a, b Candidate) int { return strings.Compare(a.Key.String(), b.Key.String()) }
