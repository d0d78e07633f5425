package rules

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"gateline/gateway"
)

// at reads an instant in Asia/Shanghai.
func at(t testing.TB, text string) time.Time {
	t.Helper()
	when, err := time.ParseInLocation("2006-01-02 15:04:05", text, gateway.Zone)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func day(t testing.TB, text string) gateway.Day {
	return gateway.DayOf(at(t, text+" 12:00:00"))
}

// someone returns the pseudonym of a test's person.
func someone(name string) (p Person) {
	copy(p[:], name)
	return p
}

var ann, bob, cat, eve = someone("ann"), someone("bob"), someone("cat"), someone("eve")

// card returns the n-th card of a kind.
func card(kind KindCode, n int) Card {
	return Card{Token: gateway.Token(uint64(n)+uint64(kind)<<32) * 0x9E3779B97F4A7C15, Kind: kind}
}

// physical, phone and elderly return the n-th card of their kinds.
func physical(n int) Card { return card(KindInteroperable, n) }
func phone(n int) Card    { return card(KindInteroperableNFC, n) }
func elderly(n int) Card  { return card(KindElderly, n) }

func upgrade(c Card, p Person) Upgrade {
	return Upgrade{Card: c, Person: p, Identified: true, Consent: 1}
}

func help(c Card, p, helper Person) Help {
	return Help{Card: c, Person: p, Helper: helper, Identified: true, Consent: 1}
}

func unbind(c Card, by Person) Unbind { return Unbind{Token: c.Token, By: by, Identified: true} }

// world is a state with its data, a clock and a box that sees the changes only.
type world struct {
	t     testing.TB
	state *Memory
	data  *Rules
	now   time.Time
	box   map[gateway.Token]gateway.Record
	log   []Event
}

func newWorld(t testing.TB) *world {
	return &world{t: t, state: NewMemory(), data: DefaultRules(), now: at(t, "2022-06-10 12:00:00"), box: map[gateway.Token]gateway.Record{}}
}

// decide decides and applies, as a writer does, and compares the box with the
// state.
func (w *world) decide(q Request) ([]Event, Answer, *Refusal) {
	w.t.Helper()
	events, answer, refusal := Decide(w.state, w.data, q, w.now)
	for _, e := range events {
		w.apply(e)
	}
	want := map[gateway.Token]gateway.Record{}
	for c := range w.state.Records() {
		want[c.Token] = c.Record
	}
	if !maps.Equal(w.box, want) {
		w.t.Fatalf("after %T the box differs from the state", q.Command)
	}
	return events, answer, refusal
}

func (w *world) apply(e Event) {
	w.t.Helper()
	changes := Changes(w.state, e, nil)
	if len(changes) > MaxPerPerson {
		w.t.Fatalf("%T means %d changes", e, len(changes))
	}
	for _, c := range changes {
		if c.Delete {
			delete(w.box, c.Token)
		} else {
			w.box[c.Token] = c.Record
		}
	}
	if err := w.state.Apply(e); err != nil {
		w.t.Fatalf("apply %T: %v", e, err)
	}
	w.log = append(w.log, e)
}

// does expects a command to be accepted and returns the answer.
func (w *world) does(c Channel, command Command) Answer {
	w.t.Helper()
	_, answer, refusal := w.decide(Request{Channel: c, Command: command})
	if refusal != nil {
		w.t.Fatalf("%T: %v", command, refusal)
	}
	return answer
}

// changesNothing expects a command to be accepted without an event.
func (w *world) changesNothing(c Channel, command Command) {
	w.t.Helper()
	events, _, refusal := w.decide(Request{Channel: c, Command: command})
	if refusal != nil || len(events) > 0 {
		w.t.Errorf("%T: %d events, refusal %v", command, len(events), refusal)
	}
}

// refuses expects a code, and that nothing has happened.
func (w *world) refuses(code Code, c Channel, command Command) {
	w.t.Helper()
	events, _, refusal := w.decide(Request{Channel: c, Command: command})
	if refusal == nil || refusal.Code != code || len(events) > 0 {
		w.t.Errorf("%T from %s: %d events, refusal %v, want %s", command, c, len(events), refusal, code)
	}
}

// bound expects a card to be bound to a person, and returns the binding.
func (w *world) bound(c Card, p Person) Binding {
	w.t.Helper()
	b, ok := w.state.Binding(c.Token)
	if _, onBox := w.box[c.Token]; !ok || b.Person != p || !onBox {
		w.t.Errorf("the card is not bound to the person: %v", ok)
	}
	return b
}

// unbound expects a card to be unknown to boxes: R20, the manual lane.
func (w *world) unbound(c Card) {
	w.t.Helper()
	_, ok := w.state.Binding(c.Token)
	if _, onBox := w.box[c.Token]; ok || onBox {
		w.t.Error("the card is bound")
	}
}

// numbered returns a credential whose text begins with a range of the kind
// table.
func numbered(t testing.TB, prefix string) gateway.Credential {
	t.Helper()
	length := map[byte]int{'t': len("tunion:") + 19, 'c': len("chip:") + 16, 'r': len("ride:") + 12}[prefix[0]]
	c, err := gateway.ParseCredential(prefix + fmt.Sprintf("%0*d", length-len(prefix), 7))
	if err != nil {
		t.Fatal(err)
	}
	return c
}
