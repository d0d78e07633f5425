package central

import (
	"errors"
	"fmt"

	"gateline/gateway"
)

// errImpossible is wrapped when an event does not fit the state it is applied
// to: the ledger is damaged, or was written by rules that this version does
// not know.
var errImpossible = errors.New("the event does not fit the state")

// apply changes the state by an event and appends the record changes it means
// for boxes, at most MaxPerPerson of them and at most one per token. An error
// wraps errImpossible and leaves the state as it was.
func (r *registry) apply(e *event, changes []gateway.Change) ([]gateway.Change, error) {
	switch e.kind {
	case eventBind:
		return r.applyBind(e, changes)
	case eventUnbind:
		return r.applyUnbind(e, changes)
	case eventStatus:
		return r.applyStatus(e, changes), nil
	case eventSchedule:
		r.schedule = e.schedule
		return changes, nil
	}
	return changes, fmt.Errorf("%w: kind %q", errImpossible, e.kind)
}

func (r *registry) applyBind(e *event, changes []gateway.Change) ([]gateway.Change, error) {
	if _, bound := r.byToken[e.token]; bound {
		return changes, fmt.Errorf("%w: a bound credential is bound", errImpossible)
	}
	owner := r.personIndex(e.person)
	p := &r.persons[owner]
	if p.count >= MaxPerPerson {
		return changes, fmt.Errorf("%w: a person has more than %d credentials", errImpossible, MaxPerPerson)
	}
	slot := r.free
	if slot == none {
		slot = int32(len(r.bindings))
		r.bindings = append(r.bindings, binding{})
	} else {
		r.free = r.bindings[slot].next
	}
	r.bindings[slot] = binding{token: e.token, person: owner, next: p.first}
	r.enterShard(slot)
	r.byToken[e.token] = slot
	p.first = slot
	if p.count++; p.count == 1 {
		r.upgraded++
	}
	return append(changes, gateway.Change{Token: e.token, Record: p.record}), nil
}

func (r *registry) applyUnbind(e *event, changes []gateway.Change) ([]gateway.Change, error) {
	slot, bound := r.byToken[e.token]
	if !bound {
		return changes, fmt.Errorf("%w: a credential that is not bound is unbound", errImpossible)
	}
	p := &r.persons[r.bindings[slot].person]
	if p.first == slot {
		p.first = r.bindings[slot].next
	} else {
		b := p.first
		for r.bindings[b].next != slot {
			b = r.bindings[b].next
		}
		r.bindings[b].next = r.bindings[slot].next
	}
	if p.count--; p.count == 0 {
		r.upgraded--
	}
	r.leaveShard(slot)
	delete(r.byToken, e.token)
	r.bindings[slot] = binding{next: r.free}
	r.free = slot
	return append(changes, gateway.Change{Token: e.token, Delete: true}), nil
}

// applyStatus reaches every credential of the person at once (IMP-27).
func (r *registry) applyStatus(e *event, changes []gateway.Change) []gateway.Change {
	p := &r.persons[r.personIndex(e.person)]
	p.record = e.record
	for b := p.first; b != none; b = r.bindings[b].next {
		changes = append(changes, gateway.Change{Token: r.bindings[b].token, Record: p.record})
	}
	return changes
}

// personIndex returns the person's place, a new one if there is none yet.
func (r *registry) personIndex(id Person) int32 {
	i, ok := r.byPerson[id]
	if !ok {
		i = int32(len(r.persons))
		r.persons = append(r.persons, person{id: id, first: none})
		r.byPerson[id] = i
	}
	return i
}
