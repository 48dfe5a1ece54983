package config

import (
	"path"

	"k8s.io/apimachinery/pkg/labels"
)

// Claims says which claims of Kubernetes the daemon backs up. A claim that is
// left out is reported as excluded, with the key that did it. The annotations
// of namespaces and claims decide further (docs/configuration.md).
type Claims struct {
	// Namespaces are the namespaces whose claims are backed up. In a name, *
	// stands for any characters.
	Namespaces []string `toml:"namespaces" example:"shop media-*"`
	// ExcludeNamespaces are namespaces whose claims are not backed up, also when
	// namespaces names them.
	ExcludeNamespaces []string `toml:"exclude_namespaces" example:"test-*"`
	// StorageClasses are the storage classes whose claims are backed up. Empty
	// means all.
	StorageClasses []string `toml:"storage_classes" example:"glusterfs-*"`
	// ExcludeStorageClasses are storage classes whose claims are not backed up.
	ExcludeStorageClasses []string `toml:"exclude_storage_classes" example:"scratch"`
	// Selector limits the claims by their labels, in the form of kubectl
	// --selector. Empty means all.
	Selector string `toml:"selector" example:"tier!=cache,backup notin (never)"`
}

func (c *Claims) setDefaults() {
	*c = Claims{Namespaces: []string{"*"}, ExcludeNamespaces: []string{}, StorageClasses: []string{}, ExcludeStorageClasses: []string{}}
}

func (c *Claims) validate(r *report) {
	if len(c.Namespaces) == 0 {
		r.add("claims.namespaces", `must not be empty: ["*"] means all`)
	}
	r.patterns("claims.namespaces", c.Namespaces)
	r.patterns("claims.exclude_namespaces", c.ExcludeNamespaces)
	r.patterns("claims.storage_classes", c.StorageClasses)
	r.patterns("claims.exclude_storage_classes", c.ExcludeStorageClasses)
	if _, err := labels.Parse(c.Selector); err != nil {
		r.add("claims.selector", "%v", err)
	}
}

// patterns notes what is not a pattern of path.Match.
func (r *report) patterns(key string, list []string) {
	for i, p := range list {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			r.add(element(key, i), "want a name in which * stands for any characters, not %q", p)
		}
	}
}
