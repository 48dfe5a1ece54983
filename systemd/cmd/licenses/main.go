// Command licenses writes THIRD-PARTY-LICENSES: the licence texts of every Go
// module that is linked into a program, and of Go itself. It fails on a module
// without a licence, and on a licence that is not known to allow what the
// packages do: to pass the program on as a whole under Apache-2.0.
//
// It reads the modules' own files, in the module cache; it cannot know what
// their authors copied from elsewhere without saying so.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

func main() {
	program := flag.String("program", "./cmd/glusterbackupd", "package of the program")
	var arches []string
	flag.Func("arch", "an architecture; may be repeated", func(arch string) error {
		arches = append(arches, arch)
		return nil
	})
	flag.Parse()
	if err := run(context.Background(), *program, arches, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, program string, arches []string, out io.Writer) error {
	modules, err := linked(ctx, program, arches)
	if err != nil {
		return err
	}
	if err := checkAll(modules); err != nil {
		return err
	}
	return write(modules, out)
}

// write lists the modules, and then each text once with the modules that have
// it.
func write(modules []*module, out io.Writer) error {
	w := bufio.NewWriter(out)
	fmt.Fprint(w, "glusterbackupd contains the following Go modules. Their licences are named here; the texts follow.\n\n")
	users := map[string][]string{}
	for _, m := range modules {
		fmt.Fprintf(w, "%-75s %s\n", m, strings.Join(m.licences, ", "))
		for _, f := range m.files {
			users[f.text] = append(users[f.text], fmt.Sprintf("%s: %s", m, f.name))
		}
	}
	texts := slices.SortedFunc(maps.Keys(users), func(a, b string) int {
		return strings.Compare(users[a][0], users[b][0])
	})
	for _, text := range texts {
		fmt.Fprintf(w, "\n%s\n", strings.Repeat("=", 80))
		for _, user := range users[text] {
			fmt.Fprintln(w, user)
		}
		fmt.Fprintf(w, "%s\n\n%s\n", strings.Repeat("-", 80), strings.TrimSpace(text))
	}
	return w.Flush()
}
