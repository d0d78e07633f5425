package drivers_test

import (
	"testing"
	"time"

	"gateline/drivers"
)

// A gate that is refused is asked only now and then, and is not silent between.
func TestGateState(t *testing.T) {
	heard := time.Unix(1_000_000, 0)
	var never drivers.Gate
	if got := never.State(heard); got != drivers.GateSilent {
		t.Errorf("never heard: %v", got)
	}
	for _, c := range []struct {
		state drivers.GateState
		limit time.Duration
	}{{drivers.GateStarting, drivers.SilentAfter}, {drivers.GateServing, drivers.SilentAfter}, {drivers.GateRefused, drivers.RefusedSilentAfter}} {
		var g drivers.Gate
		g.MarkHeard(heard, c.state)
		if got := g.State(heard.Add(c.limit)); got != c.state {
			t.Errorf("%v: %v at the limit", c.state, got)
		}
		if got := g.State(heard.Add(c.limit + 1)); got != drivers.GateSilent {
			t.Errorf("%v: %v above the limit", c.state, got)
		}
	}
}
