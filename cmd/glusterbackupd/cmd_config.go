package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newConfigCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Check or show the configuration",
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		&cobra.Command{
			Use:   "check",
			Short: "Report every fault of the configuration file with its line",
			Args:  args(cobra.NoArgs),
			RunE:  func(*cobra.Command, []string) error { return runConfigCheck(g) },
		},
		&cobra.Command{
			Use:   "show",
			Short: "Print the effective configuration, defaults included",
			Args:  args(cobra.NoArgs),
			RunE:  func(*cobra.Command, []string) error { return runConfigShow(g) },
		},
	)
	return cmd
}

func runConfigCheck(g *globals) error {
	if _, err := g.load(); err != nil {
		return err
	}
	if g.json() {
		return printJSON(g.out, map[string]any{"file": g.config, "valid": true})
	}
	_, err := fmt.Fprintf(g.out, "%s is valid\n", g.config)
	return err
}

func runConfigShow(g *globals) error {
	c, err := g.load()
	if err != nil {
		return err
	}
	if g.json() {
		return printJSON(g.out, c)
	}
	text, err := c.TOML()
	if err != nil {
		return err
	}
	_, err = g.out.Write(text)
	return err
}
