package main

import (
	"reflect"
	"time"

	"github.com/glusterbackupd/glusterbackupd/config"
	"github.com/glusterbackupd/glusterbackupd/daemon"
	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// settingsOf returns what the configuration says about schedules and limits.
func settingsOf(c *config.Config) (daemon.Settings, error) {
	policy, err := policyOf(c)
	if err != nil {
		return daemon.Settings{}, err
	}
	s, err := schedule.Parse(c.Backup.Schedule, policy.Location)
	if err != nil {
		return daemon.Settings{}, err
	}
	return daemon.Settings{
		Rules: daemon.Rules{
			Namespaces: c.Claims.Namespaces, ExcludeNamespaces: c.Claims.ExcludeNamespaces,
			StorageClasses: c.Claims.StorageClasses, ExcludeStorageClasses: c.Claims.ExcludeStorageClasses,
			Selector: c.Claims.Selector, Schedule: s, Retention: policy,
		},
		Spread: time.Duration(c.Backup.Spread), FirstBackup: time.Duration(c.Backup.FirstBackup),
		Parallel: c.Backup.Parallel, PerHost: c.Backup.ParallelPerHost,
		Retries: c.Backup.Retries, Timeout: time.Duration(c.Backup.Timeout),
	}, nil
}

// needRestart names the sections that differ and only take effect after a
// restart.
func needRestart(old, now *config.Config) (sections []string) {
	for _, s := range []struct {
		name string
		same bool
	}{
		{"[destination]", old.Destination == now.Destination},
		{"[kubernetes]", reflect.DeepEqual(old.Kubernetes, now.Kubernetes)},
		{"[heketi]", reflect.DeepEqual(old.Heketi, now.Heketi)},
		{"[gluster]", reflect.DeepEqual(old.Gluster, now.Gluster)},
		{"[copy]", reflect.DeepEqual(old.Copy, now.Copy)},
		{"[[volumes]]", reflect.DeepEqual(old.Volumes, now.Volumes)},
		{"[metrics]", old.Metrics == now.Metrics},
		{"[limits] pool_check", old.Limits.PoolCheck == now.Limits.PoolCheck},
		{"[log]", old.Log == now.Log},
	} {
		if !s.same {
			sections = append(sections, s.name)
		}
	}
	return sections
}
