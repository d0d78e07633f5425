package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/gateway"
)

// mostCases is how many cases are listed where nobody says otherwise, maxMostCases
// the most that one may ask for.
const (
	mostCases    = 1000
	maxMostCases = 100_000
)

func newConflictList(o *ops) *cobra.Command {
	most := mostCases
	c := &cobra.Command{
		Use:   "list [--most N]",
		Short: "List what waits for a human, or for a slot",
		Long: "Lists the cards that wait, the oldest first: since when, why, which delivery named\n" +
			"the card, and its kind. A reason owner is a conflict, a card that a list gives to\n" +
			"another person than the one who has it: 'gateline ops conflict resolve' decides it. A\n" +
			"reason slot is a new card that is bound by itself once its buyer has room for it.\n\n" +
			"The centre keeps no numbers, so none is shown, and no person: which card it is was\n" +
			"told by its line where the list was delivered.",
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if most < 1 || most > maxMostCases {
				return answer{}, errUsage{fmt.Errorf("--most is not 1 to %d: give how many are to be listed, or leave it out", maxMostCases)}
			}
			return o.conflicts(cmd, most)
		}),
	}
	c.Flags().IntVar(&most, "most", most, "list so many at most")
	o.backOffice(c)
	return c
}

// conflicts asks page by page, until there is none left or there are enough.
func (o *ops) conflicts(cmd *cobra.Command, most int) (answer, error) {
	a := answer{Cases: &[]central.ShownCase{}}
	err := o.askRegistry(cmd, 0, func(ctx context.Context, c *central.Channel) error {
		var q central.ConflictsRequest
		for {
			var r central.RegistryReply
			err := whileBusy(ctx, func() (err error) {
				r, err = c.Conflicts(ctx, q)
				return err
			})
			if err != nil {
				return err
			}
			*a.Cases = append(*a.Cases, r.Cases...)
			if n := len(*a.Cases); n > most || r.Next == "" || len(r.Cases) == 0 {
				a.Number, a.More = r.Number, n > most || r.Next != ""
				*a.Cases = (*a.Cases)[:min(n, most)]
				return nil
			}
			q.After = r.Next
		}
	})
	if err == nil {
		a.text = casesText(*a.Cases, a.More)
	}
	return a, err
}

// casesText is a table; Chinese names stand last, as in bindingsText.
func casesText(cases []central.ShownCase, more bool) string {
	if len(cases) == 0 {
		return "nothing waits"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s  %-6s  %4s  %10s  %-8s  %s\n", "SINCE", "REASON", "LIST", "RUN", "MEDIUM", "KIND")
	number := func(n uint32) string {
		if n == 0 {
			return "–"
		}
		return fmt.Sprint(n)
	}
	for _, c := range cases {
		fmt.Fprintf(&b, "%s  %-6s  %4s  %10s  %-8s  %s %s\n", c.Since.In(gateway.Zone).Format("2006-01-02 15:04"), c.Reason,
			number(uint32(c.List)), number(c.Run), c.Medium, c.Name, c.ZH)
	}
	if more {
		fmt.Fprintf(&b, "these are the oldest %d, there are others: give a higher --most", len(cases))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func newConflictResolve(o *ops) *cobra.Command {
	var flag string
	var grant, keep bool
	c := &cobra.Command{
		Use:   "resolve --credential C --grant|--keep",
		Short: "Decide who has a card that a list gives to another person",
		Long: "Decides a conflict: a card that a list gives to another person than the one who has\n" +
			"it. --grant gives it to the person of the list and ends the binding that is there;\n" +
			"--keep leaves all as it is. Conflicts are told by their lines where the list is\n" +
			"delivered; 'gateline ops conflict list' shows what is open.\n\n" + aboutCredentials,
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if err := need(cmd, "credential"); err != nil {
				return answer{}, err
			}
			if grant == keep {
				return answer{}, errUsage{errors.New("say either --grant or --keep")}
			}
			text, err := credential(cmd, flag)
			if err != nil {
				return answer{}, err
			}
			a, err := o.registry(cmd, func(ctx context.Context, c *central.Channel) (central.RegistryReply, error) {
				return c.Resolve(ctx, central.ResolveRequest{Credential: text, Grant: grant})
			})
			word := "kept: all stays as it is"
			if grant {
				word = "granted: the person of the list has the card"
			}
			a.tell(word, "nothing to do: nothing waits for this card")
			return a, err
		}),
	}
	c.Flags().StringVar(&flag, "credential", "", credentialUsage)
	c.Flags().BoolVar(&grant, "grant", false, "give the card to the person of the list")
	c.Flags().BoolVar(&keep, "keep", false, "leave it with the person who has it")
	return c
}
