package central

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
	"gateline/internal/logtest"
)

// TestBigReportIsSplitByPerson reports 2048 persons of two credentials each in
// one import: more changes than one entry takes.
func TestBigReportIsSplitByPerson(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	var bind, bind2, report []Row
	for i := range gateway.MaxChanges {
		id := fmt.Sprintf("p%d", i)
		bind = append(bind, Row{Credential: card(i), Person: id})
		bind2 = append(bind2, Row{Credential: account(i), Person: id, Status: Status{Class: "normal", Anchor: "2022-05-28"}})
		report = append(report, Row{Person: id, Status: Status{Class: "yellow", Anchor: "2022-05-29"}})
	}
	c.must(c.Import(t.Context(), bind))
	if d := c.must(c.Import(t.Context(), bind2)); d.Changed != 2*gateway.MaxChanges {
		t.Errorf("%d events", d.Changed)
	}
	d := c.must(c.Import(t.Context(), report))
	pair := map[gateway.Token]gateway.Token{}
	for i := range gateway.MaxChanges {
		a, b := tokenOf(t, card(i)), tokenOf(t, account(i))
		pair[a], pair[b] = b, a
	}
	changed := 0
	yellow := gateway.Record{Class: gateway.ClassYellow, Anchor: 19141}
	for _, e := range c.checkFeed() {
		if len(e.Changes) > gateway.MaxChanges {
			t.Fatalf("entry %d has %d changes", e.Number, len(e.Changes))
		}
		in := map[gateway.Token]bool{}
		for _, ch := range e.Changes {
			if ch.Record == yellow {
				in[ch.Token] = true
				if changed++; e.Number > d.Number {
					t.Errorf("entry %d carries what was answered with %d", e.Number, d.Number)
				}
			}
		}
		for token := range in {
			if !in[pair[token]] {
				t.Fatalf("entry %d has one of a person's two credentials", e.Number)
			}
		}
	}
	if changed != 2*gateway.MaxChanges {
		t.Errorf("%d changes in the feed", changed)
	}
}

func TestHeartbeats(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	from := c.FeedNumber()
	until(t, "three heartbeats", func() bool { return c.FeedNumber() >= from+3 })
	for _, e := range c.checkFeed() {
		if len(e.Changes) != 0 || e.Schedule != nil || e.Source != 0 {
			t.Errorf("entry %d is not a heartbeat", e.Number)
		}
	}
}

