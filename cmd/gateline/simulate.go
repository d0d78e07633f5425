package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"gateline/simulator"
)

func newSimulate() *cobra.Command {
	var cfg simulator.Config // what the flags say; which defaults hold, the scenario says
	var jsonFile string
	var verbose bool
	c := &cobra.Command{
		Use:   "simulate SCENARIO",
		Short: "Run a simulated station and centre and judge every answer",
		Long: "Runs the production assembly of box and centre with simulated gates on paced\n" +
			"pseudo-terminals, and judges every answer by a model of its own.\n\nScenarios:\n" + scenarioList() +
			"\nThose marked (osdp) imply --protocol osdp; in those from bootstrap on riders tap until the\n" +
			"story ends, but in city nobody does, and in notice only those whom it is about. Exit status 1\n" +
			"where an answer was wrong or lost, box and centre differ at the end, or the scenario did not\n" +
			"show what it should.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg = withDefaults(cmd.Flags().Changed, cfg, args[0])
			if err := cfg.Validate(); err != nil {
				return errUsage{err}
			}
			return simulate(cmd, cfg, jsonFile, verbose)
		},
	}
	configFlags(c, &cfg)
	f := c.Flags()
	f.StringVar(&jsonFile, "json", "", "write the report as one JSON object to this file, - for standard output")
	f.BoolVarP(&verbose, "verbose", "v", false, "show the log of box and centre on standard error")
	return c
}

// configFlags are the flags that say what to simulate.
func configFlags(c *cobra.Command, cfg *simulator.Config) {
	d := simulator.DefaultConfig(simulator.ScenarioRush)
	f := c.Flags()
	f.IntVar(&cfg.Gates, "gates", d.Gates, "gates or readers")
	f.IntVar(&cfg.Cards, "cards", d.Cards, fmt.Sprintf("credentials in the city; in scenario city %d by default", simulator.CityCards))
	f.IntVar(&cfg.Taps, "taps", d.Taps, fmt.Sprintf("taps in all; with osdp %d by default", simulator.ReadersTaps))
	f.DurationVar(&cfg.Pace, "pace", d.Pace, "mean pause between two taps of one gate, such as 3s to measure taps that do not\nmeet each other; 0 = as short as the line can well take")
	f.StringVar(&cfg.Protocol, "protocol", d.Protocol, "direct, each gate on a line of its own, or osdp, up to 32 readers on a line")
	f.BoolVar(&cfg.Secure, "secure", d.Secure, "with osdp: Secure Channel")
	f.DurationVar(&cfg.Turnaround, "turnaround", d.Turnaround, "with osdp: how long a reader takes to answer")
	f.Float64Var(&cfg.ErrorRate, "error-rate", d.ErrorRate, fmt.Sprintf("with osdp: share of bits that are damaged on the line; in noise %v by default", simulator.NoiseRate))
	f.BoolVar(&cfg.Echo, "echo", d.Echo, "with osdp: the box's adapter hears the box itself")
	f.IntVar(&cfg.Dead, "dead", d.Dead, "with osdp: readers of the first line that never answer; in deadgate 1 by default")
	f.IntVar(&cfg.Baud, "baud", d.Baud, "speed of the lines")
	f.IntVar(&cfg.Updates, "updates", d.Updates, fmt.Sprintf("changes a second at the centre meanwhile; in city %d by default", simulator.CityUpdates))
	f.DurationVar(&cfg.Outage, "outage", d.Outage, "in partition: how long each fault lasts")
	f.IntVar(&cfg.LinkRate, "link-rate", d.LinkRate, "in bootstrap: bytes a second that the link brings to the box at most; 0 = as the machine can")
	f.IntVar(&cfg.Stations, "stations", d.Stations, "in city: boxes")
	f.DurationVar(&cfg.Span, "span", d.Span, "in city: how long each of its three measurements takes")
	f.Uint64Var(&cfg.Seed, "seed", 0, "seed of the run; 0 draws one")
}

// withDefaults gives flags that were not set what the scenario has for them,
// and a run without a seed one, as changed tells.
func withDefaults(changed func(string) bool, cfg simulator.Config, scenario string) simulator.Config {
	d := simulator.DefaultConfig(scenario)
	cfg.Scenario = scenario
	if !changed("protocol") {
		cfg.Protocol = d.Protocol
	}
	if !changed("taps") {
		if cfg.Taps = d.Taps; cfg.Protocol == "osdp" {
			cfg.Taps = simulator.ReadersTaps
		}
	}
	if !changed("error-rate") {
		cfg.ErrorRate = d.ErrorRate
	}
	if !changed("cards") {
		cfg.Cards = d.Cards
	}
	if !changed("updates") {
		cfg.Updates = d.Updates
	}
	if !changed("dead") {
		cfg.Dead = d.Dead
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64N(1_000_000) + 1
	}
	return cfg
}

