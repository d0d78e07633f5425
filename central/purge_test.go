package central

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// What may be erased when, at noon of 2022-05-31.
func TestDecidePurge(t *testing.T) {
	doc := func(days int, edits ...func(*gateway.Policy)) gateway.Policy {
		p := gateway.DefaultPolicy(noon.AddDate(0, 0, days))
		for _, edit := range edits {
			edit(&p)
		}
		return p
	}
	off := func(p *gateway.Policy) { p.Mode = gateway.ModeOff }
	mode := func(m gateway.Mode) func(*gateway.Policy) { return func(p *gateway.Policy) { p.Mode = m } }
	station := func(m gateway.Mode) func(*gateway.Policy) {
		return func(p *gateway.Policy) { p.Stations = map[string]gateway.Mode{"xidan": m, "dawanglu": gateway.ModeOff} }
	}
	sunset := func(days int) func(*gateway.Policy) {
		return func(p *gateway.Policy) { p.Sunset = noon.AddDate(0, 0, days) }
	}
	for _, c := range []struct {
		name   string
		docs   []gateway.Policy
		policy time.Time
		want   Code
	}{
		{"no policy at all", nil, time.Time{}, CodeNoPolicy},
		{"none in force yet", []gateway.Policy{doc(1, off)}, time.Time{}, CodeNotOver},
		{"in force", []gateway.Policy{doc(-9)}, time.Time{}, CodeNotOver},
		{"off everywhere", []gateway.Policy{doc(-9, off)}, time.Time{}, ""},
		{"off, and at stations", []gateway.Policy{doc(-9, off, station(gateway.ModeOff))}, time.Time{}, ""},
		{"off, one station is not", []gateway.Policy{doc(-9, off, station(gateway.ModeObserve))}, time.Time{}, CodeNotOver},
		{"off at stations only", []gateway.Policy{doc(-9, station(gateway.ModeOff))}, time.Time{}, CodeNotOver},
		{"observed", []gateway.Policy{doc(-9, mode(gateway.ModeObserve))}, time.Time{}, CodeNotOver},
		{"its sunset has passed", []gateway.Policy{doc(-9, sunset(0))}, time.Time{}, ""},
		{"its sunset is to come", []gateway.Policy{doc(-9, sunset(1))}, time.Time{}, CodeNotOver},
		{"the sunset of the one before has passed", []gateway.Policy{doc(-9, sunset(-1)), doc(-8)}, time.Time{}, CodeNotOver},
		{"on again later", []gateway.Policy{doc(-9, off), doc(5)}, time.Time{}, CodeNotOver},
		{"on again later at one station", []gateway.Policy{doc(-9, sunset(-1)), doc(5, off, station(gateway.ModeEnforce))}, time.Time{}, CodeNotOver},
		{"off later too", []gateway.Policy{doc(-9, sunset(-1)), doc(5, off)}, time.Time{}, ""},
		{"that one", []gateway.Policy{doc(-9, off)}, noon.AddDate(0, 0, -9).UTC(), ""},
		{"another one", []gateway.Policy{doc(-9, off)}, noon.AddDate(0, 0, -8), CodeNotOver},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newState(rules.DefaultRules())
			if len(c.docs) > 0 {
				s.schedule = &gateway.Schedule{Version: 1, Policies: c.docs}
			}
			if d := s.decide(purgeCommand{policy: c.policy}, noon); codeOf(d.refusal) != c.want || len(d.events) > 0 || d.changed > 0 {
				t.Errorf("of nothing: %v, %d events", d.refusal, len(d.events))
			}
			for i, e := range []event{bound(5, Person{1}), bound(6, Person{1})} {
				if _, err := s.apply(&e, nil); err != nil {
					t.Fatal(i, err)
				}
			}
			s.erased = noon.UnixMicro() + 7 // a clock that has stepped back since
			d := s.decide(purgeCommand{policy: c.policy}, noon)
			if codeOf(d.refusal) != c.want || (c.want == "") != (len(d.events) == 1 && d.changed == 2) {
				t.Fatalf("%v, %d events, %d changed", d.refusal, len(d.events), d.changed)
			}
			if c.want != "" {
				return
			}
			changes, err := s.apply(&d.events[0], nil)
			if err != nil || len(changes) > 0 || !s.registry.Empty() || s.erased != noon.UnixMicro()+8 || s.schedule == nil {
				t.Errorf("%d changes, %v, erased %d", len(changes), err, s.erased)
			}
			if d := s.decide(purgeCommand{}, noon); d.refusal != nil || len(d.events) > 0 {
				t.Errorf("a second one: %v, %d events", d.refusal, len(d.events))
			}
		})
	}
}

