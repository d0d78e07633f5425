package rules

import (
	"testing"

	"gateline/gateway"
)

func list(run uint32, rows ...Row) Concessions { return Concessions{List: 1, Run: run, Rows: rows} }

func TestLists(t *testing.T) {
	t.Run("BO-01 lists, full and incremental", func(t *testing.T) {
		w := newWorld(t)
		rows := []Row{{Card: elderly(1), Person: ann, ValidTo: day(t, "2023-01-01")}, {Card: elderly(2), Person: bob}, {Card: elderly(3), Person: cat}}
		if a := w.does(ChannelBackOffice, list(1, rows...)); a.Bound != 3 || a.Result != ResultDone {
			t.Errorf("the first run: %+v", a)
		}
		if b := w.bound(elderly(1), ann); b.Source != SourceList || b.Slot || !b.Lamp || b.Listing.ValidTo != day(t, "2023-01-01") {
			t.Errorf("source %s, slot %v, lamp %v", b.Source, b.Slot, b.Lamp)
		}
		w.changesNothing(ChannelBackOffice, list(1, rows...))
		w.changesNothing(ChannelBackOffice, list(0, rows[1])) // incremental: what is missing means nothing
		w.bound(elderly(3), cat)

		w.does(ChannelBackOffice, list(2, rows[:2]...))
		w.refuses(CodeMalformed, ChannelBackOffice, EndOfList{List: 1, Run: 2, Most: 0}) // IMP-20
		if a := w.does(ChannelBackOffice, EndOfList{List: 1, Run: 2, Most: 1}); a.Ended != 1 || a.More {
			t.Errorf("the end of the list: %+v", a)
		}
		w.unbound(elderly(3))
		w.bound(elderly(1), ann)
		w.bound(elderly(2), bob)
		w.changesNothing(ChannelBackOffice, EndOfList{List: 1, Run: 2, Most: 1})
		w.refuses(CodeMalformed, ChannelBackOffice, Concessions{Rows: rows})
		w.refuses(CodeMalformed, ChannelBackOffice, list(1))
	})
	t.Run("BO-01 what comes between two deliveries is not behind", func(t *testing.T) {
		w := newWorld(t)
		today := Row{Card: elderly(1), Person: ann, ValidTo: gateway.DayOf(w.now)} // its last day
		w.does(ChannelBackOffice, list(2, today, Row{Card: elderly(2), Person: bob}))
		w.changesNothing(ChannelBackOffice, list(1, Row{Card: elderly(2), Person: bob})) // late, from before
		w.apply(Seen{Run: 1, Tokens: []gateway.Token{elderly(2).Token}})
		today.ValidTo++
		w.does(ChannelBackOffice, list(0, today))
		w.changesNothing(ChannelBackOffice, EndOfList{List: 1, Run: 2})
		if w.bound(elderly(1), ann).Listing.ValidTo != today.ValidTo {
			t.Error("the new last day is lost")
		}
	})
	t.Run("BO-01 a card that is named in a row that cannot be taken is not missing", func(t *testing.T) {
		w := newWorld(t)
		student := card(KindStudent, 1)
		w.does(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: ann}))
		w.does(ChannelBackOffice, Students{List: 2, Run: 1, Rows: []Row{{Card: student, Person: ann, Guardian: eve}}})
		conflict := list(2, Row{Card: elderly(1), Person: bob}, Row{Card: elderly(1), Person: bob})
		w.does(ChannelBackOffice, conflict)
		w.does(ChannelBackOffice, Students{List: 2, Run: 2, Rows: []Row{{Card: student, Person: ann}}})
		w.changesNothing(ChannelBackOffice, conflict)
		w.changesNothing(ChannelBackOffice, list(0, conflict.Rows...))
		for id := range uint8(2) {
			w.changesNothing(ChannelBackOffice, EndOfList{List: id + 1, Run: 2})
		}
		w.bound(elderly(1), ann)
		w.bound(student, ann)
	})
	t.Run("BO-01 a long list ends in parts", func(t *testing.T) {
		w := newWorld(t)
		var rows []Row
		for i := range MaxRows + 3 {
			rows = append(rows, Row{Card: elderly(i), Person: someone(string(rune('A' + i)))})
		}
		w.refuses(CodeMalformed, ChannelBackOffice, list(1, rows...))
		w.does(ChannelBackOffice, list(1, rows[:MaxRows]...))
		w.does(ChannelBackOffice, list(1, rows[MaxRows:]...))
		end := EndOfList{List: 1, Run: 2, Most: len(rows)}
		first, second := w.does(ChannelBackOffice, end), w.does(ChannelBackOffice, end)
		if first.Ended != MaxRows || !first.More || second.Ended != 3 || second.More {
			t.Errorf("%+v, then %+v", first, second)
		}
	})
}

