package rules

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gateline/gateway"
)

// model is the registry as one would write it down in an evening: every card
// with what is known of it, and loops over all of them. It shares no code with
// the package but the types of the commands.
type model struct {
	now   int64
	cards map[gateway.Token]modelCard
	queue []modelCard // new cards that wait, oldest first
	red   map[Person]uint64
}

type modelCard struct {
	token         gateway.Token
	owner, helper Person
	medium        string // "P", "N", "ride"
	list          bool   // of the back office
	made          int64
}

func mediumOf(k KindCode) string {
	switch k {
	case KindInteroperable, KindElderly:
		return "P"
	case KindInteroperableNFC:
		return "N"
	}
	return "ride"
}

func (m *model) count(match func(modelCard) bool) (n int) {
	for _, c := range m.cards {
		if match(c) {
			n++
		}
	}
	return n
}

// full says whether a person has a card of the medium that counts.
func (m *model) full(p Person, medium string) bool {
	return m.count(func(c modelCard) bool { return c.owner == p && c.medium == medium && !c.list && medium != "ride" }) >= 1
}

func (m *model) waits(t gateway.Token) (modelCard, bool) {
	i := slices.IndexFunc(m.queue, func(c modelCard) bool { return c.token == t })
	if i < 0 {
		return modelCard{}, false
	}
	return m.queue[i], true
}

func (m *model) stopWaiting(t gateway.Token) {
	m.queue = slices.DeleteFunc(m.queue, func(c modelCard) bool { return c.token == t })
}

// letIn binds what waits wherever there is room.
func (m *model) letIn() {
	for _, c := range slices.Clone(m.queue) {
		if !m.full(c.owner, c.medium) {
			m.stopWaiting(c.token)
			c.made = m.now
			m.cards[c.token] = c
		}
	}
}

// bind returns the code of a refusal, or "".
func (m *model) bind(card Card, owner, helper Person) Code {
	medium := mediumOf(card.Kind)
	have, bound := m.cards[card.Token]
	waiting, waits := m.waits(card.Token)
	switch {
	case helper != Person{} && helper != owner && medium != "P":
		return "E109"
	case card.Kind == KindElderly:
		return "E107"
	case bound && have.owner != owner || waits && waiting.owner != owner:
		return "E104"
	case bound:
		return ""
	case m.full(owner, medium) && medium == "P":
		return "E101"
	case m.full(owner, medium):
		return "E102"
	}
	if helper == owner {
		helper = Person{}
	}
	if helper != (Person{}) && m.count(func(c modelCard) bool { return c.helper == helper }) >= 5 {
		return "E103"
	}
	m.stopWaiting(card.Token)
	m.cards[card.Token] = modelCard{token: card.Token, owner: owner, helper: helper, medium: medium, made: m.now}
	return ""
}

func (m *model) unbind(t gateway.Token, by Person) Code {
	c, bound := m.cards[t]
	if waiting, ok := m.waits(t); ok && waiting.owner == by {
		m.stopWaiting(t)
		return ""
	}
	mine := c.owner == by || c.helper == by && m.now-c.made < 24*60*60
	if !bound || c.list || !mine {
		return "E112"
	}
	delete(m.cards, t)
	return ""
}

func (m *model) issue(card Card, owner Person) Code {
	medium := mediumOf(card.Kind)
	have, bound := m.cards[card.Token]
	waiting, waits := m.waits(card.Token)
	switch {
	case bound && have.owner != owner || waits && waiting.owner != owner:
		return "E104"
	case bound || waits:
		return ""
	}
	c := modelCard{token: card.Token, owner: owner, medium: medium, made: m.now}
	if !m.full(owner, medium) {
		m.cards[c.token] = c
		return ""
	}
	if len(slices.DeleteFunc(slices.Clone(m.queue), func(q modelCard) bool { return q.owner != owner })) >= 16 {
		return "E115"
	}
	m.queue = append(m.queue, c)
	return ""
}

