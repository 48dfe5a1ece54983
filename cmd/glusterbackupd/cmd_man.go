package main

import (
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newManCommand is for those who make packages, and hidden from others.
func newManCommand(_ *globals) *cobra.Command {
	var date string
	cmd := &cobra.Command{
		Use:    "man --date YYYY-MM-DD DIR",
		Short:  "Write the man pages of all commands into a folder",
		Hidden: true,
		Args:   args(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			at, err := time.Parse(time.DateOnly, date)
			if err != nil {
				return usagef("--date %q: want the date of the pages, like 2018-12-02", date)
			}
			return writeManPages(cmd.Root(), at, args[0])
		},
	}
	cmd.Flags().StringVar(&date, "date", "", "date of the pages; today's would make each build another one")
	return cmd
}

func writeManPages(root *cobra.Command, date time.Time, dir string) error {
	root.DisableAutoGenTag = true // It is the page's date once more.
	forManPages(root)
	header := &doc.GenManHeader{Section: "1", Date: &date, Source: "glusterbackupd " + version, Manual: "glusterbackupd"}
	err := doc.GenManTreeFromOpts(root, doc.GenManTreeOptions{Header: header, Path: dir, CommandSeparator: "-"})
	if err != nil {
		return fmt.Errorf("man pages: %w", err)
	}
	return nil
}

// An indented list behind a line, like the exit codes.
var indented = regexp.MustCompile(`(?m)((?:^  \S.*\n?)+)`)

// forManPages sets the indented lists of all help texts apart, as Markdown
// wants it for lines that are not to be filled.
func forManPages(cmd *cobra.Command) {
	cmd.Long = indented.ReplaceAllString(cmd.Long, "\n```\n$1\n```\n")
	for _, c := range cmd.Commands() {
		forManPages(c)
	}
}
