package rules

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"slices"

	"gateline/gateway"
)

// none ends a list of slots.
const none = -1

// Memory is the whole state in memory: a View, and what events change. It is
// not safe for concurrent use.
//
// Persons and bindings are slots without pointers, linked by their numbers, so
// that five million persons cost the garbage collector nothing and some 170
// bytes each with one or two bindings. What few have (helpers, lists, cases)
// lies beside the slots and costs only them. The price: a read copies what it
// returns, and Behind, Expired, a merge and a deletion look through all
// bindings of the back office, some milliseconds for each 100,000 of them.
type Memory struct {
	byToken  map[gateway.Token]int32 // index into bindings
	byPerson map[Person]int32        // index into persons
	persons  []personSlot
	bindings []bindingSlot
	// freePerson and freeBinding are the first unused slots, linked by first
	// and next.
	freePerson, freeBinding int32
	// shards holds the first binding of each shard.
	shards   [gateway.Shards]int32
	upgraded int // persons with at least one binding

	helper   map[int32]int32   // binding → the person who has helped
	helped   map[int32][]int32 // that person → bindings
	listings map[int32]Listing // binding of the back office
	cases    map[gateway.Token]Case
	waiting  map[Person][]gateway.Token // claimant → cases, oldest first

	settled map[RequestKey]Settled
	// order is a ring of the kept requests; oldest is its first once it is full.
	order  []RequestKey
	oldest int
	keep   int
}

type personSlot struct {
	id         Person
	record     gateway.Record
	revision   uint64
	first      int32 // first of the person's bindings
	helpedEver uint16
	count      uint8
}

type bindingSlot struct {
	token  gateway.Token
	person int32
	next   int32 // of the same person
	// shardNext and shardBefore are its neighbours in its shard.
	shardNext, shardBefore int32
	since                  uint32 // Unix seconds
	consent                uint16
	kind                   KindCode
	packed                 packed
}

// packed is medium, source, slot and lamp in one byte.
type packed uint8

const (
	packedSlot packed = 1 << 6
	packedLamp packed = 1 << 7
)

func media() [3]Medium { return [3]Medium{MediumPhysical, MediumNFC, MediumRide} }
func sources() [6]Source {
	return [6]Source{SourceSelf, SourceHelper, SourceList, SourceStudents, SourceIssue, SourceRide}
}

// pack reports false for a medium or a source that there is not.
func pack(b *Binding) (packed, bool) {
	m, s := media(), sources()
	medium, source := slices.Index(m[:], b.Medium), slices.Index(s[:], b.Source)
	p := packed(source<<2 | medium)
	if b.Slot {
		p |= packedSlot
	}
	if b.Lamp {
		p |= packedLamp
	}
	return p, medium >= 0 && source >= 0
}

// NewMemory returns the empty state.
func NewMemory() *Memory {
	m := &Memory{
		byToken: map[gateway.Token]int32{}, byPerson: map[Person]int32{}, freePerson: none, freeBinding: none,
		helper: map[int32]int32{}, helped: map[int32][]int32{}, listings: map[int32]Listing{},
		cases: map[gateway.Token]Case{}, waiting: map[Person][]gateway.Token{},
		settled: map[RequestKey]Settled{}, keep: KeptRequests,
	}
	for id := range m.shards {
		m.shards[id] = none
	}
	return m
}

// Format hides the state, whatever the verb.
func (m *Memory) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "memory:hidden") }

// Binding implements View.
func (m *Memory) Binding(t gateway.Token) (Binding, bool) {
	slot, bound := m.byToken[t]
	if !bound {
		return Binding{}, false
	}
	return m.unpack(slot), true
}

func (m *Memory) unpack(slot int32) Binding {
	s := &m.bindings[slot]
	b := Binding{
		Card: Card{Token: s.token, Kind: s.kind}, Person: m.persons[s.person].id,
		Medium: media()[s.packed&3], Source: sources()[s.packed>>2&7], Slot: s.packed&packedSlot != 0, Lamp: s.packed&packedLamp != 0,
		Since: int64(s.since), Consent: s.consent, Listing: m.listings[slot],
	}
	if helper, ok := m.helper[slot]; ok {
		b.Helper = m.persons[helper].id
	}
	return b
}

// Holder implements View.
func (m *Memory) Holder(p Person) Holder {
	h := Holder{Person: p}
	for _, t := range m.waiting[p] {
		h.Cases = append(h.Cases, m.cases[t])
	}
	i, known := m.byPerson[p]
	if !known {
		return h
	}
	s := &m.persons[i]
	h.Record, h.Revision, h.HelpedEver, h.Helped = s.record, s.revision, s.helpedEver, uint16(len(m.helped[i]))
	if s.count > 0 {
		h.Bindings = make([]Binding, 0, s.count)
	}
	for b := s.first; b != none; b = m.bindings[b].next {
		h.Bindings = append(h.Bindings, m.unpack(b))
	}
	return h
}

// Case implements View.
func (m *Memory) Case(t gateway.Token) (Case, bool) {
	c, ok := m.cases[t]
	return c, ok
}

// CasesAfter implements View. It looks at every case.
func (m *Memory) CasesAfter(mark CaseMark, most int) []Case {
	return mark.after(maps.Values(m.cases), most)
}

// Helped implements View.
func (m *Memory) Helped(p Person) []Binding {
	i, known := m.byPerson[p]
	if !known {
		return nil
	}
	var all []Binding
	for _, slot := range m.helped[i] {
		all = append(all, m.unpack(slot))
	}
	slices.SortFunc(all, func(a, b Binding) int { return cmp.Compare(a.Token, b.Token) })
	return all
}

// Behind implements View. It looks at every binding of the back office.
func (m *Memory) Behind(list uint8, run uint32) []gateway.Token {
	return m.listed(func(l Listing) bool { return l.List == list && l.Run < run })
}

// Expired implements View. It looks at every binding of the back office.
func (m *Memory) Expired(today gateway.Day) []gateway.Token {
	return m.listed(func(l Listing) bool { return l.ValidTo != 0 && l.ValidTo < today })
}

func (m *Memory) listed(match func(Listing) bool) []gateway.Token {
	var tokens []gateway.Token
	for slot, l := range m.listings {
		if match(l) {
			tokens = append(tokens, m.bindings[slot].token)
		}
	}
	slices.Sort(tokens)
	return tokens
}

// Settled implements View.
func (m *Memory) Settled(k RequestKey) (Settled, bool) {
	s, ok := m.settled[k]
	return s, ok
}

// Stats implements View.
func (m *Memory) Stats() Stats {
	return Stats{Persons: m.upgraded, Bindings: len(m.byToken), Cases: len(m.cases)}
}

// Records returns every record that a box should hold, in no order.
func (m *Memory) Records() iter.Seq[gateway.Change] {
	return func(yield func(gateway.Change) bool) {
		for slot := range maps.Values(m.byToken) {
			if !yield(m.record(slot)) {
				return
			}
		}
	}
}

// ErrState is wrapped when an event does not fit the state it is applied to:
// the ledger is damaged, or was written by a newer version.
var ErrState = errors.New("the event does not fit the state")

func unfit(what string) error { return fmt.Errorf("%w: %s", ErrState, what) }

// fits reports whether a binding can be stored at all.
func fits(b *Binding) bool {
	_, known := pack(b)
	return known && b.Person != Person{} && b.Since >= 0 && b.Since <= math.MaxUint32
}
