//go:build tools

// Package glusterd2 names the command that the lab builds from this module.
package glusterd2

import _ "github.com/gluster/glusterd2/glusterd2"
