package rules

import (
	"bytes"
	"iter"
	"maps"
	"slices"
)

// Snapshot returns events that make the empty state one that decides and answers as
// m does, in the same order each time: what is so, and nothing of how it came to be
// (PRV-04). The state must not change meanwhile.
func (m *Memory) Snapshot() iter.Seq[Event] {
	return func(yield func(Event) bool) {
		_ = m.yieldPersons(yield) && m.yieldHelpers(yield) && m.yieldCases(yield) && m.yieldSettled(yield)
	}
}

// yieldPersons yields each person's status before the bindings, so that no status
// has to reach boxes after them. A place that is free has no id.
func (m *Memory) yieldPersons(yield func(Event) bool) bool {
	var own []int32
	for i := range m.persons {
		p := &m.persons[i]
		if p.id == (Person{}) {
			continue
		}
		if status := (Reported{Person: p.id, Record: p.record, Revision: p.revision}); status != (Reported{Person: p.id}) && !yield(status) {
			return false
		}
		own = own[:0]
		for slot := p.first; slot != none; slot = m.bindings[slot].next {
			own = append(own, slot)
		}
		// The last that is bound is the first of the list.
		for _, slot := range slices.Backward(own) {
			if !yield(Bound{m.unpack(slot)}) {
				return false
			}
		}
	}
	return true
}

// yieldHelpers yields what the bindings do not say: how often somebody has helped
// whose bindings have ended since, or were given to another person.
func (m *Memory) yieldHelpers(yield func(Event) bool) bool {
	for i := range m.persons {
		p := &m.persons[i]
		if p.id != (Person{}) && int(p.helpedEver) != len(m.helped[int32(i)]) && !yield(HelpedEver{Person: p.id, Times: p.helpedEver}) {
			return false
		}
	}
	return true
}

// yieldCases keeps for each person the order in which cards wait.
func (m *Memory) yieldCases(yield func(Event) bool) bool {
	for _, p := range slices.SortedFunc(maps.Keys(m.waiting), func(a, b Person) int { return bytes.Compare(a[:], b[:]) }) {
		for _, t := range m.waiting[p] {
			if !yield(CaseOpened{m.cases[t]}) {
				return false
			}
		}
	}
	return true
}

// yieldSettled begins with the oldest, which is the first to be forgotten.
func (m *Memory) yieldSettled(yield func(Event) bool) bool {
	for i := range m.order {
		if !yield(m.settled[m.order[(m.oldest+i)%len(m.order)]]) {
			return false
		}
	}
	return true
}
