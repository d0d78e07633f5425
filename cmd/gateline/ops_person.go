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

func newPersonShow(o *ops) *cobra.Command {
	var person whoFlag
	c := &cobra.Command{
		Use:   "show --person P",
		Short: "Show what kinds of cards a person has bound",
		Long: "Shows what a person may see of the own bindings: kind, medium, how and since when it\n" +
			"was bound; and the kinds of the cards bound for others. No number, no status, nobody\n" +
			"else.\n\n" + aboutDocuments,
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if err := person.check(cmd); err != nil {
				return answer{}, err
			}
			who, err := person.who(newTypist(cmd))
			if err != nil {
				return answer{}, err
			}
			a, err := o.registry(cmd, func(ctx context.Context, c *central.Channel) (central.RegistryReply, error) {
				return c.Own(ctx, who)
			})
			a.text = bindingsText(a.Bindings, a.Helped)
			return a, err
		}),
	}
	person.flags(c, "person", "the person")
	return c
}

// bindingsText is a table; Chinese names stand last, because their columns are
// twice as wide.
func bindingsText(bindings []central.ShownBinding, helped []central.CardKind) string {
	var b strings.Builder
	if len(bindings) == 0 {
		b.WriteString("nothing is bound\n")
	} else {
		fmt.Fprintf(&b, "%-26s %-8s %-10s %s\n", "KIND", "MEDIUM", "SOURCE", "SINCE")
	}
	for _, s := range bindings {
		since := "waits for a slot"
		if !s.Waiting {
			since = s.Since.In(gateway.Zone).Format("2006-01-02 15:04")
		}
		fmt.Fprintf(&b, "%-26s %-8s %-10s %-16s %s\n", s.Name, s.Medium, s.Source, since, s.ZH)
	}
	for _, k := range helped {
		fmt.Fprintf(&b, "%-26s %-8s bound for another person   %s\n", k.Name, k.Medium, k.ZH)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func newPersonMerge(o *ops) *cobra.Command {
	var from, into whoFlag
	var yes string
	c := &cobra.Command{
		Use:   "merge --from P --into P [--yes P]",
		Short: "Make one person of two",
		Long: "Makes one person of two, where an identity was corrected: the second gets every card\n" +
			"of the first, even above a quota, and the first is forgotten, with its status. Where\n" +
			"the second has no status yet, riders go to the manual lane until one is reported.\n" +
			againPerson("from") + "\n\n" + aboutDocuments +
			"\nWhere both are documents, that of --from comes first.",
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			var q central.MergeRequest
			var err error
			t := newTypist(cmd)
			if q.From, q.Into, err = two(cmd, t, &from, &into); err != nil {
				return answer{}, err
			}
			if err := confirmPerson(cmd, t, &from, q.From, yes, "The first person is forgotten for good, and the second has every card"); err != nil {
				return answer{}, err
			}
			a, err := o.registry(cmd, func(ctx context.Context, c *central.Channel) (central.RegistryReply, error) {
				return c.Merge(ctx, q)
			})
			a.tell("merged", "nothing to do: nothing is known of the first person")
			return a, err
		}),
	}
	from.flags(c, "from", "the person who is forgotten")
	into.flags(c, "into", "the person who remains")
	yesFlag(c, &yes, "from")
	return c
}

func two(cmd *cobra.Command, t *typist, from, into *whoFlag) (a, b central.Who, err error) {
	if err := errors.Join(from.check(cmd), into.check(cmd)); err != nil {
		return a, b, err
	}
	if a, err = from.who(t); err != nil {
		return a, b, err
	}
	b, err = into.who(t)
	return a, b, err
}

