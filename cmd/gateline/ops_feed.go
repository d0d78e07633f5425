package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/gateway"
)

func newFeedRotate(o *ops) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "rotate-key KEY",
		Short: "Let the next key sign the feed, and retire the present one",
		Long: "Lets KEY, a public key out of the centre's feed key file, sign the feed from the\n" +
			"next entry on. The present key announces it and is retired, for good: boxes follow\n" +
			"by themselves, those that are offline too, and refuse whatever the retired key signs\n" +
			"afterwards. Make the key with 'gateline feed-key add' and start the centre again\n" +
			"before; keep a copy of the file. Asks to be confirmed.",
		Args: cobra.ExactArgs(1),
		RunE: o.run(func(cmd *cobra.Command, args []string) (answer, error) {
			key, err := gateway.ParseFeedKey(args[0])
			if err != nil {
				return answer{}, errUsage{err}
			}
			what := fmt.Sprintf("Key %v takes over and the present key is retired for good", key.ID())
			if err := confirm(cmd, yes, what, key.ID().String()); err != nil {
				return answer{}, err
			}
			a, err := o.command(cmd, func(ctx context.Context, c *central.Client) (central.Done, error) {
				return c.RotateFeedKey(ctx, key)
			})
			a.say("rotated: key %v signs from the next entry on; the one before may be taken out of the feed key file",
				"nothing to do: key %v signs already", key.ID())
			return a, err
		}),
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	return c
}
