package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"

	"github.com/spf13/cobra"

	"gateline/simulator"
)

func newSimulate() *cobra.Command {
	cfg := simulator.DefaultConfig()
	var jsonFile string
	var verbose bool
	c := &cobra.Command{
		Use:   "simulate SCENARIO",
		Short: "Run a simulated station and centre and judge every answer",
		Long: "Runs the production assembly of box and centre with simulated gates on paced\n" +
			"pseudo-terminals, and judges every answer by a model of its own.\n\nScenarios:\n" + scenarioList() +
			"\nExit status 1 where an answer was wrong or lost, or box and centre differ at the end.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg.Scenario = args[0]
			if cfg.Seed == 0 {
				cfg.Seed = rand.Uint64N(1_000_000) + 1
			}
			if err := cfg.Validate(); err != nil {
				return errUsage{err}
			}
			return simulate(cmd, cfg, jsonFile, verbose)
		},
	}
	f := c.Flags()
	f.IntVar(&cfg.Gates, "gates", cfg.Gates, "gates or readers")
	f.IntVar(&cfg.Cards, "cards", cfg.Cards, "credentials in the city")
	f.IntVar(&cfg.Taps, "taps", cfg.Taps, "taps in all")
	f.StringVar(&cfg.Protocol, "protocol", cfg.Protocol, "direct, each gate on a line of its own, or osdp, up to 32 readers on a line")
	f.BoolVar(&cfg.Secure, "secure", false, "with osdp: Secure Channel")
	f.DurationVar(&cfg.Turnaround, "turnaround", cfg.Turnaround, "with osdp: how long a reader takes to answer")
	f.IntVar(&cfg.Baud, "baud", cfg.Baud, "speed of the lines")
	f.IntVar(&cfg.Updates, "updates", cfg.Updates, "changes a second at the centre meanwhile")
	f.Uint64Var(&cfg.Seed, "seed", 0, "seed of the run; 0 draws one")
	f.StringVar(&jsonFile, "json", "", "write the report as one JSON object to this file, - for standard output")
	f.BoolVarP(&verbose, "verbose", "v", false, "show the log of box and centre on standard error")
	return c
}

func scenarioList() (text string) {
	for _, s := range simulator.Scenarios {
		text += fmt.Sprintf("  %-8s %s\n", s.Name, s.Shows)
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
	}
	if err := writeJSON(out, jsonFile, report); err != nil {
		return err
	}
	if !report.OK() {
		fmt.Fprintf(errOut, "gateline: simulate %s: %d wrong, %d lost, equal %v; repeat it with --seed %d --verbose\n",
			cfg.Scenario, report.Wrong, report.Lost, report.Equal, report.Seed)
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

func printReport(out io.Writer, r *simulator.Report) {
	fmt.Fprintf(out, "%-14s %d taps, %d answered, %d wrong, %d lost\n", r.Scenario, r.Taps, r.Answered, r.Wrong, r.Lost)
	fmt.Fprintf(out, "%-14s %d pass, %d refuse, %d manual lane\n", "verdicts", r.Verdicts["pass"], r.Verdicts["refuse"], r.Verdicts["manual"])
	fmt.Fprintf(out, "%-14s p50 %.0f  p90 %.0f  p99 %.0f  max %.0f µs, of which the wire takes %.0f\n", "latency",
		r.LatencyUS.P50, r.LatencyUS.P90, r.LatencyUS.P99, r.LatencyUS.Max, r.WireUS)
	fmt.Fprintf(out, "%-14s p50 %.1f  p99 %.1f  p99.9 %.1f  max %.1f µs inside the box\n", "decision",
		r.DecisionUS.P50, r.DecisionUS.P99, r.DecisionUS.P999, r.DecisionUS.Max)
	fmt.Fprintf(out, "%-14s p50 %.1f  p99 %.1f ms from the centre's commit to the box\n", "propagation", r.PropagationMS.P50, r.PropagationMS.P99)
	if r.CaughtUp.Entries > 0 {
		fmt.Fprintf(out, "%-14s %d entries with %d records in %.2f s once the link was back\n", "caught up", r.CaughtUp.Entries, r.CaughtUp.Records, r.CaughtUp.Seconds)
	}
	fmt.Fprintf(out, "%-14s %v\n", "box = centre", r.Equal)
}
