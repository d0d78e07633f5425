package fleet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
	"gateline/replication"
)

var start = time.Date(2022, 5, 30, 8, 0, 0, 0, gateway.Zone)

// seen is a station that is well: it reported a second ago and stands at the
// feed's last entry.
func seen(name string, now time.Time) Seen {
	r := &replication.Report{
		Station: name, Usable: true, Mode: "enforce", PolicyVersion: 1, FreshLimitS: 900, Clock: replication.ReportClock{Trusted: true},
		Position: replication.ReportPosition{Epoch: 1, Number: 1000, Watermark: now.Add(-2 * time.Second)},
		Gates:    replication.ReportGates{Serving: 2, Silent: 1},
	}
	return Seen{Report: r, Received: now.Add(-time.Second), Feed: Feed{Number: 1000, Time: now.Add(-2 * time.Second)}, Match: MatchSame}
}

func TestJudge(t *testing.T) {
	now := start.Add(time.Hour)
	for name, c := range map[string]struct {
		change func(*Seen)
		want   State
		why    string
	}{
		"well":             {func(*Seen) {}, OK, ""},
		"one gate silent":  {func(s *Seen) { s.Report.Gates = replication.ReportGates{Silent: 3} }, OK, ""},
		"ahead by a blink": {func(s *Seen) { s.Feed.Number = 999 }, OK, ""},
		"100 entries":      {func(s *Seen) { s.Feed.Number = 1100 }, OK, ""},
		"101 entries":      {func(s *Seen) { s.Feed.Number = 1101 }, Behind, "101 entries, 0s"},
		"30 s":             {func(s *Seen) { s.Feed.Number++; s.Feed.Time = s.Feed.Time.Add(30 * time.Second) }, OK, ""},
		"31 s":             {func(s *Seen) { s.Feed.Number++; s.Feed.Time = s.Feed.Time.Add(31 * time.Second) }, Behind, "1 entries, 31s"},
		"mode off":         {func(s *Seen) { s.Report.Mode = "off" }, OK, ""},
		"no policy":        {func(s *Seen) { s.Report.Mode = "" }, Faulty, "no policy"},
		"clock":            {func(s *Seen) { s.Report.Clock = replication.ReportClock{Why: "unset"} }, Faulty, "clock not trusted: unset"},
		"loading shards": {func(s *Seen) {
			s.Report.Usable = false
			s.Report.Shards = replication.ReportShards{Loaded: 8, ToLoad: 4096}
		}, Loading, "8 of 4096"},
		"shards differ":    {func(s *Seen) { s.Report.Shards = replication.ReportShards{Mismatches: 2, Repairs: 1, Differ: 1} }, Disagrees, "1 shards"},
		"disk":             {func(s *Seen) { s.Report.StoreFailed = true }, Faulty, "disk"},
		"fault and behind": {func(s *Seen) { s.Report.StoreFailed = true; s.Feed.Number = 5000 }, Faulty, "disk"},
		"fresh":            {func(s *Seen) { s.Report.Position.Watermark = s.Received.Add(-900 * time.Second) }, OK, ""},
		"stale":            {func(s *Seen) { s.Report.Position.Watermark = s.Received.Add(-901 * time.Second) }, Stale, "15m1s old, fresh for 15m0s"},
		"no limit of its own": {func(s *Seen) {
			s.Report.FreshLimitS, s.Report.Position.Watermark = 0, s.Received.Add(-16*time.Minute)
		}, Stale, "16m0s old"},
		"loading": {func(s *Seen) { s.Report.Usable = false; s.Feed.Number = 1_000_000 }, Loading, "999000 entries to go"},
		"empty": {func(s *Seen) {
			s.Report.Usable, s.Match, s.Report.Position = false, MatchUnknown, replication.ReportPosition{}
		}, Loading, "1000 entries to go"},
		"30 s quiet":        {func(s *Seen) { s.Received = now.Add(-30 * time.Second) }, OK, ""},
		"31 s quiet":        {func(s *Seen) { s.Received = now.Add(-31 * time.Second) }, Silent, "no report for 31s"},
		"quiet and old":     {func(s *Seen) { s.Received = now.Add(-time.Minute); s.Report.Usable = false }, Silent, "1m0s"},
		"heard long before": {func(s *Seen) { s.Received = start.Add(-time.Hour) }, Silent, "2h0m0s"},
		"cannot compare":    {func(s *Seen) { s.Match = MatchUnknown }, OK, ""},
		"other entry":       {func(s *Seen) { s.Match = MatchOther }, Disagrees, "its entry 1000 is not the centre's"},
		"ahead":             {func(s *Seen) { s.Match = MatchAhead; s.Feed.Number = 900 }, Disagrees, "applied entry 1000, and the feed ends at 900"},
		"foreign":           {func(s *Seen) { s.Match = MatchForeign }, Disagrees, "another epoch"},
		"other and quiet":   {func(s *Seen) { s.Match = MatchOther; s.Received = now.Add(-time.Hour) }, Disagrees, "1000"},
	} {
		s := seen("a", now)
		c.change(&s)
		got, why := Judge(&s, Limits{}, start, now)
		if got != c.want || !strings.Contains(why, c.why) || (why == "") != (got == OK) {
			t.Errorf("%s: %v, %q; want %v, %q", name, got, why, c.want, c.why)
		}
	}
}

