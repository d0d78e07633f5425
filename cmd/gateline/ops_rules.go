package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/central/rules"
)

func newRulesShow(o *ops) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the rules of who may upgrade what: what is in force, and what is pre-staged",
		Long: "Shows the rules of the registry with which the centre was started: quotas, kinds of\n" +
			"cards with the numbers that they begin with, what each channel may do, consent texts\n" +
			"and dates; what is in force, and what is pre-staged with the instant from which it\n" +
			"holds. What ended is left out; --json has all.",
		Args: cobra.NoArgs,
		RunE: o.run(func(cmd *cobra.Command, _ []string) (a answer, err error) {
			if a.Rules, err = o.rules(cmd); err == nil {
				a.text = rulesText(a.Rules, time.Now())
			}
			return a, err
		}),
	}
}

func newRulesFile(o *ops) *cobra.Command {
	var builtIn bool
	c := &cobra.Command{
		Use:   "file",
		Short: "Print the rules as a complete file to begin with",
		Long: "Prints the rules of the centre as a file, complete, for [registry] rules_file of its\n" +
			"configuration; with --defaults those that are built in, and no centre is asked.\n" +
			"'gateline check --central FILE' checks a file that a configuration names, and the\n" +
			"centre takes it when it is started again. What was bound under other rules stays.",
		Example: "  gateline ops rules file --defaults > rules.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := rules.DefaultRules()
			if !builtIn {
				var err error
				if r, err = o.rules(cmd); err != nil {
					return err
				}
			}
			text, err := rules.EncodeRules(r)
			if err == nil {
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", text)
			}
			return err
		},
	}
	c.Flags().BoolVar(&builtIn, "defaults", false, "the rules that are built in; the centre is not asked")
	return c
}

func (o *ops) rules(cmd *cobra.Command) (r *rules.Rules, err error) {
	err = o.ask(cmd, askLimit, func(ctx context.Context, c *central.Client) error {
		r, err = c.Rules(ctx)
		return err
	})
	return r, err
}

// rulesText shows to people what holds at now and what will later.
func rulesText(r *rules.Rules, now time.Time) string {
	var b strings.Builder
	showTerms(&b, "quotas", r.Quotas, now, func(q rules.Quotas) []string {
		return []string{fmt.Sprintf("of one person: %d physical, %d nfc, %d of both; %d for others (%s)", q.Physical, q.NFC, q.Total, q.Helper, q.HelperMode)}
	})
	showTerms(&b, "kinds", r.Kinds, now, kindLines)
	showTerms(&b, "channels", r.Channels, now, func(m rules.Matrix) (lines []string) {
		for _, c := range slices.Sorted(maps.Keys(m)) {
			words := make([]string, 0, len(m[c]))
			for _, f := range m[c] {
				words = append(words, string(f))
			}
			lines = append(lines, strings.TrimRight(fmt.Sprintf("%-16s %s", c, strings.Join(words, " ")), " "))
		}
		return lines
	})
	showTerms(&b, "consents", r.Consents, now, func(versions []uint16) []string {
		return []string{"versions " + strings.Trim(fmt.Sprint(versions), "[]")}
	})
	showTerms(&b, "day_rules", r.DayRules, now, func(d rules.DayRule) []string {
		if d == rules.DayRuleNight {
			return []string{"a result counts from its day, up to 06:00 from the day before"}
		}
		return []string{"a result counts from its day"}
	})
	for _, t := range []struct {
		name string
		from time.Time
	}{{"top_up_from", r.TopUpFrom}, {"new_card_from", r.NewCardFrom}} {
		when := "never"
		if !t.from.IsZero() {
			when = fmt.Sprintf("%s (%s)", instant(t.from), stageOf(t.from, now))
		}
		fmt.Fprintf(&b, "%-14s %s\n", t.name, when)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// showTerms shows the term that holds at now and those that come later.
func showTerms[T any](b *strings.Builder, name string, terms rules.Terms[T], now time.Time, lines func(T) []string) {
	fmt.Fprintln(b, name)
	for i, t := range terms {
		if i+1 < len(terms) && !terms[i+1].From.After(now) {
			continue // over
		}
		fmt.Fprintf(b, "  from %s (%s)\n", instant(t.From), stageOf(t.From, now))
		for _, line := range lines(t.Value) {
			fmt.Fprintf(b, "    %s\n", line)
		}
	}
}

func stageOf(from, now time.Time) string {
	if from.After(now) {
		return "pre-staged"
	}
	return "in force"
}

// kindLines shows one kind a line; Chinese names stand last.
func kindLines(kinds []rules.Kind) (lines []string) {
	for _, k := range kinds {
		ranges := strings.Join(k.Ranges, " ")
		if ranges == "" {
			ranges = "–"
		}
		lines = append(lines, fmt.Sprintf("%3d %-26s %-8s %-11s %-22s %s", k.Code, k.Name, k.Medium, k.Upgrade, ranges, k.ZH))
	}
	return lines
}
