package main

import (
	"context"
	"errors"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// runVerifySource compares one backup with the snapshot that it was made from.
func runVerifySource(ctx context.Context, g *globals, name, at string) (err error) {
	key, err := parseKey(name)
	if err != nil {
		return err
	}
	p := newProgress(g.err)
	a, err := openApp(g, hooks{observe: p.observe})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	if at == "" {
		at = "latest"
	}
	b, err := a.catalog.Find(key, at)
	if err != nil {
		return err
	}
	row := verifyOutput{Claim: b.Key.String(), ID: b.ID, Files: b.Summary.Files, Bytes: b.Summary.Bytes}
	start := time.Now()
	err = a.daemon.VerifySource(ctx, b)
	p.done()
	row.took = time.Since(start)
	row.TookSeconds = row.took.Seconds()
	if err != nil && !errors.Is(err, catalog.ErrDamaged) {
		return err
	}
	return g.printVerified([]verifyOutput{row.judge(err)})
}
