package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/glusterbackupd/glusterbackupd/config"
)

// defaultConfig is where the packages put the configuration.
const defaultConfig = "/etc/glusterbackupd/config.toml"

// stdio are the streams of one invocation, so that tests can run it in-process.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// interactive says whether somebody can answer a question.
func (s stdio) interactive() bool { return isTerminal(s.in) && isTerminal(s.err) }

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// globals are the flags that every command has.
type globals struct {
	stdio
	config  string
	output  string
	verbose bool
	// command is set by run, for those who meet its locks.
	command string
	// beforeQuestion clears the progress bar off the line of a question.
	beforeQuestion func()
}

// json says whether results are to be printed as JSON.
func (g *globals) json() bool { return g.output == "json" }

// load reads the configuration.
func (g *globals) load() (*config.Config, error) { return config.Load(g.config) }

// parse reads the configuration without looking at the files that it names. What
// needs the BackupDisk only works on a host that has none of them, such as a
// new one after the cluster was lost.
func (g *globals) parse() (*config.Config, error) {
	text, err := os.ReadFile(g.config)
	if err != nil {
		return g.load() // Its error for a missing file is the better one.
	}
	return config.Parse(g.config, text)
}

// logger returns the logger that the configuration asks for. A person at a
// terminal gets a progress bar and only sees warnings, unless --verbose.
func (g *globals) logger(c config.Log) *slog.Logger {
	level := slog.LevelInfo
	_ = level.UnmarshalText([]byte(c.Level)) // The configuration was validated.
	if isTerminal(g.err) {
		level = max(level, slog.LevelWarn)
	}
	if g.verbose {
		level = slog.LevelDebug
	}
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(g.err, o))
	}
	return slog.New(slog.NewTextHandler(g.err, o))
}

// execute runs one command line and returns its exit code.
func execute(ctx context.Context, args []string, std stdio) int {
	g := &globals{stdio: std}
	root := newRootCommand(g)
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	err := root.ExecuteContext(ctx)
	if err != nil {
		report(std.err, err)
	}
	return int(codeOf(ctx, err))
}

func newRootCommand(g *globals) *cobra.Command {
	root := &cobra.Command{
		Use:   "glusterbackupd",
		Short: "Backup and restore of Gluster volumes under OpenShift and Kubernetes",
		Long: `glusterbackupd backs up Gluster volumes and gluster-block images: it snapshots
the Gluster volume behind a claim, mounts the snapshot, copies it to the
BackupDisk as plain files, and puts data back.

` + exitCodeHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          args(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags := root.PersistentFlags()
	flags.StringVar(&g.config, "config", defaultConfig, "configuration file")
	flags.StringVarP(&g.output, "output", "o", "table", "output format: table or json")
	flags.BoolVarP(&g.verbose, "verbose", "v", false, "log every step")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if g.output != "table" && g.output != "json" {
			return usagef("--output %s: use table or json", g.output)
		}
		return nil
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%v", err) })
	root.AddCommand(
		newRunCommand(g), newInitCommand(g), newBackupCommand(g), newListCommand(g), newStatusCommand(g),
		newRestoreCommand(g), newRestoreBlockCommand(g),
		newPruneCommand(g), newProtectCommand(g), newUnprotectCommand(g), newVerifyCommand(g),
		newCheckCommand(g), newConfigCommand(g), newVersionCommand(g), newManCommand(g),
	)
	return root
}

// args turns a cobra rule for positional arguments into a usage error.
func args(rule cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, list []string) error {
		if err := rule(cmd, list); err != nil {
			return usagef("%s: %v", cmd.UseLine(), err)
		}
		return nil
	}
}

// usageError is a fault in how the command was called.
type usageError struct{ message string }

func (e *usageError) Error() string { return e.message }

// Remedy says where the right call is described.
func (e *usageError) Remedy() string {
	return "glusterbackupd --help, or --help after the command, shows how it is called"
}

func usagef(format string, a ...any) error { return &usageError{fmt.Sprintf(format, a...)} }
