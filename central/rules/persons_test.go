package rules

import (
	"testing"

	"gateline/gateway"
)

func TestMerge(t *testing.T) {
	t.Run("IMP-29 two pseudonyms become one person", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelApp, upgrade(physical(2), bob))
		w.does(ChannelApp, help(physical(3), cat, ann))
		w.does(ChannelApp, help(card(KindMunicipal, 4), eve, bob))
		w.does(ChannelPoint, issue(physical(5), ann)) // waits
		w.does(ChannelHealthSource, Report{Person: ann, Revision: 9, Class: gateway.ClassRed})
		w.does(ChannelHealthSource, Report{Person: bob, Revision: 3, Anchor: 19140})
		w.does(ChannelOps, Merge{From: ann, Into: bob})
		w.bound(physical(1), bob)
		w.bound(physical(2), bob)
		for _, c := range []Card{physical(1), physical(2)} {
			if w.box[c.Token] != (gateway.Record{Anchor: 19140}) {
				t.Error("the status is not that of the person who stays")
			}
		}
		w.does(ChannelHealthSource, Report{Person: bob, Revision: 4, Anchor: 19141}) // the other's revisions do not count
		if h := w.state.Holder(bob); h.Helped != 2 || h.HelpedEver != 2 || len(h.Cases) != 1 {
			t.Errorf("helped %d of %d, %d cases", h.Helped, h.HelpedEver, len(h.Cases))
		}
		if h := w.state.Holder(ann); !h.empty() {
			t.Error("the other pseudonym is still known")
		}
		w.refuses(CodePhysicalFull, ChannelApp, upgrade(physical(6), bob)) // above the quota, nothing unbound
		w.does(ChannelApp, unbind(physical(1), bob))
		w.unbound(physical(5)) // still one in the slot
		w.does(ChannelApp, unbind(physical(2), bob))
		w.bound(physical(5), bob)
		w.changesNothing(ChannelOps, Merge{From: ann, Into: bob})
	})
	t.Run("IMP-29 a helper who turns out to be the holder has not helped", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, help(physical(1), ann, bob))
		w.does(ChannelOps, Merge{From: ann, Into: bob})
		if b := w.bound(physical(1), bob); b.Helper != (Person{}) || w.state.Holder(bob).Helped != 0 {
			t.Error("it still counts")
		}
	})
	t.Run("IMP-29 a guardian's corrected pseudonym still withdraws", func(t *testing.T) {
		w := newWorld(t)
		student := card(KindStudent, 1)
		w.does(ChannelBackOffice, Students{List: 2, Rows: []Row{{Card: student, Person: cat, Guardian: ann}}})
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelOps, Merge{From: ann, Into: bob})
		w.does(ChannelApp, WithdrawStudent{Token: student.Token, Guardian: bob})
		w.unbound(student)
	})
}

func TestSplit(t *testing.T) {
	t.Run("IMP-29 one pseudonym becomes two persons", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelHealthSource, Report{Person: ann, Revision: 1, Class: gateway.ClassRed})
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelApp, upgrade(phone(1), ann))
		w.refuses(CodeNotBound, ChannelOps, Split{From: ann, Into: bob, Tokens: []gateway.Token{physical(1).Token, physical(9).Token}})
		w.refuses(CodeNotBound, ChannelOps, Split{From: ann, Into: bob, Tokens: []gateway.Token{physical(1).Token, physical(1).Token}})
		w.does(ChannelOps, Split{From: ann, Into: bob, Tokens: []gateway.Token{phone(1).Token}})
		w.bound(phone(1), bob)
		if w.box[phone(1).Token] != (gateway.Record{}) || w.box[physical(1).Token].Class != gateway.ClassRed {
			t.Error("the status went along, or was lost")
		}
		w.does(ChannelApp, upgrade(physical(2), bob))
		// What waited is let in, and a helper's own card has not been helped with.
		w.does(ChannelPoint, issue(physical(3), ann))
		w.refuses(CodePhysicalFull, ChannelOps, Resolve{Token: physical(3).Token, Grant: true})
		w.does(ChannelOps, Split{From: ann, Into: cat, Tokens: []gateway.Token{physical(1).Token}})
		w.bound(physical(3), ann)
		w.does(ChannelApp, help(physical(4), eve, cat))
		w.does(ChannelOps, Split{From: eve, Into: cat, Tokens: []gateway.Token{physical(4).Token}})
		if b := w.bound(physical(4), cat); b.Helper != (Person{}) || w.state.Holder(cat).Helped != 0 {
			t.Error("it still counts")
		}
	})
}

func TestDelete(t *testing.T) {
	t.Run("PRV-04 a deleted person leaves nothing", func(t *testing.T) {
		w := newWorld(t)
		student := card(KindStudent, 1)
		w.does(ChannelHealthSource, Report{Person: ann, Revision: 1, Anchor: 19140})
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelApp, help(physical(2), bob, ann))
		w.does(ChannelPoint, issue(physical(3), ann))
		w.does(ChannelBackOffice, Students{List: 2, Rows: []Row{{Card: student, Person: cat, Guardian: ann}}})
		w.does(ChannelOps, Delete{ann})
		w.unbound(physical(1))
		if b := w.bound(physical(2), bob); b.Helper != (Person{}) {
			t.Error("the helper is still named")
		}
		if b := w.bound(student, cat); b.Listing.Guardian != (Person{}) {
			t.Error("the guardian is still named")
		}
		for i := range w.state.persons {
			if w.state.persons[i].id == ann {
				t.Error("the pseudonym is still in memory")
			}
		}
		if h := w.state.Holder(ann); !h.empty() || w.state.Stats().Cases != 0 {
			t.Error("something is still known")
		}
		w.does(ChannelApp, upgrade(physical(4), eve)) // in the slot that was freed
		w.bound(physical(4), eve)
	})
	t.Run("IMP-27 nobody has more bindings than fit into an entry", func(t *testing.T) {
		w := newWorld(t)
		for i := range MaxPerPerson {
			w.does(ChannelApp, Authorise{Account: card(KindRideYikatong, i), Person: ann, Identified: true, Consent: 1})
		}
		w.refuses(CodeTooMany, ChannelApp, Authorise{Account: card(KindRideYikatong, 99), Person: ann, Identified: true, Consent: 1})
		w.refuses(CodeTooMany, ChannelApp, upgrade(physical(1), ann))
		w.refuses(CodeTooMany, ChannelPoint, issue(physical(1), ann))
		w.does(ChannelApp, upgrade(physical(1), bob))
		w.refuses(CodeTooMany, ChannelOps, Merge{From: bob, Into: ann})
		w.refuses(CodeTooMany, ChannelOps, Split{From: bob, Into: ann, Tokens: []gateway.Token{physical(1).Token}})
		w.does(ChannelHealthSource, Report{Person: ann, Revision: 1, Anchor: 19140})
	})
}

// TestWaitingIsBounded lets no more cards wait for a person than maxCases.
func TestWaitingIsBounded(t *testing.T) {
	w := newWorld(t)
	w.does(ChannelApp, upgrade(physical(0), ann))
	for i := range maxCases {
		w.does(ChannelPoint, issue(physical(i+1), ann))
	}
	w.refuses(CodeTooMany, ChannelPoint, issue(physical(maxCases+1), ann))
	w.now = at(t, "2022-05-25 12:00:00")
	w.does(ChannelApp, upgrade(elderly(1), bob))
	a := w.does(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: ann}))
	if a.Rejected != 1 || a.Rows[0].Code != CodeTooMany {
		t.Errorf("%+v", a.Outcome)
	}
}