// A centre that was just started has heard nobody yet, and does not cry at once.
func TestJudgeAfterStart(t *testing.T) {
	s := seen("a", start.Add(-time.Hour))
	for after, want := range map[time.Duration]State{0: Expected, 30 * time.Second: Expected, 31 * time.Second: Silent} {
		if got, _ := Judge(&s, Limits{}, start, start.Add(after)); got != want {
			t.Errorf("after %v: %v, want %v", after, got, want)
		}
		if want == Silent {
			want = Disagrees // what it said before may have changed, until it is known to be silent
		}
		other := s
		other.Match = MatchOther
		if got, _ := Judge(&other, Limits{}, start, start.Add(after)); got != want {
			t.Errorf("after %v, with another entry: %v, want %v", after, got, want)
		}
	}
}

func TestLookTellsOnce(t *testing.T) {
	f := New(Limits{}, start)
	now := start
	steps := []struct {
		after  time.Duration
		change func(*Seen) // nil = no report
		want   string
	}{
		{time.Second, func(*Seen) {}, ""},
		{5 * time.Second, func(s *Seen) { s.Feed.Number = 2000 }, ""},
		{9 * time.Second, func(s *Seen) { s.Feed.Number = 3000 }, ""},
		{time.Second, nil, "ok behind"},
		{time.Minute, func(s *Seen) { s.Feed.Number = 4000 }, ""}, // told already
		{time.Second, func(*Seen) {}, ""},
		{5 * time.Second, func(s *Seen) { s.Feed.Number = 2000 }, ""}, // a state that does not last
		{time.Second, func(*Seen) {}, ""},
		{10 * time.Second, func(*Seen) {}, "behind ok"},
		{time.Minute, func(*Seen) {}, ""},
		{31 * time.Second, nil, ""},
		{10 * time.Second, nil, "ok silent"},
		{time.Minute, nil, ""},
		{time.Minute, func(s *Seen) { s.Match = MatchOther }, ""},
		{10 * time.Second, func(s *Seen) { s.Match = MatchOther }, "silent disagrees"},
		{time.Second, func(*Seen) {}, ""},
		{10 * time.Second, func(*Seen) {}, "disagrees ok"},
	}
	for i, step := range steps {
		now = now.Add(step.after)
		if step.change != nil {
			s := seen("a", now)
			step.change(&s)
			if err := f.Take(s); err != nil {
				t.Fatal(err)
			}
		}
		var got []string
		for _, c := range f.Look(now) {
			got = append(got, c.From.String()+" "+c.To.String())
			if c.To.Alarming() != (c.To.Next() != "") || c.To.Alarming() != (c.Why != "") {
				t.Errorf("step %d: %v without a why or a next step", i, c)
			}
		}
		if strings.Join(got, ",") != step.want {
			t.Errorf("step %d: told %q, want %q", i, got, step.want)
		}
	}
	if err := errors.Join(f.Forget("a"), f.Forget("b")); !errors.Is(err, ErrUnknown) || len(f.Look(now.Add(time.Hour))) != 0 {
		t.Errorf("after forgetting: %v", err)
	}
}

func TestRows(t *testing.T) {
	now := start.Add(time.Hour)
	f := New(Limits{}, start)
	for i := range replication.MaxStations {
		s := seen(fmt.Sprintf("s-%05d", i), now)
		if i == 4711 {
			s.Match = MatchOther
		}
		if err := f.Take(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Take(seen("one-more", now)); !errors.Is(err, ErrFull) {
		t.Errorf("one station too many: %v", err)
	}
	if err := f.Take(seen("s-00000", now)); err != nil {
		t.Errorf("a station that is known: %v", err)
	}
	var all []Row
	for after, more := "", true; more; {
		var rows []Row
		rows, more = f.Rows(after, 1000, now)
		all = append(all, rows...)
		after = all[len(all)-1].Station
	}
	if len(all) != replication.MaxStations {
		t.Errorf("%d rows in all", len(all))
	}
	if rows, more := f.Rows("s-05", 2, now); len(rows) != 2 || rows[0].Station != "s-05000" || !more {
		t.Errorf("after a name that is none: %v %v", rows, more)
	}
	if rows, more := f.Rows("t", 2, now); len(rows) != 0 || more {
		t.Errorf("after the last: %v %v", rows, more)
	}
	slices.SortFunc(all, Worst)
	if r := all[0]; r.Station != "s-04711" || r.State != Disagrees || *r.AgeS != 2 || r.ReportedS != 1 || all[1].Station != "s-00000" {
		t.Errorf("the worst is %+v", r)
	}
}

func TestStatesAreNamed(t *testing.T) {
	if len(States()) != len(stateNames) {
		t.Fatal("a state has no name")
	}
	for i, s := range States() {
		text, err := s.MarshalText()
		var back State
		if err != nil || int(s) != i || back.UnmarshalText(text) != nil || back != s {
			t.Errorf("%d: %s, %v", i, text, err)
		}
	}
	if new(State).UnmarshalText([]byte("fine")) == nil {
		t.Error("a state that is none is read")
	}
}