func newPersonSplit(o *ops) *cobra.Command {
	var from, into whoFlag
	var credentials []string
	var yes string
	c := &cobra.Command{
		Use:   "split --from P --into P --credential C … [--yes P]",
		Short: "Give some of a person's cards to another one",
		Long: "Gives some of a person's cards to another one, where two persons were taken for one.\n" +
			"All of them or none. The status stays with the first person; a second one without a\n" +
			"status goes to the manual lane until one is reported.\n" +
			againPerson("from") + "\n\n" + aboutCredentials + "\n\n" + aboutDocuments +
			"\nDocuments come before credentials.",
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if err := need(cmd, "credential"); err != nil {
				return answer{}, err
			}
			var q central.SplitRequest
			var err error
			t := newTypist(cmd)
			if q.From, q.Into, err = two(cmd, t, &from, &into); err != nil {
				return answer{}, err
			}
			for _, flag := range credentials {
				text, err := t.credential("credential", flag)
				if err != nil {
					return answer{}, err
				}
				q.Credentials = append(q.Credentials, text)
			}
			what := fmt.Sprintf("The first person loses %s to the second", counted(len(q.Credentials), "card"))
			if err := confirmPerson(cmd, t, &from, q.From, yes, what); err != nil {
				return answer{}, err
			}
			a, err := o.registry(cmd, func(ctx context.Context, c *central.Channel) (central.RegistryReply, error) {
				return c.Split(ctx, q)
			})
			a.text = fmt.Sprintf("split: the second person has %s (feed number %d)", counted(len(q.Credentials), "card"), a.Number)
			return a, err
		}),
	}
	from.flags(c, "from", "the person who has the cards")
	into.flags(c, "into", "the person who gets them")
	yesFlag(c, &yes, "from")
	c.Flags().StringArrayVar(&credentials, "credential", nil, credentialUsage+"; once for each card")
	return c
}

func newPersonForget(o *ops) *cobra.Command {
	return o.endPerson(&cobra.Command{
		Use:   "forget --person P [--yes P]",
		Short: "Erase a person",
		Long: "Erases a person for good: every binding, what waits, the status, and every mention as\n" +
			"helper or guardian.",
	}, "Everything of this person is erased for good", func(ctx context.Context, c *central.Channel, q central.PersonRequest) (central.RegistryReply, error) {
		return c.Forget(ctx, q)
	}, func(a *answer) { a.tell("forgotten, %s ended", "forgotten, %s ended", counted(a.Ended, "binding")) })
}

func newPersonDied(o *ops) *cobra.Command {
	c := o.endPerson(&cobra.Command{
		Use:   "died --person P [--yes P]",
		Short: "End every binding of a person who has died",
		Long: "Ends every binding of a person who has died, those of the back office too, and what\n" +
			"waits for that person. The status is kept until the person is forgotten.",
	}, "Every binding of this person ends", func(ctx context.Context, c *central.Channel, q central.PersonRequest) (central.RegistryReply, error) {
		return c.Died(ctx, q)
	}, func(a *answer) { a.tell("%s ended", "nothing to do: %s ended", counted(a.Ended, "binding")) })
	o.backOffice(c)
	return c
}

// endPerson is a command about a person alone, who has to be named twice.
func (o *ops) endPerson(c *cobra.Command, what string, ask func(context.Context, *central.Channel, central.PersonRequest) (central.RegistryReply, error), say func(*answer)) *cobra.Command {
	var person whoFlag
	var yes string
	c.Long += "\n" + againPerson("person") + "\n\n" + aboutDocuments
	c.Args = cobra.NoArgs
	c.RunE = o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
		if err := person.check(cmd); err != nil {
			return answer{}, err
		}
		t := newTypist(cmd)
		who, err := person.who(t)
		if err != nil {
			return answer{}, err
		}
		if err := confirmPerson(cmd, t, &person, who, yes, what); err != nil {
			return answer{}, err
		}
		a, err := o.registry(cmd, func(ctx context.Context, c *central.Channel) (central.RegistryReply, error) {
			return ask(ctx, c, central.PersonRequest{Who: who})
		})
		say(&a)
		return a, err
	})
	person.flags(c, "person", "the person")
	yesFlag(c, &yes, "person")
	return c
}

// againPerson says how a command is confirmed by the person of a flag.
func againPerson(flag string) string {
	return "Asks for the id of --" + flag + " to be typed again; a script gives it again with --yes. Of a\n" +
		"document the number is asked for twice, also of a script."
}

func yesFlag(c *cobra.Command, yes *string, flag string) {
	c.Flags().StringVar(yes, "yes", "", "the id of --"+flag+" once more: do not ask for it")
}

// confirmPerson asks for the person of a flag once more. It never shows the id.
func confirmPerson(cmd *cobra.Command, t *typist, flag *whoFlag, who central.Who, yes, what string) error {
	switch {
	case who.Document != nil:
		if t.in.terminal() {
			fmt.Fprintf(t.prompt, "%s. To go on give the number of --%s again.\n", what, flag.documentName)
		}
		again, err := t.line("document number")
		if err == nil && again != who.Document.Number {
			err = errNotConfirmed
		}
		return err
	case yes == "":
		return t.retype(what, "the id of --"+flag.name+" again", who.Person, "--yes with the id of --"+flag.name)
	case yes != who.Person:
		return errUsage{fmt.Errorf("--yes is not the id of --%s; nothing has changed", flag.name)}
	}
	return nil
}
