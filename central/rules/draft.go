package rules

import (
	"slices"
	"time"

	"gateline/gateway"
)

// draft is the state as the events of the running command will leave it: what
// lies over the view is what they have touched. So a swap sees the slot that it
// has just freed, and a row of a list what the rows before it have done.
type draft struct {
	view    View
	rules   *Rules
	channel Channel
	now     time.Time
	events  []Event

	holders  map[Person]*Holder
	bindings map[gateway.Token]*Binding // nil = ended
	cases    map[gateway.Token]*Case    // nil = closed
	// freed are the persons who have lost a binding that took a slot.
	freed []Person
}

func newDraft(view View, r *Rules, channel Channel, now time.Time) *draft {
	return &draft{view: view, rules: r, channel: channel, now: now,
		holders: map[Person]*Holder{}, bindings: map[gateway.Token]*Binding{}, cases: map[gateway.Token]*Case{}}
}

func (d *draft) quotas() Quotas { return d.rules.Quotas.At(d.now) }

func (d *draft) kind(c KindCode) (Kind, bool) { return d.rules.Kind(c, d.now) }

// holder returns a person; the draft keeps it.
func (d *draft) holder(p Person) *Holder {
	h, ok := d.holders[p]
	if !ok {
		of := d.view.Holder(p)
		h = &of
		h.Person = p
		d.holders[p] = h
	}
	return h
}

func (d *draft) binding(t gateway.Token) (Binding, bool) {
	if b, ok := d.bindings[t]; ok {
		if b == nil {
			return Binding{}, false
		}
		return *b, true
	}
	return d.view.Binding(t)
}

func (d *draft) caseOf(t gateway.Token) (Case, bool) {
	if c, ok := d.cases[t]; ok {
		if c == nil {
			return Case{}, false
		}
		return *c, true
	}
	return d.view.Case(t)
}

// bind makes a binding and ends the wait for its token. The caller has asked
// every rule.
func (d *draft) bind(b Binding) {
	d.close(b.Token)
	h := d.holder(b.Person)
	h.Bindings = append(h.Bindings, b)
	d.bindings[b.Token] = &b
	if b.Helper != (Person{}) {
		helper := d.holder(b.Helper)
		helper.Helped++
		helper.HelpedEver++
	}
	d.events = append(d.events, Bound{b})
}

// end ends a binding that exists.
func (d *draft) end(b Binding) {
	d.loosen(b)
	d.holder(b.Person).remove(b.Token)
	d.bindings[b.Token] = nil
	d.events = append(d.events, Ended{b.Token})
}

// loosen gives back what a binding takes: its slot and its helper's count.
func (d *draft) loosen(b Binding) {
	if b.Slot {
		d.freed = append(d.freed, b.Person)
	}
	if b.Helper != (Person{}) {
		d.holder(b.Helper).Helped--
	}
}

// mark replaces a binding by one of the back office, which takes no slot and
// counts for no helper (BO-02).
func (d *draft) mark(old, marked Binding) {
	d.close(old.Token)
	d.loosen(old)
	d.replace(marked)
	d.events = append(d.events, Marked{marked})
}

// replace puts a binding in the place of the one of its token.
func (d *draft) replace(b Binding) {
	h := d.holder(b.Person)
	i := slices.IndexFunc(h.Bindings, func(o Binding) bool { return o.Token == b.Token })
	h.Bindings[i] = b
	d.bindings[b.Token] = &b
}

// wait opens a case, unless the same one is open.
func (d *draft) wait(c Case) {
	if open, ok := d.caseOf(c.Want.Token); ok {
		if c.Want.Listing.List == open.Want.Listing.List {
			c.Want.Listing.Run = max(c.Want.Listing.Run, open.Want.Listing.Run)
		}
		same := c
		same.Want.Since = open.Want.Since
		if same == open {
			return
		}
		d.holder(open.Want.Person).removeCase(c.Want.Token)
	}
	h := d.holder(c.Want.Person)
	h.Cases = append(h.Cases, c)
	d.cases[c.Want.Token] = &c
	d.events = append(d.events, CaseOpened{c})
}

// close closes the case of a token, if there is one.
func (d *draft) close(t gateway.Token) bool {
	c, ok := d.caseOf(t)
	if !ok {
		return false
	}
	d.holder(c.Want.Person).removeCase(t)
	d.cases[t] = nil
	d.events = append(d.events, CaseClosed{t})
	return true
}

// admitWaiting binds new cards that waited for a slot which the command has
// freed, the oldest first (TOP-05).
func (d *draft) admitWaiting() {
	quotas := d.quotas()
	for _, p := range d.freed {
		h := d.holder(p)
		for _, c := range slices.Clone(h.Cases) {
			if c.Reason != CaseSlot || quotas.slotFor(h, c.Want.Medium) != nil || len(h.Bindings) >= MaxPerPerson {
				continue
			}
			c.Want.Since = d.now.Unix()
			d.bind(c.Want)
		}
	}
}
