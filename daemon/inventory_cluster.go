package daemon

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/glusterbackupd/glusterbackupd/kube"
)

// claimLister is what the inventory asks of Kubernetes. *kube.Cache and
// *kube.Client implement it.
type claimLister interface {
	Claims(ctx context.Context, namespace string) ([]kube.Claim, error)
}

// ClusterInventory are the claims of Kubernetes, with the volumes that Heketi
// knows behind them. A claim is looked up in Heketi once: neither its volume
// nor that volume's name ever changes.
type ClusterInventory struct {
	claims  claimLister
	cluster *Cluster
	known   map[identity]Target
}

// identity tells a claim from a later one of the same name.
type identity struct{ uid, pv string }

// NewClusterInventory returns an inventory of all claims, which looks up volumes
// as resolver does.
func NewClusterInventory(claims claimLister, resolver *Cluster) *ClusterInventory {
	return &ClusterInventory{claims: claims, cluster: resolver, known: map[identity]Target{}}
}

// lookups is how many questions Heketi is asked at a time.
const lookups = 4

// Candidates judges all claims and looks up those that may be covered.
func (i *ClusterInventory) Candidates(ctx context.Context, r Rules) ([]Candidate, error) {
	claims, err := i.claims.Claims(ctx, "")
	if err != nil {
		return nil, err
	}
	list := make([]Candidate, 0, len(claims))
	for _, c := range claims {
		list = append(list, r.judge(c))
	}
	i.forget(claims)
	i.lookUp(ctx, list)
	slices.SortFunc(list, byKey)
	return list, ctx.Err()
}

// forget drops what is known of claims that are gone.
func (i *ClusterInventory) forget(claims []kube.Claim) {
	exist := make(map[identity]bool, len(claims))
	for _, c := range claims {
		exist[identity{c.UID, c.PV}] = true
	}
	for id := range i.known {
		if !exist[id] {
			delete(i.known, id)
		}
	}
}

// lookUp fills in the volumes. One that cannot be looked up makes its claim not
// covered; after an error of the whole server the others are not asked for.
func (i *ClusterInventory) lookUp(ctx context.Context, list []Candidate) {
	var mu sync.Mutex // Guards known and down.
	var down error
	var workers errgroup.Group
	workers.SetLimit(lookups)
	for n := range list {
		c := &list[n]
		if c.Coverage != Covered && c.Coverage != Deleting {
			continue
		}
		workers.Go(func() error {
			id := identity{c.Claim.UID, c.Claim.PV}
			mu.Lock()
			t, known := i.known[id]
			err := down
			mu.Unlock()
			if known {
				c.located(t, nil)
				return nil
			}
			if err == nil {
				t, err = i.cluster.locate(ctx, c.Claim)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				i.known[id] = t
			} else if wholeServer(err) {
				down = err
			}
			c.located(t, err)
			return nil
		})
	}
	_ = workers.Wait() // The workers return no errors; each candidate has its own.
}

// located fills in where the claim's data stands, or why nobody knows.
func (c *Candidate) located(t Target, err error) {
	if err == nil {
		c.Volume, c.Hosts, c.Image = t.Volume, t.Hosts, t.Image
		return
	}
	if c.Coverage == Covered {
		c.Coverage, c.Reason = NotCovered, err.Error()
	}
}
