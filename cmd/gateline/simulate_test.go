package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"gateline/simulator"
)

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
