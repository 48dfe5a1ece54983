//go:build tools

// Package heketi names the commands that the lab builds from this module.
package heketi

import (
	_ "github.com/heketi/heketi"
	_ "github.com/heketi/heketi/client/cli/go"
)