// A status, a case and an answer that is kept are something too.
func TestNothingIsLeft(t *testing.T) {
	for i, e := range sampleEvents() {
		s := newState(rules.DefaultRules())
		if err := s.applyAlone(&e); err != nil {
			continue // it needs another before it
		}
		if _, ends := e.registry.(rules.Forgotten); s.registry.Empty() != ends {
			t.Errorf("event %d: empty %v", i, s.registry.Empty())
		}
	}
}

// The line of an end in the ledger, which has a message of its own.
func TestErasedLine(t *testing.T) {
	header := appendHeader(nil, 1, keyCheck{}, 0)
	line, err := appendEvent(nil, &event{erased: 1653969600000000})
	if err != nil || string(line) != "E 1653969600000000\n" {
		t.Fatalf("%q, %v", line, err)
	}
	m, err := decodeMessage(append(bytes.Clone(header), line...))
	if err != nil || len(m.events) != 1 || m.events[0] != (event{erased: 1653969600000000}) {
		t.Errorf("%+v, %v", m.events, err)
	}
	for _, text := range []string{"E 0\n", "E -1\n", "E 01\n", "E 1 1\n", "E \n", "E 9223372036854775808\n", "E 1\nE 2\n", "E 1\nU 0123456789abcdef\n", "U 0123456789abcdef\nE 1\n"} {
		if _, err := decodeMessage(append(bytes.Clone(header), text...)); !errors.Is(err, ErrLedger) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := appendEvent(nil, &event{erased: -1}); err == nil {
		t.Error("an instant below zero is written")
	}
}

// An end among other commands of one round has message and entry for itself.
func TestErasedAlone(t *testing.T) {
	s := newState(rules.DefaultRules())
	p := gateway.DefaultPolicy(noon)
	p.Mode = gateway.ModeOff
	s.schedule = &gateway.Schedule{Version: 1, Policies: []gateway.Policy{p}}
	r := &round{state: s}
	w := &writer{state: s, now: func() time.Time { return noon.Add(time.Hour) }}
	bind := func(i int) command {
		c, refusal := byOps(testDoor().rows([]Row{{Credential: account(i), Person: "ann"}}, needEither))
		if refusal != nil {
			t.Fatal(refusal)
		}
		return c
	}
	f := &fakeFeed{last: replication.Entry{Epoch: 7, Number: 1}}
	w.feed = f
	snaps := &snapshots{feed: f}
	for _, c := range []command{bind(1), purgeCommand{}, purgeCommand{}, bind(1), bind(2)} {
		if err := w.decide(r, item{command: c}); err != nil {
			t.Fatal(err)
		}
		if snaps.next = gateway.ShardOf(tokenOf(t, account(1))); w.publishSnapshot(t.Context(), snaps) != nil {
			t.Fatal("no snapshot")
		}
	}
	for i, n := range []int{1, 0, 0, 1, 1} {
		if got := len(f.shards[i].Records); got != n {
			t.Errorf("snapshot %d of the shard has %d records, want %d", i, got, n)
		}
	}
	if len(r.batches) != 3 || r.batches[0].erased != 0 || r.batches[1].erased == 0 || r.batches[2].erased != 0 ||
		len(r.batches[0].changes) != 1 || len(r.batches[1].changes) != 0 || len(r.batches[2].changes) != 2 || s.credentials() != 2 {
		t.Errorf("%d batches, %d credentials", len(r.batches), s.credentials())
	}
}

// The end of a policy at a centre: it is refused before, and afterwards nothing is left,
// also after restarts from the copy, from the ledger, and with a feed of a new epoch.
func TestPurge(t *testing.T) {
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	cfg.StatusListen = "127.0.0.1:0"
	c := start(t, cfg)
	ctx := t.Context()
	policy := gateway.DefaultPolicy(time.Now().Add(-time.Hour).Truncate(time.Second))
	policy.TopUpFrom = policy.Effective
	c.must(c.SetPolicy(ctx, policy))
	for i := range 3 {
		c.must(c.Bind(ctx, account(i), fmt.Sprint("p", i)))
		c.must(c.Report(ctx, fmt.Sprint("p", i), Status{Class: "red"}))
	}
	var refusal *Refusal
	if _, err := c.Purge(ctx, time.Time{}); !errors.As(err, &refusal) || refusal.Code != CodeNotOver || !strings.Contains(refusal.Detail, "not in mode off") {
		t.Errorf("in force: %v", err)
	}
	machine := func() *Channel { return c.channel(rules.ChannelMachine) }
	policy.Mode = gateway.ModeOff
	c.must(c.SetPolicy(ctx, policy))
	refusedAs(t, "T201")(machine().CheckTopUp(ctx, card(9)))

	d := c.must(c.Purge(ctx, policy.Effective))
	if s, _, err := c.Stats(ctx); err != nil || d.Changed != 3 || s.Credentials != 0 || s.Persons != 0 || s.ScheduleVersion != 2 || len(c.held()) != 0 {
		t.Errorf("changed %d, then %+v, %v", d.Changed, s, err)
	}
	e := c.checkFeed()[d.Number-1]
	if !e.Purge || len(e.Changes) > 0 || e.Schedule != nil || e.Ordered <= 0 {
		t.Errorf("entry %d is no purge", e.Number)
	}
	if again := c.must(c.Purge(ctx, time.Time{})); again.Changed != 0 {
		t.Errorf("a second one changed %d", again.Changed)
	}
	if _, err := machine().CheckTopUp(ctx, card(9)); err != nil {
		t.Errorf("the top-up gate after the end: %v", err)
	}

	reports(t, c, "cut-off", nil)
	reports(t, c, "done", func(r *replication.Report) {
		r.Purge = &replication.ReportPurge{Epoch: e.Epoch, Number: e.Number, Ordered: time.UnixMicro(e.Ordered)}
	})
	reports(t, c, "before", func(r *replication.Report) {
		r.Purge = &replication.ReportPurge{Epoch: e.Epoch, Number: e.Number - 1, Ordered: time.UnixMicro(e.Ordered - 1)}
	})
	reports(t, c, "sunset", func(r *replication.Report) { r.Purge = &replication.ReportPurge{Sunset: time.Unix(5, 0)} })
	// knows says that the centre knows of the order, and of who has carried it out.
	knows := func(epoch, number uint64) {
		t.Helper()
		page, err := c.Fleet(ctx)
		if err != nil || page.Purge == nil || page.Purge.Epoch != epoch || page.Purge.Number != number || page.Purge.Ordered.UnixMicro() != e.Ordered {
			t.Fatalf("the last purge is %+v, %v", page.Purge, err)
		}
		until(t, "two receipts are missing", func() bool { return metricOf(t, c, "gateline_fleet_receipts_missing") == "2" })
		if _, err := machine().CheckTopUp(ctx, card(9)); err != nil {
			t.Errorf("the top-up gate: %v", err)
		}
		if len(c.held()) != 1 {
			t.Errorf("%d records", len(c.held()))
		}
	}
	c.must(c.Bind(ctx, account(2), "p2")) // a new binding is of a new purpose
	knows(e.Epoch, e.Number)
	for name, lose := range map[string]func(){
		"from the copy":   func() {},
		"from the ledger": func() { removeCopy(t, cfg.Dir) },
	} {
		c.stopInStep()
		lose()
		c = start(t, cfg)
		t.Log(name)
		knows(e.Epoch, e.Number)
		c.checkFeed()
	}
	// anew is the one purge of a feed that was begun anew.
	anew := func(entries []replication.Signed) (order replication.Signed) {
		t.Helper()
		n := 0
		for _, o := range entries {
			if o.Purge {
				n, order = n+1, o
			}
		}
		if n != 1 || order.Epoch == e.Epoch || order.Ordered != e.Ordered {
			t.Fatalf("%d purges; the order is of %d, was of %d", n, order.Ordered, e.Ordered)
		}
		knows(order.Epoch, order.Number)
		return order
	}
	c.stopInStep()
	removeStream(t, cfg.Dir, replication.StreamFeed)
	c = start(t, cfg)
	until(t, "the feed covers the ledger", func() bool { return c.FeedNumber() >= 10 })
	second := anew(c.checkFeed())
	// A compacted ledger still has the order, whether the feed goes on or begins anew.
	c.stopInStep()
	if _, err := Compact(ctx, CompactConfig{Config: cfg}); err != nil {
		t.Fatal(err)
	}
	c = start(t, cfg)
	knows(second.Epoch, second.Number)
	c.stopInStep()
	if _, err := Compact(ctx, CompactConfig{Config: cfg, NewEpoch: true}); err != nil {
		t.Fatal(err)
	}
	// It is killed when the feed has a part of the snapshot: the order, and not the schedule.
	central, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	central.writer.feed = &killedAt{feed: central.writer.feed, at: 2}
	if err := run(t, central).stopped(); !errors.Is(err, errKilled) {
		t.Fatalf("Run returned %v", err)
	}
	c = start(t, cfg)
	until(t, "the feed covers the ledger", func() bool { return c.FeedNumber() >= 3 })
	anew(c.entries())
	if all := c.entries(); all[1].Schedule == nil {
		t.Error("the feed lacks the schedule of the snapshot")
	}
}

// killedAt fails before the entry of a number.
type killedAt struct {
	feed
	at uint64
}

func (f *killedAt) Publish(ctx context.Context, e *replication.Entry) error {
	if f.feed.Last().Number+1 == f.at {
		return errKilled
	}
	return f.feed.Publish(ctx, e)
}
