package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gateline/central"
)

// newCentralRebuild writes a lost or damaged ledger anew from its copy.
func newCentralRebuild(env environment) *cobra.Command {
	var config, yes string
	c := &cobra.Command{
		Use:   "rebuild",
		Short: "Write the ledger of a stopped centre anew from its copy",
		Long: "For a centre whose ledger was lost, damaged or restored from an older backup, and\n" +
			"that therefore refuses to start: replaces the stream LEDGER by one with the messages\n" +
			"of the centre's own copy, reads it back and compares. Feed and shards are removed;\n" +
			"the centre writes them anew under a new epoch, and boxes load all shards by\n" +
			"themselves. Broken off, it goes on where it was when it is called again; until it is\n" +
			"done no centre opens the ledger. It refuses where the ledger holds more than the copy.\n" +
			"What to do before and after: docs/OPERATIONS.md.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := stoppedCentre(cmd, env, config, checkRebuildDir)
			if err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr(), true)
			plan, err := central.Rebuild(cmd.Context(), central.RebuildConfig{
				Config:   cfg,
				Progress: func(phase string, done, total uint64) { bar.show(phase, int(done), int(total)) },
				Confirm: func(p central.RebuildPlan) error {
					bar.end()
					return confirmNamed(cmd, yes, describeRebuild(p), cfg.Dir)
				},
			})
			bar.end()
			if err != nil {
				return againLater(err)
			}
			printRebuilt(cmd.OutOrStdout(), plan)
			fmt.Fprintln(cmd.ErrOrStderr(), "Next: start the centre, then see with gateline fleet that every box comes.")
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&config, "config", defaultCentralConfig, "configuration of the centre")
	f.StringVar(&yes, "yes", "", "the centre's directory, in the place of typing it when asked")
	return c
}

// stoppedCentre reads the configuration of a centre whose directory a command is about
// to work on.
func stoppedCentre(cmd *cobra.Command, env environment, config string, check func(dir string, uid int) error) (central.Config, error) {
	file, err := loadCentral(env, config)
	if err != nil {
		return central.Config{}, err
	}
	cfg, err := file.Config()
	if err != nil {
		return central.Config{}, err
	}
	cfg.Log = newLog(cmd.ErrOrStderr())
	return cfg, check(cfg.Dir, os.Geteuid())
}

// checkRebuildDir is checkCentreDir for a directory of which the copy is what counts.
func checkRebuildDir(dir string, uid int) error {
	if _, err := os.Stat(filepath.Join(dir, central.CopyFolder)); err != nil {
		return fmt.Errorf("the ledger's copy: %w; it is in the directory that the configuration names as dir", err)
	}
	return checkCentreDir(dir, uid)
}

func describeRebuild(p central.RebuildPlan) string {
	switch {
	case p.Agree:
		return fmt.Sprintf("The ledger is what its copy is, up to message %d. Feed and shards are removed, and begin anew under a new epoch", p.Copy)
	case p.Gone:
		return fmt.Sprintf("There is no ledger. It is written anew from its copy, up to message %d, and feed and shards begin anew under a new epoch", p.Copy)
	case p.Unfinished:
		return fmt.Sprintf("The ledger was begun anew up to message %d. It is completed from its copy, up to message %d, and feed and shards begin anew under a new epoch", p.Ledger, p.Copy)
	}
	return fmt.Sprintf("The ledger, which ends at message %d, is removed and written anew from its copy, up to message %d, and feed and shards begin anew under a new epoch", p.Ledger, p.Copy)
}

// confirmNamed asks a person to type the name of what is changed. A script must have
// said it with --yes.
func confirmNamed(cmd *cobra.Command, yes, what, name string) error {
	if yes != "" && filepath.Clean(yes) != filepath.Clean(name) {
		return errUsage{fmt.Errorf("--yes names %s, and the centre's directory is %s; nothing has changed", yes, name)}
	}
	if yes == "" && !inputOf(cmd).terminal() {
		return errUsage{fmt.Errorf("%s; say --yes %s if that is meant", what, name)}
	}
	return confirm(cmd, yes != "", what, name)
}

func printRebuilt(out io.Writer, p central.RebuildPlan) {
	how := "written anew from its copy and compared"
	if p.Agree {
		how = "compared with its copy, the same"
	}
	fmt.Fprintf(out, "ledger   up to message %d, %s\nfeed     begins anew, under a new epoch, when the centre is started\n", p.Copy, how)
}
