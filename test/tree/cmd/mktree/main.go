// Command mktree fills a folder with everything a file system can hold, or
// changes a part of it again. It is package tree for scripts.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/glusterbackupd/glusterbackupd/test/tree"
)

func main() {
	var o tree.Options
	flag.Uint64Var(&o.Seed, "seed", 0, "chooses contents, names and times")
	flag.IntVar(&o.Files, "files", 200, "number of small files")
	flag.Int64Var(&o.BigFile, "big", 4<<20, "size of the big file in bytes")
	flag.BoolVar(&o.NoACL, "no-acl", false, "make no POSIX ACLs")
	fraction := flag.Float64("mutate", 0, "change this fraction of an existing tree instead (0 to 1)")
	flag.Usage = func() {
		_, _ = fmt.Fprintf(flag.CommandLine.Output(), "Usage: mktree [flags] DIR\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), o, *fraction); err != nil {
		fmt.Fprintln(os.Stderr, "mktree:", err)
		os.Exit(1)
	}
}

func run(dir string, o tree.Options, fraction float64) error {
	if fraction != 0 {
		return tree.Mutate(dir, o.Seed, fraction)
	}
	return tree.Generate(dir, o)
}
