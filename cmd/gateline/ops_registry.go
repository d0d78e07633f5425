package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/central/rules"
)

// registry asks the registry's service for one thing.
func (o *ops) registry(cmd *cobra.Command, f func(context.Context, *central.Channel) (central.RegistryReply, error)) (answer, error) {
	var a answer
	err := o.askRegistry(cmd, askLimit, func(ctx context.Context, c *central.Channel) error {
		r, err := f(ctx, c)
		a.Number, a.Result, a.Ended = r.Number, r.Result, int(r.Ended)
		a.Kind, a.Bindings, a.Helped = r.Kind, r.Bindings, r.Helped
		return err
	})
	return a, err
}

// backOffice lets a command be given in the name of the back office too, and by its
// key.
func (o *ops) backOffice(c *cobra.Command) {
	c.PersistentFlags().StringVar(&o.channel, "channel", string(rules.ChannelOps), "in whose name: ops or back-office; with --link the key has to be that channel's")
	completeWith(c, "channel", string(rules.ChannelOps), string(rules.ChannelBackOffice))
}

// tell is say for an answer of the registry's service.
func (a *answer) tell(changed, same string, args ...any) {
	if a.Result == rules.ResultAlready {
		changed = same
	}
	a.text = fmt.Sprintf(changed, args...) + fmt.Sprintf(" (feed number %d)", a.Number)
}

// whoFlag names a person on a command line: by an opaque id, or by the type of an
// identity document whose number is read from standard input.
type whoFlag struct {
	name, documentName string
	id, document       string
}

const aboutDocuments = `A person is named by the opaque id of the channels, or by an identity document: then
the number is read from standard input, a line for itself, and kept nowhere. The two
are two persons: a city agrees on one of them.`

// flags gives the command the two flags; the first is called name.
func (w *whoFlag) flags(c *cobra.Command, name, about string) {
	w.name, w.documentName = name, name+"-document"
	if name == "person" {
		w.documentName = "document"
	}
	c.Flags().StringVar(&w.id, w.name, "", "opaque id of "+about)
	c.Flags().StringVar(&w.document, w.documentName, "", "type of an identity document of "+about+", instead of the id; its number comes from standard input")
	completeWith(c, w.documentName, documentTypes()...)
}

func documentTypes() []string {
	return []string{central.DocumentResident, central.DocumentHKMacao, central.DocumentTaiwan, central.DocumentSettlement, central.DocumentForeigner, central.DocumentPassport}
}

// check refuses a call that names nobody, or one person twice.
func (w *whoFlag) check(cmd *cobra.Command) error {
	switch id, document := cmd.Flags().Changed(w.name), cmd.Flags().Changed(w.documentName); {
	case id && document:
		return errUsage{fmt.Errorf("--%s and --%s name one person twice: give one of them", w.name, w.documentName)}
	case !id && !document:
		return errUsage{fmt.Errorf("%s needs --%s or --%s", cmd.CommandPath(), w.name, w.documentName)}
	}
	return nil
}

// who returns the person, whose document is read where there is one.
func (w *whoFlag) who(t *typist) (central.Who, error) {
	if w.document == "" {
		return central.ByID(w.id), nil
	}
	number, err := t.line("document number")
	return central.ByDocument(w.document, number), err
}

// aboutCard asks the registry's service about the card that a command names by
// --credential and by nothing else.
func (o *ops) aboutCard(c *cobra.Command, ask func(context.Context, *central.Channel, string) (central.RegistryReply, error), say func(*answer)) *cobra.Command {
	var flag string
	c.Long += "\n\n" + aboutCredentials
	c.Args = cobra.NoArgs
	c.RunE = o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
		if err := need(cmd, "credential"); err != nil {
			return answer{}, err
		}
		text, err := credential(cmd, flag)
		if err != nil {
			return answer{}, err
		}
		a, err := o.registry(cmd, func(ctx context.Context, c *central.Channel) (central.RegistryReply, error) {
			return ask(ctx, c, text)
		})
		if err == nil {
			say(&a)
		}
		return a, err
	})
	c.Flags().StringVar(&flag, "credential", "", credentialUsage)
	return c
}

func newCardLookUp(o *ops) *cobra.Command {
	return o.aboutCard(&cobra.Command{
		Use:   "lookup --credential C",
		Short: "Show the kind of a card",
		Long: "Shows the kind of a card by its number: whether it is one that is served here at\n" +
			"all. It never tells whether or by whom it is bound.",
	}, func(ctx context.Context, c *central.Channel, card string) (central.RegistryReply, error) {
		return c.LookUp(ctx, card)
	}, func(a *answer) {
		if a.Kind != nil {
			a.text = fmt.Sprintf("kind    %s %s\nmedium  %s", a.Kind.Name, a.Kind.ZH, a.Kind.Medium)
		}
	})
}

