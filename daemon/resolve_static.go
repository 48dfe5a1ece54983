package daemon

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

// Static resolves claims from a fixed list, for Gluster without Kubernetes and
// Heketi.
type Static struct{ targets []Target }

// NewStatic returns a Resolver that knows exactly these targets. They are
// Unwatched.
func NewStatic(targets []Target) *Static {
	targets = slices.Clone(targets)
	for i := range targets {
		targets[i].Unwatched = true
	}
	return &Static{targets}
}

// Targets returns the list.
func (s *Static) Targets(context.Context) ([]Target, []Uncovered, error) { return s.targets, nil, nil }

// Target returns the listed claim of that name.
func (s *Static) Target(_ context.Context, namespace, name string) (Target, error) {
	key := catalog.Key{Namespace: namespace, Claim: name}
	for _, t := range s.targets {
		if t.Key == key {
			return t, nil
		}
	}
	return Target{}, &UnknownError{Name: key.String(), Have: s.names()}
}

// Image returns the listed image of that name.
func (s *Static) Image(_ context.Context, name string) (Target, error) {
	for _, t := range s.targets {
		if t.Block() && t.Image == name {
			return t, nil
		}
	}
	return Target{}, &UnknownError{Name: name, Have: s.names()}
}

// Users returns no pods: without Kubernetes there are none to ask for.
func (s *Static) Users(context.Context, Target) ([]kube.Pod, error) { return nil, nil }

func (s *Static) names() []string {
	var names []string
	for _, t := range s.targets {
		names = append(names, t.Key.String())
	}
	return names
}

// UnknownError says that the configuration lists no such claim or image.
type UnknownError struct {
	Name string
	Have []string
}

// Error names the missing one.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("%s is not among the [[volumes]] of the configuration", e.Name)
}

// Is makes the error one of ErrUnknownClaim.
func (e *UnknownError) Is(target error) bool { return target == ErrUnknownClaim }

// Remedy lists what is configured.
func (e *UnknownError) Remedy() string {
	return "add it to [[volumes]], or use one of: " + strings.Join(e.Have, ", ")
}
