package gateway

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestScheduleAt(t *testing.T) {
	s := &Schedule{Policies: []Policy{DefaultPolicy(at("2022-06-01 00:00:00")), DefaultPolicy(at("2022-06-06 00:00:00"))}}
	for _, c := range []struct {
		now  string
		want int // index, -1 = none
	}{
		{"2022-05-31 23:59:59", -1}, {"2022-06-01 00:00:00", 0}, {"2022-06-05 23:59:59", 0},
		{"2022-06-06 00:00:00", 1}, {"2030-01-01 00:00:00", 1},
	} {
		got := s.At(at(c.now))
		if c.want < 0 && got != nil || c.want >= 0 && got != &s.Policies[c.want] {
			t.Errorf("%s: not document %d", c.now, c.want)
		}
	}
	if (*Schedule)(nil).At(noon) != nil || (*Schedule)(nil).ForStation("a") != nil {
		t.Error("a nil schedule holds a document")
	}
}

func TestSchedulePut(t *testing.T) {
	now := at("2022-06-02 00:00:00")
	put := func(s *Schedule, effective string, window uint8) *Schedule {
		t.Helper()
		p := DefaultPolicy(at(effective))
		p.Window = window
		next, err := s.Put(p, now)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	s := put(nil, "2022-06-01 00:00:00", 2)
	s = put(s, "2022-06-06 00:00:00", 3)
	if len(s.Policies) != 2 || s.Version != 2 {
		t.Fatalf("%d documents, version %d", len(s.Policies), s.Version)
	}
	// A new document in force supersedes the old one and keeps the pre-staged.
	before := s
	s = put(s, "2022-06-02 00:00:00", 1)
	if len(s.Policies) != 3 || s.Policies[1].Window != 1 || s.Policies[2].Window != 3 {
		t.Fatalf("the wrong documents are left")
	}
	// A box whose clock is a little behind still has one.
	if p := s.At(now.Add(-time.Second)); p == nil || p.Window != 2 {
		t.Error("a box a second behind has no document, or the wrong one")
	}
	// An hour later the superseded one goes with the next change.
	later, err := s.Put(s.Policies[2], now.Add(keepSuperseded))
	if err != nil || len(later.Policies) != 2 || later.Policies[0].Window != 1 {
		t.Errorf("an hour later: %v", err)
	}
	if len(before.Policies) != 2 || before.Policies[0].Window != 2 {
		t.Errorf("Put changed the schedule it was called on")
	}
	// The same effective instant replaces.
	s = put(s, "2022-06-06 00:00:00", 4)
	if len(s.Policies) != 3 || s.Policies[2].Window != 4 {
		t.Errorf("the pre-staged document was not replaced")
	}
	for i := range MaxPolicies {
		p := DefaultPolicy(at("2023-01-01 00:00:00").AddDate(0, i, 0))
		next, err := s.Put(p, now)
		// The superseded one makes room first.
		if tooMany := len(s.Policies) == MaxPolicies && s.Policies[0].Window != 2; tooMany != errors.Is(err, ErrPolicy) {
			t.Fatalf("with %d documents: err %v", len(s.Policies), err)
		}
		if err == nil {
			s = next
		}
	}
}

func TestForStation(t *testing.T) {
	p := DefaultPolicy(noon)
	p.Stations = map[string]Mode{"xizhimen": ModeObserve}
	s := &Schedule{Version: 7, Policies: []Policy{p}}
	if own := s.ForStation("xizhimen"); own.Policies[0].Mode != ModeObserve || own.Policies[0].Stations != nil || own.Version != 7 {
		t.Error("the station's own mode is not in force")
	}
	if own := s.ForStation("dongzhimen"); own.Policies[0].Mode != ModeEnforce {
		t.Error("another station's mode is in force")
	}
	if s.Policies[0].Stations == nil {
		t.Error("ForStation changed the schedule it was called on")
	}
}

func TestScheduleEncoding(t *testing.T) {
	p := DefaultPolicy(at("2022-06-01 00:00:00"))
	p.Stations = map[string]Mode{"xizhimen": ModeOff}
	p.Sunset, p.TopUpFrom, p.Expires = at("2022-12-31 00:00:00"), at("2022-06-01 00:00:00"), at("2022-12-30 00:00:00")
	p.RedNeedsPassable, p.AfterSunset, p.Unit = true, AfterSunsetManual, UnitRollingHour
	s := &Schedule{Version: 3, Policies: []Policy{p}}
	b, err := EncodeSchedule(s)
	if err != nil {
		t.Fatal(err)
	}
	back, err := DecodeSchedule(b)
	if err != nil {
		t.Fatal(err)
	}
	// Instants come back in a zone of their own; compare them as instants.
	for _, pair := range [][2]*time.Time{{&back.Policies[0].Effective, &p.Effective}, {&back.Policies[0].Sunset, &p.Sunset},
		{&back.Policies[0].TopUpFrom, &p.TopUpFrom}, {&back.Policies[0].Expires, &p.Expires}} {
		if !pair[0].Equal(*pair[1]) {
			t.Errorf("instant %v became %v", pair[1], pair[0])
		}
		*pair[0] = *pair[1]
	}
	if !reflect.DeepEqual(back, &Schedule{Version: 3, Policies: []Policy{p}}) {
		t.Errorf("got %+v, want %+v", back, s)
	}
}

func TestDecodePolicyDefaultsAndFaults(t *testing.T) {
	p, err := DecodePolicy([]byte(`{"effective":"2022-06-06T00:00:00+08:00","window":3}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Window != 3 || p.Mode != ModeEnforce || p.FreshLimit != Duration(15*time.Minute) || p.Texts != DefaultTexts() {
		t.Errorf("defaults are missing: %+v", p)
	}
	for name, doc := range map[string]string{
		"empty":       ``,
		"not json":    `window = 3`,
		"unknown key": `{"effective":"2022-06-06T00:00:00+08:00","windows":3}`,
		"trailing":    `{"effective":"2022-06-06T00:00:00+08:00"} {}`,
		"no instant":  `{"window":3}`,
		"bad mode":    `{"effective":"2022-06-06T00:00:00+08:00","mode":"strict"}`,
		"bad unit":    `{"effective":"2022-06-06T00:00:00+08:00","unit":"hour"}`,
		"bad window":  `{"effective":"2022-06-06T00:00:00+08:00","window":31}`,
		"bad ttl":     `{"effective":"2022-06-06T00:00:00+08:00","verdict_ttl":"1h"}`,
		"bad limit":   `{"effective":"2022-06-06T00:00:00+08:00","fresh_limit":"15 minutes"}`,
		"limits":      `{"effective":"2022-06-06T00:00:00+08:00","fresh_limit":"2h","stale_pass_limit":"1h"}`,
		"station":     `{"effective":"2022-06-06T00:00:00+08:00","stations":{"Xi Zhi Men":"off"}}`,
		"sunset":      `{"effective":"2022-06-06T00:00:00+08:00","sunset":"2022-06-01T00:00:00+08:00"}`,
		"huge":        `{"x":"` + strings.Repeat("x", MaxScheduleSize) + `"}`,
	} {
		if _, err := DecodePolicy([]byte(doc)); !errors.Is(err, ErrPolicy) || len(err.Error()) > 600 {
			t.Errorf("%s: err %v", name, err)
		}
	}
}

// Every fault is reported at once.
func TestValidateReportsAll(t *testing.T) {
	err := (&Policy{}).Validate()
	for _, key := range []string{"effective", "mode", "window", "unit", "fresh_limit", "verdict_ttl", "texts"} {
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s is not named in: %v", key, err)
		}
	}
}

func TestTexts(t *testing.T) {
	texts := DefaultTexts()
	for _, c := range []struct {
		a    Answer
		p    Purpose
		want Text
	}{
		{pass(R00), PurposeEntry, Text{}},
		{refuse(R13), PurposeEntry, texts.Refuse},
		{manual(R20), PurposeEntry, texts.NotFound},
		{manual(R26), PurposeEntry, texts.Manual},
		{manual(R20), PurposeTopUp, texts.TopUp},
	} {
		if got := texts.Text(c.a, c.p); got != c.want {
			t.Errorf("%v %v %v shows %v", c.a.Verdict, c.a.Reason, c.p, got)
		}
	}
}
