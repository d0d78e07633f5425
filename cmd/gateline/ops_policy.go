package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/gateway"
)

// over reports whether the purpose of a document has ended (IMP-11).
func over(p *gateway.Policy, now time.Time) bool { return !p.Sunset.IsZero() && !now.Before(p.Sunset) }

// opens reports whether doors open in a mode whatever the record says.
func opens(m gateway.Mode) bool { return m != gateway.ModeEnforce }

func newPolicySet(o *ops) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:     "set FILE|-",
		Aliases: []string{prestage},
		Short:   "Put a policy document into the schedule, now or for later",
		Long: "Puts one policy document (JSON) into the schedule. What it leaves out takes the\n" +
			"documented defaults. A document with the same effective instant is replaced;\n" +
			"others stay.\n\n" +
			"It holds from its effective instant on. With one that lies ahead it is pre-staged:\n" +
			"boxes have it in time and change over by themselves, with or without a link.\n" +
			"'gateline ops policy prestage FILE' is the same and refuses an instant that has passed.\n\n" +
			"First it says what the document changes, as 'gateline ops policy show FILE' does. At\n" +
			"a terminal it asks to be confirmed: type the document's mode and the day from which\n" +
			"it holds. A script is not asked, but has to say --yes where the mode lets everybody\n" +
			"pass, and where the document turns a mode to enforce.",
		Args: cobra.ExactArgs(1),
		RunE: o.run(func(cmd *cobra.Command, args []string) (answer, error) {
			policy, err := readPolicy(inputOf(cmd), args[0])
			if err != nil {
				return answer{}, err
			}
			if now := time.Now(); cmd.CalledAs() == prestage && !policy.Effective.After(now) {
				return answer{}, errUsage{fmt.Errorf("the document holds from %s, which has passed: give it a later effective instant, or use 'gateline ops policy set'", instant(policy.Effective))}
			}
			what := fmt.Sprintf("The document holds from %s", instant(policy.Effective))
			if opens(policy.Mode) {
				what = fmt.Sprintf("From %s this document lets everybody pass at every station that it does not name: mode %s", instant(policy.Effective), policy.Mode)
			}
			word := policy.Mode.String() + " " + policy.Effective.In(gateway.Zone).Format(time.DateOnly)
			a, err := o.putPolicy(cmd, policy, grave{what: what, word: word, yes: yes, script: opens(policy.Mode)})
			if err == nil && over(&policy, time.Now()) {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: the sunset of this document has passed: gates answer everybody with %s\n", policy.AfterSunset)
			}
			return a, err
		}),
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask for a confirmation")
	return c
}

// prestage is another name of set, for documents that hold later.
const prestage = "prestage"

// grave says how a document is confirmed.
type grave struct {
	what, word string
	yes        bool // it is confirmed already
	script     bool // who cannot be asked must have said so
}

// putPolicy says what a document changes, has it confirmed and puts it into the
// schedule. In between somebody else may change the schedule: the answer to the
// command is the centre's own.
func (o *ops) putPolicy(cmd *cobra.Command, policy gateway.Policy, g grave) (answer, error) {
	asked := !g.yes && inputOf(cmd).terminal()
	if !g.yes && !asked && g.script {
		return answer{}, confirm(cmd, false, g.what, g.word)
	}
	change, err := o.consider(cmd, &policy, asked)
	if err != nil {
		return answer{}, err
	}
	if enforced := change.enforces(); enforced != "" && !g.yes && !asked {
		return answer{}, confirm(cmd, false, fmt.Sprintf("From %s riders are refused: %s", instant(change.From), enforced), g.word)
	}
	text := change.text(time.Now())
	if asked && !change.nothing() {
		fmt.Fprintln(cmd.ErrOrStderr(), text)
		text = ""
		if err := confirm(cmd, false, g.what, g.word); err != nil {
			return answer{}, err
		}
	}
	a, err := o.command(cmd, func(ctx context.Context, c *central.Client) (central.Done, error) {
		return c.SetPolicy(ctx, policy)
	})
	if err != nil {
		return a, err
	}
	a.say("set: %s from %s", "nothing to do: the schedule has this document already, %s from %s", policy.Mode, instant(policy.Effective))
	if a.Changed > 0 {
		if a.Change = change; text != "" {
			a.text = text + "\n" + a.text
		}
	}
	return a, nil
}

