package rules

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gateline/gateway"
)

// rareRequest returns a command that the model does not know.
func rareRequest(random *rand.Rand, state *Memory) Command {
	who := func() Person { return someone(fmt.Sprintf("person %d", random.IntN(8))) }
	student := func() Card { return card(KindStudent, random.IntN(10)) }
	switch random.IntN(60) {
	case 0:
		return Died{who()}
	case 1:
		return Merge{From: who(), Into: who()}
	}
	switch random.IntN(10) {
	case 0:
		return Replace{Old: physical(random.IntN(25)).Token, New: physical(random.IntN(40))}
	case 1:
		return Students{List: 2, Run: uint32(random.IntN(3)), Rows: []Row{
			{Card: student(), Person: who(), Guardian: who()}, {Card: student(), Person: who(), Guardian: who(), ValidTo: 19500}, {Card: student(), Person: who()}}}
	case 2:
		return list(uint32(random.IntN(4)), Row{Card: elderly(random.IntN(10)), Person: who()}, Row{Card: elderly(random.IntN(10)), Person: who()})
	case 3:
		return EndOfList{List: 1, Run: uint32(1 + random.IntN(3)), Most: random.IntN(9)}
	case 4:
		return WithdrawStudent{Token: student().Token, Guardian: who()}
	case 5:
		return Resolve{Token: []Card{student(), elderly(random.IntN(10)), physical(random.IntN(25))}[random.IntN(3)].Token, Grant: random.IntN(2) == 0}
	case 6:
		return Split{From: who(), Into: who(), Tokens: []gateway.Token{physical(random.IntN(25)).Token}}
	case 7:
		return Reports{[]Report{{Person: who(), Anchor: gateway.Day(19000 + random.IntN(9))}, {}, {Person: who(), Class: gateway.ClassRed}}}
	}
	some := physical(random.IntN(25)).Token
	if b, bound := state.Binding(some); bound {
		if random.IntN(2) == 0 && b.Helper != (Person{}) {
			return Split{From: b.Person, Into: b.Helper, Tokens: []gateway.Token{some}}
		}
		return Swap{Old: some, New: phone(random.IntN(25)), Person: b.Person, Identified: true, Consent: 1}
	}
	return Withdraw{Account: card(KindRideYikatong, random.IntN(9)).Token, Person: who()}
}

// TestDraftForesees runs random commands of every kind and compares the state
// that a draft had in mind with the state that its events then make.
func TestDraftForesees(t *testing.T) {
	const seed, steps = 20220601, 20_000
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	accepted := map[string]int{}
	for step := range steps {
		w.now = w.now.Add(time.Duration(random.IntN(3600)) * time.Second)
		q := Request{Channel: ChannelApp, Command: rareRequest(random, w.state)}
		if random.IntN(2) == 0 {
			q = randomRequest(random, uint64(step+1))
		}
		d := newDraft(w.state, w.data, q.Channel, w.now)
		if _, refusal := q.Command.decide(d); refusal != nil {
			continue
		}
		d.admitWaiting()
		for _, e := range d.events {
			w.apply(e)
		}
		if len(d.events) > 0 {
			accepted[fmt.Sprintf("%T", q.Command)]++
		}
		if !erases(q.Command) {
			foreseen(t, w, d, fmt.Sprintf("seed %d, step %d, %T", seed, step, q.Command))
		}
	}
	for _, c := range commands() {
		_, reads := c.(reader)
		_, daily := c.(Expire)
		if name := fmt.Sprintf("%T", c); !reads && !daily && accepted[name] < 10 {
			t.Errorf("%s took effect %d times: the test does not reach it", name, accepted[name])
		}
	}
	replays(t, w)
}

// erases reports whether a draft does not look past a command's last event.
func erases(c Command) bool {
	switch c.(type) {
	case Merge, Delete:
		return true
	}
	return false
}

func foreseen(t *testing.T, w *world, d *draft, when string) {
	t.Helper()
	for p, want := range d.holders {
		got := w.state.Holder(p)
		byToken := func(a, b Binding) int { return cmp.Compare(a.Token, b.Token) }
		slices.SortFunc(got.Bindings, byToken)
		slices.SortFunc(want.Bindings, byToken)
		if !slices.Equal(got.Bindings, want.Bindings) || !slices.Equal(got.Cases, want.Cases) || got.Record != want.Record ||
			got.Revision != want.Revision || got.Helped != want.Helped || got.HelpedEver != want.HelpedEver {
			t.Fatalf("%s: a person is not as foreseen: %d bindings, %d foreseen; helped %d, %d foreseen", when,
				len(got.Bindings), len(want.Bindings), got.Helped, want.Helped)
		}
	}
	for token, want := range d.bindings {
		if got, bound := w.state.Binding(token); bound != (want != nil) || bound && got.Person != want.Person {
			t.Fatalf("%s: a binding is not as foreseen", when)
		}
	}
	for token, want := range d.cases {
		if got, open := w.state.Case(token); open != (want != nil) || open && got != *want {
			t.Fatalf("%s: a case is not as foreseen", when)
		}
	}
}