// TestCommandsTogether checks that commands of many callers share ledger
// messages, and that records can be read meanwhile.
func TestCommandsTogether(t *testing.T) {
	c := start(t, testConfig(t.TempDir(), &logtest.Buffer{}))
	const callers, each = 32, 20
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for k := range each {
				if _, err := c.Bind(t.Context(), account(i*each+k), fmt.Sprintf("p%d", i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		last := gateway.Token(0)
		err := c.Records(func(token gateway.Token, _ gateway.Record) error {
			if token <= last {
				return fmt.Errorf("tokens do not ascend")
			}
			last = token
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	all.Wait()
	c.checkFeed()
	s, _, err := c.Stats(t.Context())
	if err != nil || s.Credentials != callers*each || s.Persons != callers {
		t.Errorf("%+v, %v", s, err)
	}
	if s.Ledger > callers*each/2 {
		t.Errorf("%d commands took %d ledger messages: they are not grouped", callers*each, s.Ledger)
	}
}

func TestNothingLeaks(t *testing.T) {
	log := &logtest.Buffer{}
	cfg := testConfig(t.TempDir(), log)
	c := start(t, cfg)
	secrets := []string{}
	for i := range 20 {
		id := fmt.Sprintf("person-%d-of-the-test", i)
		// Digits that no counter of an entry comes to.
		for k, credential := range []string{card(i), fmt.Sprintf("ride:1001739284%06d", 518273+i), fmt.Sprintf("chip:04A1B2C3D4E5%04d", i)} {
			// One physical card a person.
			c.must(c.Bind(t.Context(), credential, fmt.Sprintf("%s-%d", id, k/2)))
			secrets = append(secrets, numberIn(credential))
		}
		c.must(c.Report(t.Context(), id, Status{Class: "popup", Anchor: "2022-05-28"}))
		secrets = append(secrets, id)
	}
	c.must(c.SetPolicy(t.Context(), gateway.DefaultPolicy(noon)))
	_, _ = c.Bind(t.Context(), card(1), "person-2-of-the-test")   // refused
	_, _ = c.Bind(t.Context(), card(1)+"0", "person 2 [refused]") // refused
	c.must(c.Unbind(t.Context(), card(0), ""))
	for name, messages := range map[string][][]byte{"ledger": c.messages(StreamLedger), "feed": c.messages("FEED")} {
		if len(messages) == 0 {
			t.Errorf("the %s is empty", name)
		}
		for _, m := range messages {
			leaks(t, "the "+name, m, secrets)
		}
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	c = start(t, cfg)
	until(t, "the ledger is replayed", func() bool { return len(c.held()) == 59 })
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if log.String() == "" {
		t.Error("nothing was logged")
	}
	leaks(t, "the log", []byte(log.String()), secrets)
	for _, v := range []any{Row{Credential: card(1), Person: "ann"}, Status{Class: "red"}, Person{1}, []Row{{Person: "ann"}}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			leaks(t, verb, []byte(fmt.Sprintf(verb, v)), []string{numberIn(card(1)), "ann", "red", "1, 0"})
		}
	}
}

// TestBatchIsBoundedByBytes fills batches with schedules.
func TestBatchIsBoundedByBytes(t *testing.T) {
	r := &round{state: newState(rules.DefaultRules())}
	w := &writer{state: r.state, now: func() time.Time { return noon }}
	for i := range 8 {
		p := gateway.DefaultPolicy(noon)
		p.Stations = map[string]gateway.Mode{}
		for k := range gateway.MaxStations {
			p.Stations[fmt.Sprintf("a-station-whose-name-takes-as-much-room-as-any-may-%04d-%02d", k, i)] = gateway.ModeOff
		}
		if err := w.decide(r, item{command: policyCommand{policy: p}}); err != nil {
			t.Fatal(err)
		}
		if refusal := r.taken[i].decision.refusal; refusal != nil {
			t.Fatal(refusal)
		}
	}
	if len(r.batches) < 4 {
		t.Errorf("%d batches", len(r.batches))
	}
	for _, b := range r.batches {
		if len(b.lines) > maxMessageSize-256 {
			t.Errorf("a batch of %d bytes", len(b.lines))
		}
	}
}

// The events of one request are in one ledger message, wherever the batch before it
// ends: a kill between two messages cuts no swap in two and parts no effect from its
// outcome.
func TestRequestsAreNotCutInTwo(t *testing.T) {
	for _, before := range []int{0, gateway.MaxChanges - 4, gateway.MaxChanges - 2, gateway.MaxChanges - 1, gateway.MaxChanges} {
		r := &round{state: newState(rules.DefaultRules())}
		w := &writer{state: r.state, now: time.Now}
		d := testDoor()
		ask := func(id string, parse func(*door, []byte) (asked, *Refusal), body string) {
			a, refusal := parse(d, []byte(body))
			if refusal != nil {
				t.Fatal(refusal)
			}
			if err := w.decide(r, item{command: registryCommand{ID: id, Channel: rules.ChannelApp, Command: a.command}}); err != nil {
				t.Fatal(err)
			}
			if refusal := r.taken[len(r.taken)-1].decision.refusal; refusal != nil {
				t.Fatal(refusal)
			}
		}
		ask("", parseUpgrade, `{"credential":"`+card(1)+`","person":"ann","identified":true,"consent":1}`)
		full := newBatch()
		full.changes = make([]gateway.Change, before)
		r.batches = []*batch{full}
		ask("swap", parseSwap, `{"old":"`+card(1)+`","new":"`+card(2)+`","person":"ann","identified":true,"consent":1}`)
		last := r.batches[len(r.batches)-1]
		message, err := decodeMessage(append(appendHeader(nil, 1, keyCheck{}, 0), last.lines...))
		if err != nil {
			t.Fatal(err)
		}
		if n := len(message.events); n != 3 || len(last.changes) > gateway.MaxChanges {
			t.Errorf("after %d changes: %d events and %d changes in the last batch", before, n, len(last.changes))
		}
	}
}
