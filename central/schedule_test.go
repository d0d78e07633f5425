package central

import (
	"strings"
	"testing"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
)

func at(day string) time.Time {
	t, err := time.ParseInLocation(time.DateOnly, day, gateway.Zone)
	if err != nil {
		panic(err) // a fault of the test itself
	}
	return t
}

func policyFrom(day string, window uint8) policyCommand {
	p := gateway.DefaultPolicy(at(day))
	p.Window = window
	return policyCommand{policy: p}
}

func TestScheduleKeepsPrestaged(t *testing.T) {
	r := newState(rules.DefaultRules()) // noon is on 2022-05-31
	for _, c := range []command{policyFrom("2022-05-28", 2), policyFrom("2022-06-06", 3)} {
		if d := do(t, r, c); d.refusal != nil || len(d.events) != 1 {
			t.Fatal(d.refusal, len(d.events))
		}
	}
	if d := do(t, r, policyFrom("2022-06-06", 3)); d.refusal != nil || len(d.events) != 0 {
		t.Fatalf("the same document again: %d events, %v", len(d.events), d.refusal)
	}
	do(t, r, stationCommand{station: "xidan", mode: gateway.ModeObserve})
	do(t, r, stationCommand{station: "fuxingmen", mode: gateway.ModeAdvisory, from: at("2022-06-09")})
	want := []struct {
		moment           string
		window           uint8
		xidan, fuxingmen gateway.Mode
	}{
		{"2022-06-01", 2, gateway.ModeObserve, gateway.ModeEnforce},
		{"2022-06-08", 3, gateway.ModeObserve, gateway.ModeEnforce},
		{"2022-06-09", 3, gateway.ModeObserve, gateway.ModeAdvisory},
	}
	for _, w := range want {
		xidan := r.schedule.ForStation("xidan").At(at(w.moment))
		fuxingmen := r.schedule.ForStation("fuxingmen").At(at(w.moment))
		if xidan.Window != w.window || xidan.Mode != w.xidan || fuxingmen.Mode != w.fuxingmen {
			t.Errorf("%s: window %d, xidan %v, fuxingmen %v", w.moment, xidan.Window, xidan.Mode, fuxingmen.Mode)
		}
	}
	if n := len(r.schedule.Policies); n != 3 {
		t.Errorf("%d documents, want 3", n)
	}
	version := r.schedule.Version
	if d := do(t, r, stationCommand{station: "xidan", mode: gateway.ModeObserve}); len(d.events) != 0 {
		t.Error("the same mode again is an event")
	}
	do(t, r, stationCommand{station: "xidan"})
	if got := r.schedule.ForStation("xidan").At(at("2022-06-01")).Mode; got != gateway.ModeEnforce || r.schedule.Version != version+1 {
		t.Errorf("default gives %v in version %d", got, r.schedule.Version)
	}
}

func TestScheduleFromBeforeFirstDocument(t *testing.T) {
	r := newState(rules.DefaultRules())
	do(t, r, policyFrom("2022-06-06", 3)) // nothing is in force yet
	if d := do(t, r, stationCommand{station: "xidan", mode: gateway.ModeOff, from: at("2022-06-01")}); d.refusal != nil {
		t.Fatal(d.refusal)
	}
	if n := len(r.schedule.Policies); n != 1 || r.schedule.Policies[0].Stations["xidan"] != gateway.ModeOff {
		t.Errorf("%d documents, %v", n, r.schedule.Policies[0].Stations)
	}
}

func TestScheduleIsBounded(t *testing.T) {
	r := newState(rules.DefaultRules())
	do(t, r, policyFrom("2022-05-28", 2))
	for day := 1; day < gateway.MaxPolicies; day++ {
		p := policyFrom("2022-06-01", 2)
		p.policy.Effective = p.policy.Effective.AddDate(0, 0, day)
		if d := do(t, r, p); d.refusal != nil {
			t.Fatal(d.refusal)
		}
	}
	for _, c := range []command{policyFrom("2022-07-01", 2), stationCommand{station: "xidan", mode: gateway.ModeOff, from: at("2022-07-01")}} {
		if d := do(t, r, c); codeOf(d.refusal) != CodeBadPolicy || len(d.events) != 0 {
			t.Errorf("%T: %v", c, d.refusal)
		}
	}
}

func TestScheduleMapsAreNotShared(t *testing.T) {
	r := newState(rules.DefaultRules())
	do(t, r, policyFrom("2022-05-28", 2))
	do(t, r, stationCommand{station: "xidan", mode: gateway.ModeOff})
	old := r.schedule
	do(t, r, stationCommand{station: "xidan", mode: gateway.ModeEnforce})
	if old.Policies[0].Stations["xidan"] != gateway.ModeOff {
		t.Error("a schedule that others may hold was changed")
	}
}

func TestHideNumbers(t *testing.T) {
	for _, secret := range []string{numberIn(card(1)), "10014", "04A1B2C3D4E5F607", "abcdefabcdefabcd"} {
		if got := hideNumbers("x " + secret + " y"); strings.Contains(got, secret) {
			t.Errorf("%s stands in %q", secret, got)
		}
	}
	for _, plain := range []string{"effective: missing, give an instant such as 2022-06-01T00:00:00+08:00", "window: 99 days, not 1 … 30", "缺少"} {
		if got := hideNumbers(plain); got != plain {
			t.Errorf("%q became %q", plain, got)
		}
	}
}
