package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// reloads reads the configuration again at each SIGHUP.
func (s *server) reloads(ctx context.Context, hangup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
			s.reloadAndTell(ctx)
		}
	}
}

// reloadAndTell reloads, and tells everybody what came of it.
func (s *server) reloadAndTell(ctx context.Context) {
	ready := s.service.Status().Ready // Before that, READY would be too early.
	if ready {
		s.said(s.manager.Reloading())
	}
	remark, err := s.reload(ctx)
	s.metrics.Reloaded(err == nil)
	if err != nil {
		s.app.log.Error("configuration was not reloaded, the old one stays", "error", err, "remedy", remedyOf(err))
		remark = "bad configuration was not loaded, the old one stays: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	s.mu.Lock()
	s.remark = remark
	s.mu.Unlock()
	s.showStatus()
	if ready {
		s.said(s.manager.Ready())
	}
}

// reload puts the configuration into effect, as far as it can without a restart;
// remark says what needs one.
func (s *server) reload(ctx context.Context) (remark string, err error) {
	c, err := s.g.load()
	if err != nil {
		return "", err
	}
	settings, err := settingsOf(c)
	if err != nil {
		return "", err
	}
	// What the daemon is connected to stays as it is.
	frozen := *c
	old := s.app.cfg
	frozen.Destination, frozen.Kubernetes, frozen.Heketi = old.Destination, old.Kubernetes, old.Heketi
	frozen.Gluster, frozen.Copy, frozen.Volumes = old.Gluster, old.Copy, old.Volumes
	d, err := s.app.newDaemon(&frozen)
	if err != nil {
		return "", err
	}
	if err := s.setNotifier(c); err != nil {
		return "", err
	}
	// The inventory that Reload asks for reads the new configuration too.
	s.worker.Store(d)
	s.mu.Lock()
	s.cfg = c
	s.mu.Unlock()
	if err := s.service.Reload(ctx, settings); err != nil {
		return "", err // The service ends.
	}
	s.app.log.Info("configuration reloaded", "path", filepath.Clean(s.g.config))
	if sections := needRestart(old, c); len(sections) > 0 {
		s.app.log.Warn("some changes take effect after a restart", "sections", strings.Join(sections, ", "))
		remark = "changes that take effect after a restart only: " + strings.Join(sections, ", ")
	}
	return remark, nil
}
