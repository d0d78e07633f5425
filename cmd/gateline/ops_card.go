package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"gateline/central"
)

const aboutCredentials = `A credential is tunion: and 19 digits, chip: and 16 hexadecimal digits, ride: with
the 4-digit issuer and up to 20 digits, or the bare 19 digits printed on a card.
What stands on a command line can be seen by others on this machine and stays in
the shell's history: --credential - reads it from standard input.`

const credentialUsage = "the credential, or - to read it from standard input"

func newCardBind(o *ops) *cobra.Command {
	var flag, person string
	c := &cobra.Command{
		Use:   "bind --credential C --person P",
		Short: "Bind a credential to a person",
		Long:  "Binds a credential to a person (an opaque id). It may be repeated without harm.\n\n" + aboutCredentials,
		Args:  cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if err := need(cmd, "credential", "person"); err != nil {
				return answer{}, err
			}
			text, err := credential(cmd, flag)
			if err != nil {
				return answer{}, err
			}
			a, err := o.command(cmd, func(ctx context.Context, c *central.Client) (central.Done, error) {
				return c.Bind(ctx, text, person)
			})
			a.say("bound", "nothing to do: it is bound to this person already")
			return a, err
		}),
	}
	c.Flags().StringVar(&flag, "credential", "", credentialUsage)
	c.Flags().StringVar(&person, "person", "", "opaque id of the person")
	return c
}

func newCardUnbind(o *ops) *cobra.Command {
	var flag, person string
	c := &cobra.Command{
		Use:   "unbind --credential C [--person P]",
		Short: "End the binding of a credential",
		Long:  "Ends the binding of a credential; with --person only if it is bound to that person.\n\n" + aboutCredentials,
		Args:  cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if err := need(cmd, "credential"); err != nil {
				return answer{}, err
			}
			if cmd.Flags().Changed("person") && person == "" {
				return answer{}, errUsage{fmt.Errorf("--person is empty: leave it out to unbind whoever the credential is bound to")}
			}
			text, err := credential(cmd, flag)
			if err != nil {
				return answer{}, err
			}
			a, err := o.command(cmd, func(ctx context.Context, c *central.Client) (central.Done, error) {
				return c.Unbind(ctx, text, person)
			})
			a.say("unbound", "nothing to do: it is not bound")
			return a, err
		}),
	}
	c.Flags().StringVar(&flag, "credential", "", credentialUsage)
	c.Flags().StringVar(&person, "person", "", "only if it is bound to this person")
	return c
}

func newPersonReport(o *ops) *cobra.Command {
	var person string
	var s central.Status
	c := &cobra.Command{
		Use:   "report --person P --class CLASS [--anchor DAY [--minute N]] [--hold-through DAY]",
		Short: "Report the status of a person",
		Long: "Reports the status of a person. It replaces the whole status that was there, for\n" +
			"all of the person's credentials at once. Days are in Asia/Shanghai.",
		Example: "  gateline ops person report --person p-1 --class normal --anchor 2022-05-28",
		Args:    cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if err := need(cmd, "person", "class"); err != nil {
				return answer{}, err
			}
			a, err := o.command(cmd, func(ctx context.Context, c *central.Client) (central.Done, error) {
				return c.Report(ctx, person, s)
			})
			a.say("reported", "nothing to do: the status is the same already")
			return a, err
		}),
	}
	f := c.Flags()
	f.StringVar(&person, "person", "", "opaque id of the person")
	f.StringVar(&s.Class, "class", "", "normal, popup, yellow or red")
	f.StringVar(&s.Anchor, "anchor", "", "day of the test, such as 2022-05-28; none = no test on record")
	f.IntVar(&s.Minute, "minute", 0, "minute of that day at which the sample was taken, 0 to 1439")
	f.StringVar(&s.HoldThrough, "hold-through", "", "last day on which a pending result keeps the status valid")
	completeWith(c, "class", "normal", "popup", "yellow", "red")
	return c
}

// completeWith lets the shell complete a flag with one of a few words.
func completeWith(c *cobra.Command, flag string, words ...string) {
	// It fails only for a flag that does not exist, which a test would show.
	_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

func newStats(o *ops) *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Show counts of the centre's state",
		Args:  cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (a answer, err error) {
			err = o.ask(cmd, askLimit, func(ctx context.Context, c *central.Client) error {
				stats, number, err := c.Stats(ctx)
				if err == nil {
					a.Stats, a.Number = &stats, number
					a.text = statsText(stats, number)
				}
				return err
			})
			return a, err
		}),
	}
}

func statsText(s central.Stats, number uint64) string {
	policy := "version " + strconv.FormatUint(s.ScheduleVersion, 10)
	if s.ScheduleVersion == 0 {
		policy = "none: boxes send every rider to the manual lane (R24); set one with 'gateline ops policy set'"
	}
	return fmt.Sprintf("credentials  %d bound\npersons      %d with a credential\npolicy       %s\nfeed         number %d, epoch %d\nfeed key     %s\nledger       %s",
		s.Credentials, s.Persons, policy, number, s.Epoch, s.Key, counted(int(s.Ledger), "message"))
}
