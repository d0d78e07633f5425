package simulator

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

// smallConfig is a run of a second or two.
func smallConfig(scenario string) Config {
	return Config{Scenario: scenario, Gates: 3, Cards: 2000, Taps: 150, Baud: 115200, Protocol: "direct", Updates: 250, Seed: 1}
}

func TestRush(t *testing.T) {
	r, err := Run(t.Context(), smallConfig("rush"))
	if err != nil {
		t.Fatal(err)
	}
	checkRun(t, r, 150)
	if r.CaughtUp != (CaughtUp{}) || r.PropagationMS.P50 <= 0 || r.PropagationMS.P99 < r.PropagationMS.P50 {
		t.Errorf("caught up %+v, propagation %+v", r.CaughtUp, r.PropagationMS)
	}
}

// With the link cut for half of the run nothing is wrong or lost; the box
// passes on stale data meanwhile and is level at the end.
func TestOffline(t *testing.T) {
	cfg := smallConfig("offline")
	cfg.Taps = 600 // so that the cut is longer than offlineFresh
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	checkRun(t, r, cfg.Taps)
	if r.CaughtUp.Entries == 0 || r.CaughtUp.Records == 0 || r.CaughtUp.Seconds <= 0 || r.Reasons["R01"] == 0 {
		t.Errorf("caught up %+v, %d passed on stale data", r.CaughtUp, r.Reasons["R01"])
	}
}

func checkRun(t *testing.T, r *Report, taps int) {
	t.Helper()
	verdicts, reasons := 0, 0
	for _, n := range r.Verdicts {
		verdicts += n
	}
	for _, n := range r.Reasons {
		reasons += n
	}
	if !r.OK() || r.Taps != taps || r.Answered != taps || verdicts != taps || reasons != taps {
		t.Errorf("%d taps, %d answered, %d wrong, %d lost, equal %v, verdicts %v, reasons %v", r.Taps, r.Answered, r.Wrong, r.Lost, r.Equal, r.Verdicts, r.Reasons)
	}
	if l := r.LatencyUS; r.WireUS <= 0 || l.P50 < r.WireUS || l.P90 < l.P50 || l.P99 < l.P90 || l.Max < l.P99 {
		t.Errorf("latency %+v over a wire of %v", l, r.WireUS)
	}
	if d := r.DecisionUS; d.P50 <= 0 || d.P99 < d.P50 || d.P999 < d.P99 || d.Max < d.P999 || d.P50 > r.LatencyUS.Max {
		t.Errorf("decisions %+v", d)
	}
	if r.Verdicts["pass"] <= taps/2 || r.Verdicts["refuse"] == 0 || r.Verdicts["manual"] == 0 {
		t.Errorf("not a city's mix: %v", r.Verdicts)
	}
}

// quiet returns cfg as Run completes it.
func quiet(cfg Config) Config {
	cfg.Progress, cfg.Log = func(string, int, int) {}, slog.New(slog.DiscardHandler)
	return cfg
}

// play is Run with something done to the world before the riders come.
func play(t *testing.T, cfg Config, sabotage func(*run)) (*Report, error) {
	t.Helper()
	s := newRun(quiet(cfg))
	w, err := openWorld(t.Context(), s.worldConfig())
	if err != nil {
		t.Fatal(err)
	}
	s.w = w
	defer func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}()
	facts := policyFacts{effective: time.Now().Add(-time.Hour).Truncate(time.Second), window: 2, fresh: 15 * time.Minute, stale: 24 * time.Hour}
	if err := errors.Join(w.setPolicy(facts), w.load(rand.New(rand.NewPCG(1, 1)), func(int, int) {})); err != nil {
		t.Fatal(err)
	}
	sabotage(s)
	report := newReport(cfg.Scenario, cfg.Seed)
	if err := s.rush(report); err != nil {
		return nil, w.cause(err)
	}
	if report.Equal, _, err = w.equal(); err != nil {
		t.Fatal(err)
	}
	report.addTaps(w.model, slices.Concat(s.taps...), cfg.Baud)
	return report, nil
}

