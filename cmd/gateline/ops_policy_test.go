package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

// Whatever a document says otherwise is shown: no field of a policy is left out.
func TestPolicyChangeShowsEveryField(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, gateway.Zone)
	before := gateway.DefaultPolicy(now.Add(-time.Hour))
	s := &gateway.Schedule{Version: 1, Policies: []gateway.Policy{before}}
	kind := reflect.TypeFor[gateway.Policy]()
	for i := range kind.NumField() {
		name := kind.Field(i).Name
		if name == "Effective" {
			continue
		}
		after := before
		switch v := reflect.ValueOf(&after).Elem().Field(i).Addr().Interface().(type) {
		case *gateway.Mode:
			*v = gateway.ModeOff
		case *map[string]gateway.Mode:
			*v = map[string]gateway.Mode{"xidan": gateway.ModeOff}
		case *uint8:
			*v++
		case *gateway.Unit:
			*v = gateway.UnitRollingHour
		case *gateway.Duration:
			*v += gateway.Duration(time.Second)
		case *bool:
			*v = !*v
		case *time.Time:
			*v = now.Add(time.Hour)
		case *gateway.AfterSunset:
			*v = gateway.AfterSunsetManual
		case *gateway.Texts:
			v.Refuse.ZH, v.NotFound.EN, v.Manual.ZH, v.TopUp.EN = "甲", "b", "丙", "d"
		default:
			t.Fatalf("%s: what is another value of a %T?", name, v)
		}
		c := changeOf(s, &after, now)
		want := 1
		if name == "Texts" {
			want = 4
		}
		if got := len(c.Fields) + len(c.Stations); got != want || c.nothing() {
			t.Errorf("%s: %d changes shown, not %d", name, got, want)
		}
	}
	for name, c := range map[string]struct {
		before, after map[string]gateway.Mode
		mode          gateway.Mode
		want          string
	}{
		"a station":     {map[string]gateway.Mode{"xidan": gateway.ModeOff}, nil, gateway.ModeEnforce, "station xidan on enforce"},
		"the document":  {nil, nil, gateway.ModeObserve, "mode enforce"},
		"nothing":       {nil, nil, gateway.ModeEnforce, ""},
		"none any more": {nil, map[string]gateway.Mode{"xidan": gateway.ModeOff}, gateway.ModeEnforce, ""},
		"what stays so": {map[string]gateway.Mode{"xidan": gateway.ModeEnforce}, nil, gateway.ModeEnforce, ""},
	} {
		from, to := before, before
		from.Stations, from.Mode, to.Stations = c.before, c.mode, c.after
		if got := changeOf(&gateway.Schedule{Policies: []gateway.Policy{from}}, &to, now).enforces(); got != c.want {
			t.Errorf("%s: %q is turned to enforce, not %q", name, got, c.want)
		}
	}
	same := before
	if c := changeOf(s, &same, now); !c.nothing() || !strings.Contains(c.text(now), "says already") {
		t.Errorf("the same document: %s", c.text(now))
	}
}

// Against which document, from when and until when.
func TestPolicyChange(t *testing.T) {
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, gateway.Zone)
	at := func(hours int, mode gateway.Mode, stations map[string]gateway.Mode) gateway.Policy {
		p := gateway.DefaultPolicy(now.Add(time.Duration(hours) * time.Hour))
		p.Mode, p.Stations = mode, stations
		return p
	}
	xidan := func(m gateway.Mode) map[string]gateway.Mode { return map[string]gateway.Mode{"xidan": m} }
	s := &gateway.Schedule{Version: 1, Policies: []gateway.Policy{
		at(-2, gateway.ModeAdvisory, xidan(gateway.ModeObserve)), at(3, gateway.ModeEnforce, nil)}}
	for name, c := range map[string]struct {
		s      *gateway.Schedule
		p      gateway.Policy
		want   string
		absent string
	}{
		"the first document": {nil, at(-1, gateway.ModeEnforce, xidan(gateway.ModeOff)),
			"a document from 2026-06-01 11:00:00 +08:00, in force at once\nno document holds then; all of it is new:\n  mode                     enforce\n", "→"},
		"at once": {s, at(-1, gateway.ModeEnforce, nil),
			"in force at once, until the one from 2026-06-01 15:00:00 +08:00\nagainst the one from 2026-06-01 10:00:00 +08:00:\n  mode                     advisory → enforce\n  station xidan            observe → enforce\n", ""},
		"a station keeps what it has": {s, at(-1, gateway.ModeOff, xidan(gateway.ModeObserve)), "advisory → off\n", "xidan"},
		"pre-staged after the next":   {s, at(26, gateway.ModeOff, nil), ", in 1d2h\nagainst the one from 2026-06-01 15:00:00 +08:00:\n  mode                     enforce → off\n", "until"},
		"in the place of one":         {s, at(3, gateway.ModeOff, nil), "it replaces the document of that instant:\n  mode                     enforce → off\n", "against"},
		"too late":                    {s, at(-3, gateway.ModeOff, nil), "that is never in force: the one from 2026-06-01 10:00:00 +08:00 has followed it\n", "at once"},
		"the same for longer":         {s, at(5, gateway.ModeEnforce, nil), "it says the same as the one from 2026-06-01 15:00:00 +08:00", "→"},
	} {
		text := changeOf(c.s, &c.p, now).text(now)
		if !strings.Contains(text+"\n", c.want) || c.absent != "" && strings.Contains(text, c.absent) {
			t.Errorf("%s:\n%s", name, text)
		}
	}
}