func (m *model) does(command Command) (code Code) {
	switch c := command.(type) {
	case Upgrade:
		code = m.bind(c.Card, c.Person, Person{})
	case Help:
		code = m.bind(c.Card, c.Person, c.Helper)
	case Unbind:
		code = m.unbind(c.Token, c.By)
	case Swap:
		code = m.swap(c)
	case Authorise:
		code = m.bind(c.Account, c.Person, Person{})
	case Issue:
		code = m.issue(c.Card, c.Person)
	case Return:
		m.stopWaiting(c.Token)
		delete(m.cards, c.Token)
	case Concessions:
		for _, row := range c.Rows {
			if have, bound := m.cards[row.Token]; !bound || have.owner == row.Person {
				m.cards[row.Token] = modelCard{token: row.Token, owner: row.Person, medium: "P", list: true, made: m.now}
			}
		}
	case Report:
		m.red[c.Person] = max(m.red[c.Person], c.Revision)
	case Delete:
		m.delete(c.Person)
	}
	m.letIn()
	return code
}

func (m *model) swap(c Swap) Code {
	before := maps.Clone(m.cards)
	old, bound := m.cards[c.Old]
	switch made, ok := m.cards[c.New.Token]; {
	case c.Old == c.New.Token:
		return "E100"
	case !bound && ok && made.owner == c.Person:
		return ""
	case !bound || old.owner != c.Person || old.list:
		return "E112"
	}
	delete(m.cards, c.Old)
	code := m.bind(c.New, c.Person, Person{})
	if code != "" {
		m.cards = before
	}
	return code
}

func (m *model) delete(p Person) {
	maps.DeleteFunc(m.cards, func(_ gateway.Token, c modelCard) bool { return c.owner == p })
	for t, c := range m.cards {
		if c.helper == p {
			c.helper = Person{}
			m.cards[t] = c
		}
	}
	m.queue = slices.DeleteFunc(m.queue, func(c modelCard) bool { return c.owner == p })
	delete(m.red, p)
}

// people is the number of persons; most requests are about the first twelve.
const people = 60

// randomRequest returns a command that may well be refused.
func randomRequest(random *rand.Rand, revision uint64) Request {
	who := func() Person { return someone(fmt.Sprintf("person %d", random.IntN(12))) }
	any := func() Card {
		return card([]KindCode{KindInteroperable, KindInteroperable, KindInteroperableNFC, KindElderly}[random.IntN(4)], random.IntN(25))
	}
	plain := func() Card {
		return card([]KindCode{KindInteroperable, KindInteroperableNFC}[random.IntN(2)], random.IntN(25))
	}
	commands := []func() (Channel, Command){
		func() (Channel, Command) { return ChannelMini, upgrade(any(), who()) },
		func() (Channel, Command) { return ChannelApp, help(any(), who(), who()) },
		func() (Channel, Command) {
			return ChannelApp, help(physical(random.IntN(25)), someone(fmt.Sprintf("person %d", random.IntN(people))), someone("person 0"))
		},
		func() (Channel, Command) { return ChannelApp, unbind(any(), who()) },
		func() (Channel, Command) { return ChannelHotline, unbind(plain(), who()) },
		func() (Channel, Command) {
			return ChannelApp, Swap{Old: any().Token, New: plain(), Person: who(), Identified: true, Consent: 1}
		},
		func() (Channel, Command) {
			return ChannelApp, Authorise{Account: card(KindRideYikatong, random.IntN(9)), Person: who(), Identified: true, Consent: 1}
		},
		func() (Channel, Command) { return ChannelPoint, issue(plain(), who()) },
		func() (Channel, Command) { return ChannelHall, Return{any().Token} },
		func() (Channel, Command) {
			return ChannelBackOffice, list(0, Row{Card: elderly(random.IntN(25)), Person: who()}, Row{Card: elderly(random.IntN(25)), Person: who()})
		},
		func() (Channel, Command) {
			return ChannelHealthSource, Report{Person: who(), Revision: revision - min(revision-1, random.Uint64N(3)), Anchor: gateway.Day(19000 + revision%100)}
		},
	}
	if random.IntN(40) == 0 {
		return Request{Channel: ChannelOps, Command: Delete{who()}}
	}
	channel, command := commands[random.IntN(len(commands))]()
	return Request{Channel: channel, Command: command}
}