func TestEarlierUpgrades(t *testing.T) {
	t.Run("BO-02 the same person's own upgrade is kept and marked", func(t *testing.T) {
		w := newWorld(t)
		w.now = at(t, "2022-05-25 12:00:00")
		w.does(ChannelApp, help(elderly(1), ann, bob))
		made := w.bound(elderly(1), ann)
		w.now = at(t, "2022-06-10 12:00:00")
		w.refuses(CodePhysicalFull, ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: ann}))
		b := w.bound(elderly(1), ann)
		if b.Source != SourceList || b.Slot || b.Since != made.Since || b.Consent != made.Consent || w.state.Holder(bob).Helped != 0 {
			t.Errorf("source %s, slot %v, since %d", b.Source, b.Slot, b.Since)
		}
		w.does(ChannelApp, upgrade(physical(1), ann))
		if n := w.state.Stats().Bindings; n != 2 {
			t.Errorf("%d bindings", n)
		}
	})
	t.Run("BO-02 another person's goes before a human", func(t *testing.T) {
		for _, grant := range []bool{false, true} {
			w := newWorld(t)
			w.now = at(t, "2022-05-25 12:00:00")
			w.does(ChannelApp, upgrade(elderly(1), ann))
			a := w.does(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: bob}, Row{Card: elderly(2), Person: cat}))
			if a.Conflicts != 1 || a.Bound != 1 || len(a.Rows) != 1 || a.Rows[0].Result != ResultConflict {
				t.Errorf("%+v", a)
			}
			w.changesNothing(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: bob}))
			w.bound(elderly(1), ann) // it works until somebody decides
			if own := w.does(ChannelApp, Own{bob}); len(own.Bindings) != 0 {
				t.Error("a claim is shown to the person it is made for")
			}
			w.refuses(CodeChannel, ChannelApp, Resolve{Token: elderly(1).Token, Grant: grant})
			w.does(ChannelOps, Resolve{Token: elderly(1).Token, Grant: grant})
			if grant {
				if b := w.bound(elderly(1), bob); b.Source != SourceList {
					t.Errorf("source %s", b.Source)
				}
			} else {
				w.bound(elderly(1), ann)
			}
			w.changesNothing(ChannelOps, Resolve{Token: elderly(1).Token, Grant: grant})
			if w.state.Stats().Cases != 0 {
				t.Error("the case is still open")
			}
		}
	})
	t.Run("BO-02 a list that corrects itself takes its claim back", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelBackOffice, list(0, Row{Card: elderly(1), Person: ann}))
		w.does(ChannelBackOffice, list(0, Row{Card: elderly(1), Person: bob}))
		w.does(ChannelBackOffice, list(0, Row{Card: elderly(1), Person: ann}))
		w.bound(elderly(1), ann)
		if w.state.Stats().Cases != 0 {
			t.Error("the claim is still there")
		}
	})
}

