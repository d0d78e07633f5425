package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"gateline/central"
)

// newCentralMove moves a centre that has run on one machine to servers of the
// operator's.
func newCentralMove(env environment) *cobra.Command {
	var config, from string
	var newEpoch bool
	c := &cobra.Command{
		Use:   "move",
		Short: "Move a stopped centre from its directory to servers of your own",
		Long: "Copies ledger, feed, shards and reports of a centre that is stopped to the servers\n" +
			"that [nats] names in the configuration, reads them back and compares. Broken off,\n" +
			"it goes on where it was when it is called again; until it is done no centre opens\n" +
			"what is on the servers, and the old one may still be started. Afterwards the\n" +
			"directory is kept as it is, and no centre starts on it.\n" +
			"What to do before and after: docs/OPERATIONS.md.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := loadCentral(env, config)
			if err != nil {
				return err
			}
			servers, err := file.ReadServers()
			if err != nil {
				return err
			}
			if servers == nil {
				return fmt.Errorf("%s names no servers to move to; give the configuration that the centre is to have there, with [nats]", config)
			}
			if err := checkCentreDir(from, os.Geteuid()); err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr(), true)
			moved, err := central.Move(cmd.Context(), central.MoveConfig{
				Dir: from, Servers: servers, NewEpoch: newEpoch, Log: newLog(cmd.ErrOrStderr()),
				Progress: func(phase string, done, total uint64) { bar.show(phase, int(done), int(total)) },
			})
			bar.end()
			if err != nil {
				return againLater(err)
			}
			printMoved(cmd.OutOrStdout(), moved, servers, from)
			fmt.Fprintf(cmd.ErrOrStderr(), "Next: start the centre with this configuration, then see with gateline fleet that every box comes.\n")
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&config, "config", defaultCentralConfig, "configuration that the centre is to have on the servers")
	f.StringVar(&from, "from", central.DefaultFileConfig().Dir, "directory of the centre that is moved")
	f.BoolVar(&newEpoch, "new-epoch", false, "move the ledger alone: the feed is written anew, and boxes load all shards again")
	return c
}

// againLater adds to what servers cannot serve now that it can be run again.
func againLater(err error) error {
	if errors.Is(err, central.ErrServers) {
		return fmt.Errorf("%w; when they can, run this again", err)
	}
	return err
}

// checkCentreDir refuses the directory of another user, to whom what root's server
// writes there would be a fault.
func checkCentreDir(dir string, uid int) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("directory of the centre: %w; give the one that its configuration named as dir with --from", err)
	}
	if st, known := info.Sys().(*syscall.Stat_t); known && uid == 0 && st.Uid != 0 {
		return fmt.Errorf("directory of the centre: %s belongs to user %d and is not opened as root, whose files that user could not write; run this as that user, as docs/OPERATIONS.md shows", dir, st.Uid)
	}
	return nil
}

func printMoved(out io.Writer, m central.Moved, to *central.Servers, from string) {
	how := "moved and compared"
	if m.Already {
		how = "moved before, and there"
	}
	fmt.Fprintf(out, "%s: %s\n  ledger   %d messages\n", how, strings.Join(to.URLs, ","), m.Ledger)
	if m.FeedLast == 0 {
		fmt.Fprint(out, "  feed     begins anew, under a new epoch, when the centre is started\n")
	} else {
		fmt.Fprintf(out, "  feed     entries %d to %d of epoch %016x\n  shards   %d messages\n", m.FeedFirst, m.FeedLast, m.Epoch, m.Shards)
	}
	fmt.Fprintf(out, "  reports  %d messages\n%s is no centre's directory any more; keep it as a backup of this moment\n", m.Reports, from)
}