// A draft against a real centre, with what its stations have answered.
func TestOpsPolicyDraft(t *testing.T) {
	s, env := startCentral(t, centralConfig(t))
	leafs := s.until(`leafs=(\S+)`)
	present := writeFile(t, "present.json", `{"effective":"2022-05-28T00:00:00+08:00","mode":"observe","stations":{"xidan":"enforce"}}`)
	draft := writeFile(t, "draft.json", `{"effective":"2099-05-28T00:00:00+08:00","mode":"enforce"}`)
	show := func() result { return gateline(t, env, nil, "ops", "policy", "show", draft) }
	show().want(t, 0, "no document holds then; all of it is new:", "")
	gateline(t, env, nil, "ops", "policy", "set", "--yes", present).want(t, 0, "all of it is new:\n  mode                     observe\n", "")
	show().want(t, 0, "  mode                     observe → enforce\nno station has told what it answered from ", "")

	// The hour that is over by the centre's clock; the next one too, should it end now.
	hour := time.Now().UTC().Truncate(time.Hour)
	sendHours(t, leafs, "xizhimen", hour.Add(-time.Hour), hour)
	var r result
	poll(t, func() bool {
		r = show()
		return strings.Contains(r.out, "told by 1 of 1 station:")
	}, func() string { return r.out + r.err })
	r.want(t, 0, "given                    pass 41, refuse 0, manual 0  (R00 41)\n  would be given           pass 0, refuse 2, manual 0  (R10 2)\n", "")
	var a answer
	r = gateline(t, env, nil, "ops", "policy", "show", "--json", draft)
	if err := json.Unmarshal([]byte(r.out), &a); err != nil || a.Change == nil || a.Change.Answers == nil || a.Change.Answers.Answers["R00"] != 41 || a.Change.Answers.Observed["R10"] != 2 {
		t.Errorf("%v\n%s", err, r.out)
	}
	if len(a.Change.Fields) != 1 || len(a.Change.Stations) != 0 {
		t.Errorf("xidan enforces before and after: %+v", a.Change)
	}
	gateline(t, env, nil, "ops", "policy", "show").want(t, 0, "1 document\n", "") // nothing was set
	walk(t, env, []step{
		{args: words("policy show /nonexistent.json"), code: 1, err: "give the path of a policy document"},
		{args: words("policy prestage --yes " + present), code: 2, err: "which has passed"},
		{args: words("policy prestage " + draft), code: 2, err: "From 2099-05-28 00:00:00 +08:00 riders are refused: mode enforce; say --yes"},
		{args: words("policy prestage --yes " + draft), out: "set: enforce from 2099-05-28"},
		{args: words("policy sunset 2098-01-01"), code: 2, err: "gates answer everybody with pass; say --yes"},
		{args: words("policy sunset --yes 2021-01-01"), code: 1, err: "sunset: not after effective"},
		{args: words("policy sunset --yes --after manual 2098-01-01"), out: "  after_sunset             pass → manual\nset: observe from 2022-05-28", err: "note: 1 document later in the schedule with a sunset of its own"},
		{args: words("policy show"), out: "  sunset        2098-01-01 00:00:00 +08:00\n  after sunset  manual"},
		{args: words("policy sunset --yes none"), out: "sunset                   2098-01-01 00:00:00 +08:00 → never", err: "note: "},
		{args: words("policy sunset --yes 2022-06-01"), out: "set: ", err: "note: "},
		{args: words("policy show"), out: "(in force, past its sunset)"},
	})
}
