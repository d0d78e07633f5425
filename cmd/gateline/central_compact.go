package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
)

// newCentralCompact takes what has ended out of the ledger.
func newCentralCompact(env environment) *cobra.Command {
	var config, yes string
	var newEpoch bool
	c := &cobra.Command{
		Use:   "compact",
		Short: "Delete what has ended from the ledger of a stopped centre",
		Long: "Replaces ledger and copy of a centre that is stopped by a snapshot of what they say\n" +
			"now: bindings that have ended, statuses that were replaced and persons who were\n" +
			"forgotten are in neither any more. The snapshot is read back and compared before\n" +
			"anything is removed. The feed goes on, boxes notice nothing; what it has told stays\n" +
			"in it for as long as feed.keep says, unless --new-epoch removes it at once, and all\n" +
			"boxes load anew. Broken off, it goes on where it was when it is called again; until\n" +
			"it is done no centre opens the ledger. The signed receipt is kept in the centre's\n" +
			"directory, folder receipts. When and how often: docs/OPERATIONS.md.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := stoppedCentre(cmd, env, config, checkCentreDir)
			if err != nil {
				return err
			}
			bar := newBar(cmd.ErrOrStderr(), true)
			receipt, err := central.Compact(cmd.Context(), central.CompactConfig{
				Config: cfg, NewEpoch: newEpoch,
				Progress: func(phase string, done, total uint64) { bar.show(phase, int(done), int(total)) },
				Confirm: func(p central.CompactPlan) error {
					bar.end()
					return confirmNamed(cmd, yes, describeCompact(p, newEpoch), cfg.Dir)
				},
			})
			bar.end()
			if err != nil {
				return againLater(err)
			}
			printReceipt(cmd.OutOrStdout(), receipt)
			fmt.Fprintf(cmd.ErrOrStderr(), "Next: start the centre. Backups of before still have what was deleted: remove those that need not be kept.\n")
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&config, "config", defaultCentralConfig, "configuration of the centre")
	f.StringVar(&yes, "yes", "", "the centre's directory, in the place of typing it when asked")
	f.BoolVar(&newEpoch, "new-epoch", false, "remove feed and shards too: they begin anew, and boxes load all shards again")
	return c
}

func describeCompact(p central.CompactPlan, newEpoch bool) string {
	what := fmt.Sprintf("The ledger, messages %d to %d, is replaced by a snapshot of what is so: %d credentials of %d persons. All else in it is deleted for good", p.First, p.Last, p.Credentials, p.Persons)
	if p.Unfinished {
		what = fmt.Sprintf("A compaction that was broken off is ended: the ledger becomes the snapshot of %d credentials of %d persons", p.Credentials, p.Persons)
	}
	if newEpoch {
		what += ", and feed and shards begin anew under a new epoch"
	}
	return what
}

func printReceipt(out io.Writer, r central.Receipt) {
	feed := "keeps what it has told of it for " + r.FeedKeep
	switch r.FeedKeep {
	case "":
		feed = "keeps all that it has told of it: feed.keep is 0s"
	case "0s":
		feed = "was removed, with the shards"
	}
	fmt.Fprintf(out, "destroyed   ledger messages %d to %d\nleft        messages %d to %d: %d credentials of %d persons\nfeed        %s\nat          %s\nsigned by   %s\n",
		r.Destroyed.First, r.Destroyed.Last, r.Kept.First, r.Kept.Last, r.Credentials, r.Persons, feed, r.At.Format(time.RFC3339), r.Key)
}

// newCentralReceipt reads a receipt of newCentralCompact.
func newCentralReceipt() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "receipt FILE",
		Short: "Check the signature of a receipt and show it",
		Long: "Reads a receipt of gateline central compact and checks that it is as it was signed.\n" +
			"Whether the key is the centre's is yours to see: gateline feed-key shows the keys of\n" +
			"a centre.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			data, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read the receipt: %w; give the file in the centre's folder %s", err, central.ReceiptsFolder)
			}
			r, err := central.ReadReceipt(data)
			if err != nil {
				return fmt.Errorf("%s: %w", strconv.Quote(args[0]), err)
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
			}
			printReceipt(cmd.OutOrStdout(), r)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
