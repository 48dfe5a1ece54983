package config

import (
	"regexp"
	"strings"
)

// Volume is one Gluster volume, or one block image on it, that is backed up
// where there is no Kubernetes to ask.
type Volume struct {
	// Volume is the name of the Gluster volume. Required.
	Volume string `toml:"volume" example:"vol_3f1c9a"`
	// Claim is the name under which the backups are kept, a namespace and a
	// name after the rules of Kubernetes. Required.
	Claim string `toml:"claim" example:"office/documents"`
	// Image is the name of a block image of gluster-block on the volume. Empty
	// means the files of the volume.
	Image string `toml:"image" example:"blockvol_8d0e77"`
}

var (
	// Gluster (glusterd) and gluster-block allow the same characters.
	volumeForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,253}$`)
	// A namespace is a DNS label, the name of a claim a DNS subdomain (RFC 1123).
	namespaceForm = regexp.MustCompile(`^` + dnsLabel + `$`)
	classForm     = regexp.MustCompile(`^` + dnsLabel + `(\.` + dnsLabel + `)*$`)
	claimForm     = regexp.MustCompile(`^` + dnsLabel + `/` + dnsLabel + `(\.` + dnsLabel + `)*$`)
)

const (
	dnsLabel     = `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`
	longestClaim = 63 + 1 + 253
)

// validateVolumes checks each entry, and that no two collide.
func validateVolumes(r *report, volumes []Volume) {
	claims, sources, images := map[string]bool{}, map[Volume]bool{}, map[string]bool{}
	for i, v := range volumes {
		key := element("volumes", i)
		if r.has(key) {
			continue // Not a section at all.
		}
		v.validate(r, key)
		source := Volume{Volume: v.Volume, Image: v.Image}
		switch {
		case v.Volume == "" || v.Claim == "":
		case claims[v.Claim]:
			r.add(key+".claim", "is used by an earlier entry: %s", v.Claim)
		case sources[source]:
			r.add(key+".volume", "is listed by an earlier entry: %s", strings.TrimSpace(v.Volume+" "+v.Image))
		case isMixed(images, v):
			r.add(key+".image", "volume %s is listed with an image and without one", v.Volume)
		}
		claims[v.Claim], sources[source], images[v.Volume] = true, true, v.Image != ""
	}
}

// isMixed reports whether the volume was listed before as the other kind.
func isMixed(images map[string]bool, v Volume) bool {
	isBlock, listed := images[v.Volume]
	return listed && isBlock != (v.Image != "")
}

func (v Volume) validate(r *report, key string) {
	r.name(key+".volume", v.Volume, volumeForm, `the name of a Gluster volume like "vol_3f1c9a"`)
	r.name(key+".claim", v.Claim, claimForm, `a claim like "namespace/name"`)
	if len(v.Claim) > longestClaim {
		r.add(key+".claim", "is longer than %d characters", longestClaim)
	}
	if v.Image != "" {
		r.name(key+".image", v.Image, volumeForm, `the name of a block image like "blockvol_8d0e77"`)
	}
}
