package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/gateway"
)

const noSunset = "none"

func newPolicySunset(o *ops) *cobra.Command {
	var yes bool
	var after string
	c := &cobra.Command{
		Use:   "sunset INSTANT|none",
		Short: "Say when the purpose of the policy ends",
		Long: "Sets the sunset of the document in force: the instant from which gates ask no more\n" +
			"and answer everybody with what --after says, by default what the document says; none\n" +
			"takes the sunset away. An instant without a zone is in Asia/Shanghai; one that has\n" +
			"passed ends it at once. Documents that are pre-staged have a sunset of their own.\n\n" +
			"Asks to be confirmed: type the day of the sunset, or none. A script says --yes.",
		Example: "  gateline ops policy sunset '2036-12-31 00:00'",
		Args:    cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{noSunset}, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: o.run(func(cmd *cobra.Command, args []string) (answer, error) {
			at, word := time.Time{}, noSunset
			if args[0] != noSunset {
				var err error
				if at, err = parseInstant(args[0]); err != nil {
					return answer{}, err
				}
				word = at.In(gateway.Zone).Format(time.DateOnly)
			}
			var answered gateway.AfterSunset
			if err := answered.UnmarshalText([]byte(after)); after != "" && err != nil {
				return answer{}, errUsage{fmt.Errorf("--after: %w", err)}
			}
			policy, later, err := o.inForce(cmd)
			if err != nil {
				return answer{}, err
			}
			if policy.Sunset = at; after != "" {
				policy.AfterSunset = answered
			}
			if err := policy.Validate(); err != nil {
				return answer{}, fmt.Errorf("the document from %s: %w; give a later instant", instant(policy.Effective), err)
			}
			what := "The document in force has no sunset any more"
			if !at.IsZero() {
				what = fmt.Sprintf("From %s gates answer everybody with %s", instant(at), policy.AfterSunset)
			}
			a, err := o.putPolicy(cmd, policy, grave{what: what, word: word, yes: yes, script: true})
			if err == nil && later > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: %s later in the schedule with a sunset of its own; see 'gateline ops policy show'\n", counted(later, "document"))
			}
			return a, err
		}),
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	c.Flags().StringVar(&after, "after", "", "what gates answer from then on: pass or manual")
	completeWith(c, "after", gateway.AfterSunsetPass.String(), gateway.AfterSunsetManual.String())
	return c
}

// inForce returns the document in force, and how many come later.
func (o *ops) inForce(cmd *cobra.Command) (policy gateway.Policy, later int, err error) {
	err = o.ask(cmd, askLimit, func(ctx context.Context, c *central.Client) error {
		s, err := c.Policy(ctx)
		if err != nil {
			return err
		}
		p := s.At(time.Now())
		if p == nil {
			return errors.New("no document is in force yet: set the sunset in the document that is to be, with 'gateline ops policy set'")
		}
		policy = *p
		later = len(s.Policies) - 1 - slices.IndexFunc(s.Policies, func(q gateway.Policy) bool { return q.Effective.Equal(p.Effective) })
		return nil
	})
	return policy, later, err
}