// A world in which the box goes by rules that the city did not make is found
// out, and so is a single false answer.
func TestWrongAnswersAreFound(t *testing.T) {
	var s *run
	r, err := play(t, smallConfig("rush"), func(of *run) { s = of })
	if err != nil || !r.OK() {
		t.Fatalf("without sabotage: %+v, %v", r, err)
	}
	falsified := slices.Concat(s.taps...)
	i := slices.IndexFunc(falsified, func(t tapRecord) bool { return t.got.verdict == gateway.VerdictPass })
	falsified[i] = falsified[i].told(gateway.VerdictRefuse, gateway.R10)
	one := newReport("rush", 1)
	one.addTaps(s.w.model, falsified, 115200)
	if one.Wrong != 1 || one.OK() {
		t.Errorf("one false answer of %d: %d wrong", len(falsified), one.Wrong)
	}
	r, err = play(t, smallConfig("rush"), func(s *run) {
		doc := gateway.DefaultPolicy(time.Now().Add(-time.Minute).Truncate(time.Second))
		doc.Window = 1 // the model is not told
		done, err := s.w.client.SetPolicy(s.w.ctx, doc)
		if err == nil {
			err = s.w.caughtUp(done.Number, patience)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
	if err != nil || r.Wrong == 0 || r.Lost != 0 || !r.Equal || r.OK() {
		t.Errorf("a window the model does not know: %+v, %v", r, err)
	}
}

// equal sees one record that differs, one too few and one too many.
func TestEqual(t *testing.T) {
	cfg := smallConfig("rush")
	cfg.Updates, cfg.Taps = 0, cfg.Gates
	_, err := play(t, cfg, func(s *run) {
		w := s.w
		do := func(what string, same bool, f func() (uint64, error)) {
			t.Helper()
			if _, err := f(); err != nil {
				t.Fatal(err)
			}
			if got, _, err := w.equal(); err != nil || got != same {
				t.Errorf("%s: equal %v, %v", what, got, err)
			}
		}
		bound, unbound := slices.Index(w.model.bound, true), slices.Index(w.model.bound, false)
		person, _ := owner(bound)
		other := status{class: gateway.ClassRed, anchor: 1}
		w.link.set(true) // what the centre is told from here on, the box does not know
		do("a status differs", false, func() (uint64, error) { return w.report(map[int]status{person: other}) })
		do("the status is back", true, func() (uint64, error) { return w.report(map[int]status{person: w.model.health[person]}) })
		do("the box has one too many", false, func() (uint64, error) { return w.bind(bound, false) })
		do("the binding is back", true, func() (uint64, error) { return w.bind(bound, true) })
		do("the box has one too few", false, func() (uint64, error) { return w.bind(unbound, true) })
		w.link.set(false)
		do("the box has caught up", true, func() (uint64, error) { return 0, w.caughtUp(w.centre.FeedNumber(), patience) })
	})
	if err != nil {
		t.Error(err)
	}
}

// A part that fails ends the run, and the error says which.
func TestPartFails(t *testing.T) {
	_, err := play(t, smallConfig("offline"), func(s *run) {
		broken, err := newGate(9600, s.w.box.Position)
		if err == nil {
			err = broken.wire.close()
		}
		if err != nil {
			t.Error(err)
		}
		s.w.gates[1] = broken
	})
	if err == nil || !strings.Contains(err.Error(), "gate on /dev/pts/") {
		t.Errorf("got %v", err)
	}
}

// However far a run is, the end of its context ends it, and nothing is left.
func TestRunCancelled(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for name, when := range map[string]func(phase string, done int) bool{
		"at once":         nil,
		"while loading":   func(phase string, done int) bool { return phase == "load" && done >= 1000 },
		"while they tap":  func(phase string, done int) bool { return phase == "taps" && done >= 10 },
		"while it is cut": func(phase string, done int) bool { return phase == "taps" && done >= 75 },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cfg := smallConfig("offline")
		if when == nil {
			cancel()
		} else {
			cfg.Progress = func(phase string, done, _ int) {
				if when(phase, done) {
					cancel()
				}
			}
		}
		ended := make(chan error, 1)
		go func() {
			_, err := Run(ctx, cfg)
			ended <- err
		}()
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		case <-time.After(patience):
			t.Fatalf("%s: the run goes on", name)
		}
		cancel()
		if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
			t.Errorf("%s: %d things are left, %v", name, len(left), err)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, s := range Scenarios() {
		if err := DefaultConfig(s.Name).Validate(); err != nil || s.Shows == "" {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
	bad := Config{Scenario: "picnic", Gates: 0, Cards: 99, Taps: -1, Baud: 115201, Updates: -1}
	_, err := Run(t.Context(), bad)
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{`scenario "picnic"`, "gates: 0", "cards: 99", "taps: -1", "baud: 115201", "updates: -1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	for name, change := range map[string]func(*Config){
		"gates": func(c *Config) { c.Gates = MaxGates + 1 }, "cards": func(c *Config) { c.Cards = MaxCards + 1 },
		"taps": func(c *Config) { c.Taps = c.Gates - 1 }, "baud": func(c *Config) { c.Baud = 300 }, "updates": func(c *Config) { c.Updates = MaxUpdates + 1 },
		"pace": func(c *Config) { c.Pace = -1 }, "error-rate": func(c *Config) { c.ErrorRate = 1e-5 }, "echo": func(c *Config) { c.Echo = true },
		"dead": func(c *Config) { c.Dead = 1 }, "protocol": func(c *Config) { c.Scenario = ScenarioNoise },
		"link-rate": func(c *Config) { c.LinkRate = minLinkRate }, "outage": func(c *Config) { c.Outage = MaxOutage + 1 },
		"stations": func(c *Config) { c.Scenario, c.Span = ScenarioCity, time.Second },
		"span":     func(c *Config) { c.Scenario, c.Stations = ScenarioCity, 1 },
	} {
		cfg := smallConfig("rush")
		change(&cfg)
		if err := cfg.Validate(); err == nil || !strings.HasPrefix(err.Error(), name+": ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
