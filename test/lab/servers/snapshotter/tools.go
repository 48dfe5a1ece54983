//go:build tools

// Package snapshotter names the command that is built from this module.
package snapshotter

import _ "github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller"