func newCardReturn(o *ops) *cobra.Command {
	return o.aboutCard(&cobra.Command{
		Use:   "return --credential C",
		Short: "Take a card back",
		Long: "Ends the binding of a card that was given back, whoever has it, and what waits for\n" +
			"that card.",
	}, func(ctx context.Context, c *central.Channel, card string) (central.RegistryReply, error) {
		return c.Return(ctx, central.CardRequest{Credential: card})
	}, func(a *answer) { a.tell("taken back", "nothing to do: it is not bound") })
}

func newCardReplace(o *ops) *cobra.Command {
	var before, after string
	c := &cobra.Command{
		Use:   "replace --old C --new C",
		Short: "Put a new card in the place of one",
		Long: "Puts a new card in the place of one that is bound, on the issuer's word: of the same\n" +
			"medium, for the same person; no quota is asked.\n\n" + aboutCredentials + "\nWhere both are -, the old one comes first.",
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if err := need(cmd, "old", "new"); err != nil {
				return answer{}, err
			}
			var q central.ReplaceRequest
			var err error
			t := newTypist(cmd)
			if q.Old, err = t.credential("old credential", before); err != nil {
				return answer{}, err
			}
			if q.New, err = t.credential("new credential", after); err != nil {
				return answer{}, err
			}
			a, err := o.registry(cmd, func(ctx context.Context, c *central.Channel) (central.RegistryReply, error) {
				return c.Replace(ctx, q)
			})
			a.tell("replaced", "nothing to do: the old card is not bound, the new one is")
			return a, err
		}),
	}
	c.Flags().StringVar(&before, "old", "", credentialUsage)
	c.Flags().StringVar(&after, "new", "", credentialUsage)
	return c
}

func newRideAuthorise(o *ops) *cobra.Command {
	var flag string
	var person whoFlag
	var q central.RideRequest
	c := &cobra.Command{
		Use:   "authorise --credential ride:… --person P --consent N --identified",
		Short: "Link a ride-code account to its person",
		Long: "Links a ride-code account to its person. --consent is the version of the text that\n" +
			"the person has agreed to, --identified your word that the person is the one named.\n\n" + aboutCredentials + "\n\n" + aboutDocuments,
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if err := errors.Join(need(cmd, "credential", "consent"), person.check(cmd)); err != nil {
				return answer{}, err
			}
			var err error
			t := newTypist(cmd)
			if q.Credential, err = t.credential("credential", flag); err != nil {
				return answer{}, err
			}
			if q.Who, err = person.who(t); err != nil {
				return answer{}, err
			}
			a, err := o.registry(cmd, func(ctx context.Context, c *central.Channel) (central.RegistryReply, error) {
				return c.AuthoriseRide(ctx, q)
			})
			a.tell("authorised", "nothing to do: it is authorised for this person already")
			return a, err
		}),
	}
	c.Flags().StringVar(&flag, "credential", "", credentialUsage)
	person.flags(c, "person", "the person")
	c.Flags().Uint16Var(&q.Consent, "consent", 0, "version of the text that was agreed to")
	c.Flags().BoolVar(&q.Identified, "identified", false, "the person's identity has been checked")
	return c
}

func newRideWithdraw(o *ops) *cobra.Command {
	var flag string
	var person whoFlag
	c := &cobra.Command{
		Use:   "withdraw --credential ride:… --person P",
		Short: "Take the authorisation of a ride-code account back",
		Long:  "Takes the authorisation of a ride-code account back, which ends its binding.\n\n" + aboutCredentials + "\n\n" + aboutDocuments,
		Args:  cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (answer, error) {
			if err := errors.Join(need(cmd, "credential"), person.check(cmd)); err != nil {
				return answer{}, err
			}
			var q central.RideWithdrawRequest
			var err error
			t := newTypist(cmd)
			if q.Credential, err = t.credential("credential", flag); err != nil {
				return answer{}, err
			}
			if q.Who, err = person.who(t); err != nil {
				return answer{}, err
			}
			a, err := o.registry(cmd, func(ctx context.Context, c *central.Channel) (central.RegistryReply, error) {
				return c.WithdrawRide(ctx, q)
			})
			a.tell("withdrawn", "nothing to do: it is not authorised")
			return a, err
		}),
	}
	c.Flags().StringVar(&flag, "credential", "", credentialUsage)
	person.flags(c, "person", "the person")
	return c
}
