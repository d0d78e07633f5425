package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"gateline/simulator"
)

// Every story's report is shown, with its figures in their places.
func TestStoriesShown(t *testing.T) {
	for _, c := range []struct {
		report simulator.Report
		want   []string
	}{
		{simulator.Report{Bootstrap: &simulator.Bootstrap{Records: 7, KilledAt: 2048, Left: 2049, Live: 11}}, []string{"7 records", "2048 shards loaded; opened again it had 2049", "11 while it loaded"}},
		{simulator.Report{Repair: &simulator.Repair{Falsified: 6, Found: 5, Mended: 4, Other: 3}}, []string{"6 shards, 5 found, 4 mended; 3 other"}},
		{simulator.Report{Partition: []simulator.Outcome{{Fault: "thin", Level: 2}, {Fault: "hole", Seen: 20}}}, []string{"seen never, up again 0.0 s and level 2.0 s after it ended", "seen after 20.0 s"}},
		{simulator.Report{City: &simulator.City{Stations: 50, Plans: []simulator.FanoutPlan{{Stations: 550, First: "cpu", Relays: []int{}}, {Stations: 5000, First: "egress", Relays: []int{2, 9}}, {Stations: 6000, First: "memory"}}}},
			[]string{"50 boxes", "550 stations", "server is enough", "2 above 9", "cannot take two leafs"}},
	} {
		var out strings.Builder
		printStory(&out, &c.report)
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in:\n%s", want, out.String())
			}
		}
	}
}

// What a flag does not say, the scenario says; what it says, holds.
func TestScenarioDefaults(t *testing.T) {
	for _, c := range []struct {
		args     string
		scenario string
		protocol string
		taps     int
		rate     float64
		dead     int
	}{
		{"", "rush", "direct", 4000, 0, 0},
		{"--protocol osdp", "rush", "osdp", simulator.ReadersTaps, 0, 0},
		{"", "noise", "osdp", simulator.ReadersTaps, simulator.NoiseRate, 0},
		{"--error-rate 0.001 --taps 50", "noise", "osdp", 50, 0.001, 0},
		{"", "deadgate", "osdp", simulator.ReadersTaps, 0, 1},
		{"--stations 7", "city", "direct", 4000, 0, 0},
		{"--dead 0", "deadgate", "osdp", simulator.ReadersTaps, 0, 0},
	} {
		cmd, got := &cobra.Command{}, simulator.Config{}
		configFlags(cmd, &got)
		if err := cmd.ParseFlags(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		cfg := withDefaults(cmd.Flags().Changed, got, c.scenario)
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s %s: %v", c.scenario, c.args, err)
		}
		if cards, updates := 100_000, 250; c.scenario != "city" && (cfg.Cards != cards || cfg.Updates != updates) {
			t.Errorf("%s: %d cards, %d updates", c.scenario, cfg.Cards, cfg.Updates)
		}
		if cfg.Protocol != c.protocol || cfg.Taps != c.taps || cfg.ErrorRate != c.rate || cfg.Dead != c.dead || cfg.Seed == 0 || cfg.Gates != 8 {
			t.Errorf("%s %s: %+v", c.scenario, c.args, cfg)
		}
	}
}

func TestSimulateUsage(t *testing.T) {
	gateline(t, environment{}, nil, "simulate", "--help").want(t, 0, "deadgate", "")
	gateline(t, environment{}, nil, "simulate", "picnic").want(t, 2, "", "rush, offline, noise, deadgate, misfits")
	gateline(t, environment{}, nil, "simulate", "noise", "--protocol", "direct").want(t, 2, "", "protocol: scenario noise")
	gateline(t, environment{}, nil, "simulate", "rush", "--dead", "2").want(t, 2, "", "dead: ")
}