func scenarioList() (text string) {
	for _, s := range simulator.Scenarios() {
		text += fmt.Sprintf("  %-9s %s\n", s.Name, s.Shows)
	}
	return text
}

func simulate(cmd *cobra.Command, cfg simulator.Config, jsonFile string, verbose bool) error {
	out, errOut := cmd.OutOrStdout(), cmd.ErrOrStderr()
	cfg.Log = slog.New(slog.DiscardHandler)
	if verbose {
		cfg.Log = slog.New(slog.NewTextHandler(errOut, nil))
	}
	fmt.Fprintf(errOut, "seed %d\n", cfg.Seed)
	bar := newBar(errOut, !verbose)
	cfg.Progress = bar.show
	report, err := simulator.Run(cmd.Context(), cfg)
	bar.end()
	if err != nil {
		return err
	}
	if jsonFile != "-" {
		printReport(out, report)
		printStory(out, report)
	}
	if err := writeJSON(out, jsonFile, report); err != nil {
		return err
	}
	if !report.OK() {
		fmt.Fprintf(errOut, "gateline: simulate %s: %d wrong, %d lost, equal %v%s; repeat it with --seed %d --verbose\n",
			cfg.Scenario, report.Wrong, report.Lost, report.Equal, strings.Join(append([]string{""}, report.Unmet...), "; "), report.Seed)
		return errReported
	}
	return nil
}

func writeJSON(out io.Writer, file string, report *simulator.Report) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if file == "-" {
		_, err = out.Write(text)
		return err
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		return errors.Join(errors.New("the report could not be written; give another --json FILE"), err)
	}
	return nil
}

// rowsTo returns what writes a row of a report: its name and the rest.
func rowsTo(out io.Writer) func(name, format string, args ...any) {
	return func(name, format string, args ...any) {
		fmt.Fprintf(out, "%-14s "+format+"\n", append([]any{name}, args...)...)
	}
}

func printReport(out io.Writer, r *simulator.Report) {
	row := rowsTo(out)
	if r.City != nil || r.Notice != nil {
		return // nobody tapped, or none of what is measured counts
	}
	row(r.Scenario, "%d taps, %d answered, %d wrong, %d lost%s", r.Taps, r.Answered, r.Wrong, r.Lost, abandonedText(r.Abandoned))
	row("verdicts", "%d pass, %d refuse, %d manual lane", r.Verdicts["pass"], r.Verdicts["refuse"], r.Verdicts["manual"])
	l := r.LatencyUS
	if r.Line.Questions > 0 {
		row("latency", "p50 %.1f  p90 %.1f  p99 %.1f  max %.1f ms from the card held to a reader to its first sign", l.P50/1e3, l.P90/1e3, l.P99/1e3, l.Max/1e3)
	} else {
		row("latency", "p50 %.0f  p90 %.0f  p99 %.0f  max %.0f µs, of which the wire takes %.0f", l.P50, l.P90, l.P99, l.Max, r.WireUS)
	}
	row("decision", "p50 %.1f  p99 %.1f  p99.9 %.1f  max %.1f µs inside the box", r.DecisionUS.P50, r.DecisionUS.P99, r.DecisionUS.P999, r.DecisionUS.Max)
	row("propagation", "p50 %.1f  p99 %.1f ms from the centre's commit to the box", r.PropagationMS.P50, r.PropagationMS.P99)
	if r.CaughtUp.Entries > 0 {
		row("caught up", "%d entries with %d records in %.2f s once the link was back", r.CaughtUp.Entries, r.CaughtUp.Records, r.CaughtUp.Seconds)
	}
	if c := r.Line; c.Questions > 0 {
		row("line", "%d questions, %d asked again, %d unanswered; %d frames damaged, %d collided, %d unasked", c.Questions, c.Retries, c.Unanswered, c.Damaged, c.Collided, c.Babbled)
	}
	if r.Returns > 0 {
		row("returns", "%d times a reader was switched on again: it answered after %.0f ms (max %.0f), and served %.0f ms later (max %.0f)",
			r.Returns, r.FoundMS.P50, r.FoundMS.Max, r.BackMS.P50, r.BackMS.Max)
	}
	row("box = centre", "%v", r.Equal)
}

func abandonedText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d at a reader that lost its power", n)
}
