package rules

import (
	"fmt"
	"math"
	"slices"

	"gateline/gateway"
)

// Apply changes the state by an event. It asks no rules: what an event says has
// happened. An error wraps ErrState and leaves the state as it was.
func (m *Memory) Apply(e Event) error {
	switch e := e.(type) {
	case Bound:
		return m.bound(e.Binding)
	case Marked:
		return m.marked(e.Binding)
	case Ended:
		return m.ended(e.Token)
	case Renumbered:
		return m.renumbered(e)
	case Moved:
		return m.moved(e)
	case Seen:
		return m.seen(e)
	case CaseOpened:
		return m.caseOpened(e.Case)
	case CaseClosed:
		return m.caseClosed(e.Token)
	case Reported:
		return m.reported(e)
	case Merged:
		return m.merged(e)
	case Forgotten:
		return m.forgotten(e.Person)
	case HelpedEver:
		if e.Person == (Person{}) {
			return unfit("nobody has helped")
		}
		m.persons[m.person(e.Person)].helpedEver = e.Times
		return nil
	case Settled:
		m.keepSettled(e)
		return nil
	}
	return unfit(fmt.Sprintf("an event of type %T", e))
}

func (m *Memory) bound(b Binding) error {
	if _, bound := m.byToken[b.Token]; bound {
		return unfit("a bound card is bound")
	}
	if !fits(&b) {
		return unfit("a binding has a field out of its range")
	}
	if m.count(b.Person) >= MaxPerPerson {
		return tooMany()
	}
	owner := m.person(b.Person)
	slot := m.freeBinding
	if slot == none {
		slot = int32(len(m.bindings))
		m.bindings = append(m.bindings, bindingSlot{})
	} else {
		m.freeBinding = m.bindings[slot].next
	}
	m.byToken[b.Token] = slot
	m.bindings[slot] = bindingSlot{token: b.Token}
	m.enterShard(slot)
	m.link(slot, owner)
	m.setTerms(slot, b)
	if helper, ok := m.helper[slot]; ok {
		if ever := &m.persons[helper].helpedEver; *ever < math.MaxUint16 {
			*ever++
		}
	}
	return nil
}

// marked keeps the place of the binding and its person.
func (m *Memory) marked(b Binding) error {
	slot, bound := m.byToken[b.Token]
	if !bound || m.persons[m.bindings[slot].person].id != b.Person || !fits(&b) {
		return unfit("a binding is marked that there is not")
	}
	m.clearTerms(slot)
	m.setTerms(slot, b)
	return nil
}

func (m *Memory) ended(t gateway.Token) error {
	slot, bound := m.byToken[t]
	if !bound {
		return unfit("a card that is not bound is unbound")
	}
	m.clearTerms(slot)
	m.unlink(slot)
	m.leaveShard(slot)
	delete(m.byToken, t)
	m.bindings[slot] = bindingSlot{next: m.freeBinding}
	m.freeBinding = slot
	return nil
}

func (m *Memory) renumbered(e Renumbered) error {
	slot, bound := m.byToken[e.Old]
	if _, taken := m.byToken[e.New.Token]; !bound || taken {
		return unfit("a card is replaced that is not bound, or by one that is")
	}
	delete(m.byToken, e.Old)
	m.byToken[e.New.Token] = slot
	m.leaveShard(slot)
	m.bindings[slot].token, m.bindings[slot].kind = e.New.Token, e.New.Kind
	m.enterShard(slot)
	return nil
}

func (m *Memory) moved(e Moved) error {
	slot, bound := m.byToken[e.Token]
	if !bound || e.To == (Person{}) {
		return unfit("a card that is not bound is moved")
	}
	if m.count(e.To) >= MaxPerPerson && m.persons[m.bindings[slot].person].id != e.To {
		return tooMany()
	}
	to := m.person(e.To)
	m.unlink(slot)
	m.link(slot, to)
	m.ownIsNoHelp(slot)
	return nil
}

