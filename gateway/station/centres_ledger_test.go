package station

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"

	"gateline/central"
)

// ledgerText is the ledger as central/DESIGN.md describes it, read without the program
// that wrote it.
type ledgerText struct {
	messages []string // message n at n-1
	outcomes map[string][]settledCall
	stray    []string // lines of no request, but for schedules
}

// settledCall is an outcome in the ledger with the events before it in its message.
type settledCall struct {
	message uint64
	code    string // "-" = done
	counts  string
	events  []string
}

func (s *standby) readLedger() *ledgerText {
	t := s.t
	t.Helper()
	stream, err := s.js.Stream(t.Context(), central.StreamLedger)
	if err != nil {
		t.Fatal(err)
	}
	l := &ledgerText{outcomes: map[string][]settledCall{}}
	for n := uint64(1); n <= stream.CachedInfo().State.LastSeq; n++ {
		message, err := stream.GetMsg(t.Context(), n)
		if err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
		l.messages = append(l.messages, string(message.Data))
		var events []string
		for i, line := range slices.Collect(strings.Lines(string(message.Data))) {
			f := strings.Fields(line)
			switch {
			case i == 0 || f[0] == "P": // the header, a schedule
			case f[0] == "R" && len(f) == 10:
				l.outcomes[f[1]] = append(l.outcomes[f[1]], settledCall{message: n, code: f[4], counts: strings.Join(f[5:], " "), events: events})
				events = nil
			default:
				events = append(events, eventOf(f))
			}
		}
		l.stray = append(l.stray, events...)
	}
	return l
}

// eventOf is what a call can know of an event in advance: the letter, then of a binding
// token and person, of others all.
func eventOf(f []string) string {
	if f[0] == "B" && len(f) > 3 {
		return strings.Join([]string{f[0], f[1], f[3]}, " ")
	}
	return strings.Join(f, " ")
}

// outcomeKey is that of a request in the ledger.
func outcomeKey(c *call) string {
	sum := sha256.Sum256([]byte(string(c.channel) + "\x00" + c.id))
	return hex.EncodeToString(sum[:16])
}

// checkCalls: the outcomes in the ledger are those of the calls that were answered,
// each once, with all that the call leads to and nothing else.
func (l *ledgerText) checkCalls(t *testing.T, answered []answeredCall) {
	t.Helper()
	if len(l.stray) > 0 {
		t.Errorf("%d events of no request, the first: %s", len(l.stray), l.stray[0])
	}
	if len(l.outcomes) != len(answered) {
		t.Errorf("the ledger has the outcomes of %d requests, %d were answered", len(l.outcomes), len(answered))
	}
	for _, a := range answered {
		code := "-"
		if a.code != "" {
			code = string(a.code)
		}
		all := l.outcomes[outcomeKey(a.call)]
		if len(all) != 1 {
			t.Errorf("call %s was answered and is in the ledger %d times", a.id, len(all))
			continue
		}
		one := all[0]
		if want := fmt.Sprint(a.accepted, " 0 0 0 0"); one.code != code || one.counts != want || !slices.Equal(one.events, a.events) {
			t.Errorf("call %s is in the ledger as %s %s, not %s %s; with %d events: %q, not %q", a.id, one.code, one.counts, code, want, len(one.events), one.events, a.events)
		}
	}
}

// checkFeed: each message of the ledger has one entry, in the same order, and each
// answer named that of its call or a later one.
func (l *ledgerText) checkFeed(t *testing.T, f *feed, answered []answeredCall) {
	t.Helper()
	entry := map[uint64]uint64{} // message → the first entry that covers it
	source := uint64(0)
	for i := range f.entries {
		e := &f.entries[i]
		whole := len(e.Changes) > 0 || e.Schedule != nil
		switch {
		case e.Source == source+1:
			entry[e.Source] = e.Number
		case e.Source != source || whole:
			t.Errorf("entry %d is of message %d of the ledger and has %d changes; the entry before is of message %d", e.Number, e.Source, len(e.Changes), source)
		}
		source = e.Source
	}
	if source != uint64(len(l.messages)) || f.ledger != source {
		t.Errorf("the feed ends at message %d of the ledger, which has %d", source, len(l.messages))
	}
	for _, a := range answered {
		for _, one := range l.outcomes[outcomeKey(a.call)] {
			if a.code == "" && a.number < entry[one.message] || a.number > uint64(len(f.entries)) {
				t.Errorf("call %s takes effect at entry %d of %d; its answer named entry %d", a.id, entry[one.message], len(f.entries), a.number)
			}
		}
	}
}
