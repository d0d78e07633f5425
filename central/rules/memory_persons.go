package rules

import (
	"slices"

	"gateline/gateway"
)

func (m *Memory) caseOpened(c Case) error {
	if !fits(&c.Want) {
		return unfit("a case wants a binding with a field out of its range")
	}
	if _, open := m.cases[c.Want.Token]; open {
		m.dropCase(c.Want.Token)
	}
	m.cases[c.Want.Token] = c
	m.waiting[c.Want.Person] = append(m.waiting[c.Want.Person], c.Want.Token)
	return nil
}

func (m *Memory) caseClosed(t gateway.Token) error {
	if _, open := m.cases[t]; !open {
		return unfit("a case is closed that is not open")
	}
	m.dropCase(t)
	return nil
}

func (m *Memory) dropCase(t gateway.Token) {
	p := m.cases[t].Want.Person
	delete(m.cases, t)
	left := slices.DeleteFunc(m.waiting[p], func(o gateway.Token) bool { return o == t })
	if m.waiting[p] = left; len(left) == 0 {
		delete(m.waiting, p)
	}
}

// merged gives everything of one person but the status to another. It is the only event that
// looks through all lists for mentions, with Forgotten: both are rare.
func (m *Memory) merged(e Merged) error {
	if e.From == e.Into || e.Into == (Person{}) || e.From == (Person{}) {
		return unfit("a person is merged with nobody")
	}
	if m.count(e.From)+m.count(e.Into) > MaxPerPerson {
		return tooMany()
	}
	from, into := m.person(e.From), m.person(e.Into)
	for m.persons[from].first != none {
		slot := m.persons[from].first
		m.unlink(slot)
		m.link(slot, into)
		m.ownIsNoHelp(slot)
	}
	for _, slot := range slices.Clone(m.helped[from]) {
		m.clearHelper(slot)
		m.setHelper(slot, into)
		m.ownIsNoHelp(slot)
	}
	ever := uint32(m.persons[from].helpedEver) + uint32(m.persons[into].helpedEver)
	m.persons[into].helpedEver = uint16(min(ever, 1<<16-1))
	for _, t := range slices.Clone(m.waiting[e.From]) {
		c := m.cases[t]
		m.dropCase(t)
		c.Want.Person = e.Into
		_ = m.caseOpened(c) // it was stored before, so it fits
	}
	m.renameGuardian(e.From, e.Into)
	m.erase(from)
	return nil
}

// forgotten erases a person and every mention of that person (PRV-04).
func (m *Memory) forgotten(p Person) error {
	if p == (Person{}) || len(m.waiting[p]) > 0 {
		return unfit("nobody is forgotten, or a person for whom a card waits")
	}
	if i, known := m.byPerson[p]; known {
		if m.persons[i].count > 0 {
			return unfit("a person with a binding is forgotten")
		}
		for _, slot := range slices.Clone(m.helped[i]) {
			m.clearHelper(slot)
		}
		m.erase(i)
	}
	m.renameGuardian(p, Person{})
	return nil
}

func (m *Memory) renameGuardian(from, to Person) {
	for slot, l := range m.listings {
		if l.Guardian == from {
			l.Guardian = to
			m.listings[slot] = l
		}
	}
	for t, c := range m.cases {
		if c.Want.Listing.Guardian == from {
			c.Want.Listing.Guardian = to
			m.cases[t] = c
		}
	}
}

// erase leaves nothing of a person in the slot.
func (m *Memory) erase(i int32) {
	delete(m.byPerson, m.persons[i].id)
	m.persons[i] = personSlot{first: m.freePerson}
	m.freePerson = i
}