func (m *Memory) seen(e Seen) error {
	for _, t := range e.Tokens {
		if slot, bound := m.byToken[t]; !bound || m.listings[slot].List == 0 {
			return unfit("a list names a card that is not of it")
		}
	}
	for _, t := range e.Tokens {
		slot := m.byToken[t]
		l := m.listings[slot]
		l.Run = max(l.Run, e.Run)
		m.listings[slot] = l
	}
	return nil
}

func (m *Memory) reported(e Reported) error {
	if e.Person == (Person{}) || !e.Record.Valid() || e.Record.Flags != 0 {
		return unfit("a status is out of its range, or nobody's")
	}
	s := &m.persons[m.person(e.Person)]
	s.record, s.revision = e.Record, e.Revision
	return nil
}

func tooMany() error { return unfit(fmt.Sprintf("a person has more than %d bindings", MaxPerPerson)) }

// count returns how many bindings a person has.
func (m *Memory) count(p Person) int {
	if i, known := m.byPerson[p]; known {
		return int(m.persons[i].count)
	}
	return 0
}

// link makes a binding the first of a person's.
func (m *Memory) link(slot, owner int32) {
	p := &m.persons[owner]
	m.bindings[slot].person, m.bindings[slot].next = owner, p.first
	p.first = slot
	if p.count++; p.count == 1 {
		m.upgraded++
	}
}

func (m *Memory) unlink(slot int32) {
	p := &m.persons[m.bindings[slot].person]
	if p.first == slot {
		p.first = m.bindings[slot].next
	} else {
		b := p.first
		for m.bindings[b].next != slot {
			b = m.bindings[b].next
		}
		m.bindings[b].next = m.bindings[slot].next
	}
	if p.count--; p.count == 0 {
		m.upgraded--
	}
}

// setTerms stores what a binding says beside its token and person; the slot has
// neither helper nor list.
func (m *Memory) setTerms(slot int32, b Binding) {
	packed, _ := pack(&b)
	if b.Helper != (Person{}) {
		m.setHelper(slot, m.person(b.Helper))
	}
	if b.Listing != (Listing{}) {
		m.listings[slot] = b.Listing
	}
	s := &m.bindings[slot]
	s.kind, s.packed, s.since, s.consent = b.Kind, packed, uint32(b.Since), b.Consent
}

func (m *Memory) clearTerms(slot int32) {
	m.clearHelper(slot)
	delete(m.listings, slot)
}

func (m *Memory) setHelper(slot, helper int32) {
	m.helper[slot] = helper
	m.helped[helper] = append(m.helped[helper], slot)
}

func (m *Memory) clearHelper(slot int32) {
	helper, ok := m.helper[slot]
	if !ok {
		return
	}
	delete(m.helper, slot)
	left := slices.DeleteFunc(m.helped[helper], func(s int32) bool { return s == slot })
	if m.helped[helper] = left; len(left) == 0 {
		delete(m.helped, helper)
	}
}

// ownIsNoHelp drops the helper of a binding that has become the helper's own.
func (m *Memory) ownIsNoHelp(slot int32) {
	if helper, ok := m.helper[slot]; ok && helper == m.bindings[slot].person {
		m.clearHelper(slot)
	}
}

// person returns the place of a person, a new one if there is none yet.
func (m *Memory) person(id Person) int32 {
	i, ok := m.byPerson[id]
	if ok {
		return i
	}
	if i = m.freePerson; i == none {
		i = int32(len(m.persons))
		m.persons = append(m.persons, personSlot{})
	} else {
		m.freePerson = m.persons[i].first
	}
	m.persons[i] = personSlot{id: id, first: none}
	m.byPerson[id] = i
	return i
}

// keepSettled keeps an outcome and forgets the oldest above the bound.
func (m *Memory) keepSettled(s Settled) {
	if _, known := m.settled[s.Request]; known {
		m.settled[s.Request] = s
		return
	}
	if len(m.order) < m.keep {
		m.order = append(m.order, s.Request)
	} else {
		delete(m.settled, m.order[m.oldest])
		m.order[m.oldest] = s.Request
		m.oldest = (m.oldest + 1) % m.keep
	}
	m.settled[s.Request] = s
}