// readPolicy reads a policy document. Errors name the file and, where there is
// one, the line.
func readPolicy(in io.Reader, path string) (gateway.Policy, error) {
	name := path
	if path == "-" {
		name = "standard input"
	} else {
		f, err := os.Open(path)
		if err != nil {
			return gateway.Policy{}, fmt.Errorf("read the policy: %w: give the path of a policy document, or - for standard input", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, gateway.MaxScheduleSize+1))
	if err != nil {
		return gateway.Policy{}, fmt.Errorf("read the policy from %s: %w", name, err)
	}
	policy, err := gateway.DecodePolicy(text)
	if err != nil {
		return gateway.Policy{}, policyFault(name, text, err)
	}
	return policy, nil
}

// policyFault says where a document is wrong. It does not quote a value of the
// wrong type: whoever gives the wrong file may have given one with numbers.
func policyFault(name string, text []byte, err error) error {
	const next = "; write it as docs/examples/policy.json shows"
	lineAt := func(offset int64) int {
		return 1 + bytes.Count(text[:min(int(offset), len(text))], []byte("\n"))
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case len(bytes.TrimSpace(text)) == 0:
		return fmt.Errorf("%s: there is nothing in it%s", name, next)
	case errors.As(err, &syntax):
		return fmt.Errorf("%s:%d: no JSON: %w%s", name, lineAt(syntax.Offset), syntax, next)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%s:%d: no JSON: it is cut off%s", name, lineAt(int64(len(text))), next)
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Errorf("%s: no JSON object%s", name, next)
	case errors.As(err, &kind):
		return fmt.Errorf("%s:%d: %s: a value of the wrong type, or out of range%s", name, lineAt(kind.Offset), kind.Field, next)
	}
	return fmt.Errorf("%s: %w%s", name, err, next)
}

func newPolicyShow(o *ops) *cobra.Command {
	return &cobra.Command{
		Use:   "show [FILE|-]",
		Short: "Show the schedule of policy documents, or what a new document would change",
		Long: "Shows the schedule of policy documents, and which one is in force.\n\n" +
			"With a policy document (JSON) that is not set yet it shows what that one would change,\n" +
			"from when, field by field and station by station, against the document that holds at\n" +
			"that instant without it; and what the stations answered in the last full hour, so that\n" +
			"it can be seen how many riders it is about. Nothing is set.",
		Args: cobra.MaximumNArgs(1),
		RunE: o.run(func(cmd *cobra.Command, args []string) (a answer, err error) {
			if len(args) == 1 {
				policy, err := readPolicy(inputOf(cmd), args[0])
				if err != nil {
					return answer{}, err
				}
				if a.Change, err = o.consider(cmd, &policy, true); err == nil {
					a.text = a.Change.text(time.Now())
				}
				return a, err
			}
			err = o.ask(cmd, askLimit, func(ctx context.Context, c *central.Client) (err error) {
				a.Schedule, err = c.Policy(ctx)
				return err
			})
			if err == nil {
				a.text = scheduleText(a.Schedule, time.Now())
			}
			return a, err
		}),
	}
}

// scheduleText shows what each document says; defaults are shown too.
func scheduleText(s *gateway.Schedule, now time.Time) string {
	if s == nil {
		return "no policy"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "version %d, %s", s.Version, counted(len(s.Policies), "document"))
	inForce := s.At(now)
	for i := range s.Policies {
		p := &s.Policies[i]
		state := "later"
		if p == inForce {
			state = "in force"
			if over(p, now) {
				state = "in force, past its sunset"
			}
		}
		fmt.Fprintf(&b, "\n\nfrom %s (%s)\n", instant(p.Effective), state)
		fmt.Fprintf(&b, "  mode          %s\n", p.Mode)
		for _, name := range slices.Sorted(maps.Keys(p.Stations)) {
			fmt.Fprintf(&b, "    %s  %s\n", name, p.Stations[name])
		}
		fmt.Fprintf(&b, "  window        %s, unit %s\n", counted(int(p.Window), "day"), p.Unit)
		fmt.Fprintf(&b, "  data          fresh for %s, good for a pass for %s\n", short(p.FreshLimit), short(p.StalePassLimit))
		fmt.Fprintf(&b, "  verdict       good for %s\n", short(p.VerdictTTL))
		if p.RedNeedsPassable {
			b.WriteString("  red           manual lane once the data is too old for a pass\n")
		}
		showInstant(&b, "top-up rule", "from ", p.TopUpFrom)
		showInstant(&b, "expires", "", p.Expires)
		showInstant(&b, "sunset", "", p.Sunset)
		fmt.Fprintf(&b, "  after sunset  %s", p.AfterSunset)
	}
	return b.String()
}

func showInstant(b *strings.Builder, what, before string, t time.Time) {
	if !t.IsZero() {
		fmt.Fprintf(b, "  %-12s  %s%s\n", what, before, instant(t))
	}
}

// short writes a duration without parts that are zero: 24h, not 24h0m0s.
func short(d gateway.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// instant writes an instant in the city's zone.
func instant(t time.Time) string { return t.In(gateway.Zone).Format("2006-01-02 15:04:05 -07:00") }

// instantForms are the forms of an instant on a command line. Without a zone it
// is in Asia/Shanghai.
var instantForms = [...]string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly}

func parseInstant(text string) (time.Time, error) {
	for _, form := range instantForms {
		if t, err := time.ParseInLocation(form, text, gateway.Zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errUsage{fmt.Errorf("%.40q is not an instant such as 2022-06-06T04:00:00+08:00 or \"2022-06-06 04:00\"", text)}
}
