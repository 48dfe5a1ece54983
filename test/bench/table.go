package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// table collects lines for the documentation.
type table struct {
	rows  []row
	notes []string
}

type row struct {
	name, tool string
	median     result
	runs       []result
}

func (t *table) add(name, tool string, results []result) {
	sorted := slices.Clone(results)
	slices.SortFunc(sorted, func(a, b result) int { return int(a.wall - b.wall) })
	t.rows = append(t.rows, row{name, tool, sorted[len(sorted)/2], results})
}

func (t *table) note(format string, args ...any) {
	t.notes = append(t.notes, fmt.Sprintf(format, args...))
}

// write writes what there is so far.
func (t *table) write(o options) error {
	text, err := t.markdown(o)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return err
	}
	return os.WriteFile(o.out, []byte(text), 0o644)
}

// markdown compares each tool with the first of its case.
func (t *table) markdown(o options) (string, error) {
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Benchmarks

Written by `+"`make bench`"+`. Real Gluster volumes on loop devices, of one brick where no replicas are named, with client-io-threads off as those with replicas have it; client, server and disk on one machine with %d CPUs; caches cold before each run; %d repetitions in turns, the median by time. CPU and memory are those of the tool and its children, without Gluster's own processes; memory below 17 MiB is that of the bench itself, which a process starts with. Only the ratios within one table mean something on another machine.

glusterbackupd and find read a volume as glusterbackupd mounts a snapshot: nothing is asked for twice, files of a volume with one brick are not opened on it, images pass by the page cache. The other tools read it through a mount of the live volume with ACLs, but for the lines that say "on the snapshot's mount"; restores are written through such a mount, too.

Run with `+"`-files %d -many %d -delayed %d -image %d -large %d -repeat %d`"+`. Load of the machine at the end: %s.

| Case | Tool | Seconds | CPU s | Peak RSS MiB | Times as fast |
|---|---|---:|---:|---:|---:|
`, runtime.NumCPU(), o.repeat,
		o.files, o.many, o.delayed, o.image, o.large, o.repeat, strings.Join(strings.Fields(string(load))[:3], " "))
	var first row
	for _, r := range t.rows {
		name := ""
		if r.name != first.name {
			first, name = r, r.name
		}
		fmt.Fprintf(&b, "| %s | %s | %.2f | %.2f | %d | %.2f |\n", name, r.tool,
			r.median.wall.Seconds(), r.median.cpu.Seconds(), r.median.rss>>20, ratio(first.median.wall, r.median.wall))
	}
	for _, n := range t.notes {
		fmt.Fprintf(&b, "\n%s\n", n)
	}
	return b.String(), nil
}

func ratio(a, b time.Duration) float64 { return a.Seconds() / b.Seconds() }