func TestStudents(t *testing.T) {
	t.Run("BO-03 students, each with a guardian's authorisation", func(t *testing.T) {
		w := newWorld(t)
		end := day(t, "2022-07-15")
		student := func(n int) Card { return card(KindStudent, n) }
		a := w.does(ChannelBackOffice, Students{List: 2, Rows: []Row{
			{Card: student(1), Person: ann, Guardian: eve, ValidTo: end}, {Card: student(2), Person: bob}, {Card: physical(1), Person: bob, Guardian: eve},
			{Card: student(3), Person: cat, Guardian: eve}}})
		if a.Bound != 2 || a.Rejected != 2 || a.Rows[0] != (RowAnswer{Row: 1, Result: ResultRejected, Code: CodeConsent}) || a.Rows[1].Code != CodeUnsupported {
			t.Errorf("%+v", a)
		}
		if b := w.bound(student(1), ann); b.Source != SourceStudents || b.Slot {
			t.Errorf("source %s, slot %v", b.Source, b.Slot)
		}
		w.refuses(CodeNotBound, ChannelApp, WithdrawStudent{Token: student(3).Token, Guardian: bob})
		w.refuses(CodeNotBound, ChannelApp, WithdrawStudent{Token: student(3).Token})
		w.does(ChannelApp, WithdrawStudent{Token: student(3).Token, Guardian: eve})
		w.unbound(student(3))
		w.now = at(t, "2022-07-15 23:59:59")
		w.changesNothing(ChannelBackOffice, Expire{})
		w.now = at(t, "2022-07-16 00:00:00")
		w.does(ChannelBackOffice, Expire{})
		w.unbound(student(1))
	})
}

func TestConcessionRights(t *testing.T) {
	t.Run("BO-04 the status is the person's, the right to a fare the card's", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: ann}))
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelHealthSource, Report{Person: ann, Revision: 1, Anchor: 19150})
		if w.box[physical(1).Token] != (gateway.Record{Anchor: 19150}) || w.box[elderly(1).Token] != (gateway.Record{Anchor: 19150, Flags: gateway.FlagConcession}) {
			t.Error("the ordinary card has an entitlement, or the concession card has none")
		}
	})
	t.Run("GATE-10 the lamp is for cards of the back office", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: ann}))
		w.does(ChannelBackOffice, Students{List: 2, Rows: []Row{{Card: card(KindStudent, 1), Person: bob, Guardian: eve}}})
		w.now = at(t, "2022-05-25 12:00:00")
		w.does(ChannelApp, upgrade(elderly(2), cat)) // by oneself: the fare right is not proven
		for c, lamp := range map[Card]bool{elderly(1): true, card(KindStudent, 1): true, elderly(2): false} {
			if got := w.box[c.Token].Flags&gateway.FlagConcession != 0; got != lamp {
				t.Errorf("kind %d: lamp %v", c.Kind, got)
			}
		}
	})
}

func TestEndsOfLists(t *testing.T) {
	t.Run("IMP-20 a list cut short ends nobody", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: ann}, Row{Card: elderly(2), Person: bob}, Row{Card: elderly(3), Person: cat}))
		w.does(ChannelBackOffice, list(2, Row{Card: elderly(1), Person: ann}))
		w.refuses(CodeMalformed, ChannelBackOffice, EndOfList{List: 1, Run: 2, Most: 1})
		w.bound(elderly(3), cat)
	})
	t.Run("IMP-29 expiry, death, merge and split", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: ann, ValidTo: day(t, "2022-06-10")}))
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.now = at(t, "2022-06-11 00:00:00")
		w.does(ChannelBackOffice, Expire{})
		w.unbound(elderly(1))
		w.bound(physical(1), ann)
		if a := w.does(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: ann, ValidTo: day(t, "2022-06-10")})); a.Rejected != 1 {
			t.Errorf("an expired card in a list: %+v", a)
		}
		w.does(ChannelBackOffice, Died{ann})
		w.unbound(physical(1))
		w.changesNothing(ChannelBackOffice, Died{ann})
	})
	t.Run("BO-01 a row too many for a person is rejected by itself", func(t *testing.T) {
		w := newWorld(t)
		var rows []Row
		for i := range MaxPerPerson + 1 {
			rows = append(rows, Row{Card: elderly(i), Person: ann})
		}
		a := w.does(ChannelBackOffice, list(1, append(rows, Row{Card: elderly(99), Person: bob})...))
		if a.Bound != MaxPerPerson+1 || a.Rejected != 1 || a.Rows[0].Code != CodeTooMany {
			t.Errorf("%+v", a)
		}
	})
}
