package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
)

func newPolicyPurge(o *ops) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "purge [INSTANT]",
		Short: "Erase everything, here and at every station, once the policy has ended",
		Long: "Erases everything of the registry: bindings, persons, statuses, lists, what waits and\n" +
			"what requests were answered with; and tells every box to erase its records, so that\n" +
			"nobody can read them any more. The policy documents stay. It cannot be taken back.\n\n" +
			"The centre refuses as long as the policy has not ended: the document in force has to\n" +
			"be in mode off, for every station that it names too, or its sunset has to have passed,\n" +
			"and no later document may be in another mode. With INSTANT, from which a document\n" +
			"holds, it is refused too if another one is in force.\n\n" +
			"'gateline fleet receipts' shows which stations have erased theirs.\n\n" +
			"Asks to be confirmed: type how many credentials are erased. A script says --yes.",
		Example: "  gateline ops policy purge\n  gateline fleet receipts --wait 24h",
		Args:    cobra.MaximumNArgs(1),
		RunE: o.run(func(cmd *cobra.Command, args []string) (answer, error) {
			var policy time.Time
			if len(args) > 0 {
				var err error
				if policy, err = parseInstant(args[0]); err != nil {
					return answer{}, err
				}
			}
			const what = "Everything of the registry, and every record of every box, is erased for good"
			if !yes && !inputOf(cmd).terminal() {
				return answer{}, confirm(cmd, false, what, "")
			}
			if !yes {
				bound, err := o.credentials(cmd)
				if err != nil {
					return answer{}, err
				}
				if err := confirm(cmd, false, what+": "+counted(bound, "credential"), fmt.Sprintf("erase %d", bound)); err != nil {
					return answer{}, err
				}
			}
			a, err := o.command(cmd, func(ctx context.Context, c *central.Client) (central.Done, error) { return c.Purge(ctx, policy) })
			a.say("erased; 'gateline fleet receipts' shows which stations have erased their records", "nothing to do: the registry is empty")
			return a, err
		}),
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	return c
}

// credentials asks how many credentials are bound.
func (o *ops) credentials(cmd *cobra.Command) (n int, err error) {
	err = o.ask(cmd, askLimit, func(ctx context.Context, c *central.Client) error {
		s, _, err := c.Stats(ctx)
		n = s.Credentials
		return err
	})
	return n, err
}