// TestAgainstModel runs random requests against the model: every code, every
// owner and every limit agree, a repeated request changes nothing, and the
// events alone give the same state again.
func TestAgainstModel(t *testing.T) {
	const seed, steps = 20220531, 6000
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	m := &model{cards: map[gateway.Token]modelCard{}, red: map[Person]uint64{}}
	codes := map[Code]int{}
	for step := range steps {
		w.now = w.now.Add(time.Duration(random.IntN(7200)) * time.Second)
		m.now = w.now.Unix()
		q := randomRequest(random, uint64(step+1))
		if r, ok := q.Command.(Report); ok && r.Revision == w.state.Holder(r.Person).Revision {
			continue // the model keeps no report to compare with
		}
		q.ID = fmt.Sprintf("r%d", step)
		_, answer, refusal := w.decide(q)
		var code Code
		if refusal != nil {
			code = refusal.Code
		}
		codes[code]++
		if want := m.does(q.Command); code != want {
			t.Fatalf("seed %d, step %d: %T is answered %q, the model says %q", seed, step, q.Command, code, want)
		}
		compare(t, w, m, fmt.Sprintf("seed %d, step %d, %T", seed, step, q.Command))
		if code != CodeMalformed && random.IntN(8) == 0 {
			events, again, refused := w.decide(q)
			if len(events) > 0 || again.Outcome != answer.Outcome || (refused == nil) != (refusal == nil) || refused != nil && *refused != *refusal {
				t.Fatalf("seed %d, step %d: %T again has another answer", seed, step, q.Command)
			}
		}
	}
	for _, code := range []Code{"", CodePhysicalFull, CodeNFCFull, CodeHelperFull, CodeOtherOwner, CodeBackOffice, CodeHelpPhysical, CodeNotBound} {
		if codes[code] < 20 {
			t.Errorf("code %q came %d times: the test does not reach it", code, codes[code])
		}
	}
	replays(t, w)
}

func compare(t *testing.T, w *world, m *model, when string) {
	t.Helper()
	persons := map[Person]bool{}
	for token, want := range m.cards {
		b, bound := w.state.Binding(token)
		if !bound || b.Person != want.owner || b.Source.backOffice() != want.list || !want.list && (b.Helper != want.helper || b.Since != want.made) {
			t.Fatalf("%s: a binding differs", when)
		}
		persons[want.owner] = true
	}
	stats := w.state.Stats()
	if stats.Bindings != len(m.cards) || stats.Persons != len(persons) {
		t.Fatalf("%s: %d bindings of %d persons, the model has %d of %d", when, stats.Bindings, stats.Persons, len(m.cards), len(persons))
	}
	for _, c := range m.queue {
		if waiting, ok := w.state.Case(c.token); !ok || waiting.Want.Person != c.owner || waiting.Reason != CaseSlot {
			t.Fatalf("%s: what waits differs", when)
		}
	}
	for i := range people {
		h := w.state.Holder(someone(fmt.Sprintf("person %d", i)))
		if h.slots(MediumPhysical) > 1 || h.slots(MediumNFC) > 1 || h.Helped > 5 || h.Revision != m.red[h.Person] {
			t.Fatalf("%s: a limit is exceeded, or a revision differs", when)
		}
	}
}

// replays applies the events to an empty state and compares.
func replays(t *testing.T, w *world) {
	t.Helper()
	other := newWorld(t)
	for _, e := range w.log {
		other.apply(e)
	}
	if snapshot(other.state) != snapshot(w.state) || !maps.Equal(other.state.settled, w.state.settled) ||
		!maps.Equal(other.state.listings, w.state.listings) || !maps.Equal(other.state.cases, w.state.cases) || !maps.Equal(other.box, w.box) {
		t.Error("the events give another state")
	}
	for p := range w.state.byPerson {
		byToken := func(a, b Binding) int { return cmp.Compare(a.Token, b.Token) }
		if !slices.Equal(slices.SortedFunc(slices.Values(other.state.Helped(p)), byToken), w.state.Helped(p)) {
			t.Error("a helper has helped with other cards")
		}
	}
}
