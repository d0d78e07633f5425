package rules

import (
	"slices"
	"testing"
	"time"

	"gateline/gateway"
)

func TestHealth(t *testing.T) {
	t.Run("IMP-12 reports in any order give one state", func(t *testing.T) {
		reports := []Report{
			{Person: ann, Revision: 1, Anchor: 19140}, {Person: ann, Revision: 2, Class: gateway.ClassRed}, {Person: ann, Revision: 7, Anchor: 19138},
		}
		for _, order := range [][3]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
			w := newWorld(t)
			w.does(ChannelApp, upgrade(physical(1), ann))
			for _, i := range order {
				w.does(ChannelHealthSource, reports[i])
			}
			if w.box[physical(1).Token] != (gateway.Record{Anchor: 19138}) || w.state.Holder(ann).Revision != 7 {
				t.Errorf("order %v gives another state", order)
			}
			w.changesNothing(ChannelHealthSource, reports[0])
			w.changesNothing(ChannelHealthSource, reports[2])
			w.refuses(CodeMalformed, ChannelHealthSource, Report{Person: ann, Revision: 7, Anchor: 19139})
		}
	})
	t.Run("IMP-13 a correction may lower the day or take the test away", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		for i, r := range []Report{{Anchor: 19140}, {Anchor: 19130}, {}} {
			r.Person, r.Revision = ann, uint64(i+1)
			w.does(ChannelHealthSource, r)
			if w.box[physical(1).Token].Anchor != r.Anchor {
				t.Errorf("report %d has no effect", i)
			}
		}
	})
	t.Run("IMP-15 a pending result holds the status", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelHealthSource, Report{Person: ann, Revision: 1, Anchor: day(t, "2022-06-30"), HoldThrough: day(t, "2022-07-04")})
		w.does(ChannelHealthSource, Report{Person: ann, Revision: 2, Anchor: day(t, "2022-07-03")})
		if w.box[physical(1).Token] != (gateway.Record{Anchor: day(t, "2022-07-03")}) {
			t.Error("the result does not end the hold")
		}
	})
	t.Run("IMP-16 the day is counted by the rule of the result's day", func(t *testing.T) {
		w := newWorld(t)
		w.now = at(t, "2022-07-10 12:00:00")
		w.does(ChannelApp, upgrade(physical(1), ann))
		for i, test := range []struct{ result, anchor string }{
			{"2022-07-02 03:00:00", "2022-07-01"}, // T6
			{"2022-07-02 00:00:00", "2022-07-01"},
			{"2022-07-02 05:59:59", "2022-07-01"},
			{"2022-07-02 06:00:00", "2022-07-02"},
			{"2022-07-01 03:00:00", "2022-07-01"}, // older results keep theirs
			{"2022-07-01 23:59:59", "2022-07-01"},
		} {
			result := at(t, test.result).UTC()
			w.does(ChannelHealthSource, Report{Person: ann, Revision: uint64(i + 1), Result: result})
			if got := w.box[physical(1).Token].Anchor; got != day(t, test.anchor) {
				t.Errorf("a result of %s counts from %v, not %s", test.result, got, test.anchor)
			}
		}
	})
}

func TestOneEntry(t *testing.T) {
	t.Run("IMP-27 one event reaches all credentials of a person", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelApp, upgrade(physical(1), ann))
		w.does(ChannelApp, upgrade(phone(1), ann))
		w.does(ChannelBackOffice, list(1, Row{Card: elderly(1), Person: ann}))
		events, _, _ := Decide(w.state, w.data, Request{Channel: ChannelHealthSource, Command: Report{Person: ann, Revision: 1, Class: gateway.ClassPopup}}, w.now)
		if len(events) != 1 || len(Changes(w.state, events[0], nil)) != 3 {
			t.Errorf("%d events", len(events))
		}
	})
	t.Run("IMP-27 a status known before a binding goes with it", func(t *testing.T) {
		w := newWorld(t)
		w.does(ChannelHealthSource, Report{Person: ann, Revision: 1, Class: gateway.ClassYellow})
		events, _, _ := Decide(w.state, w.data, Request{Channel: ChannelApp, Command: upgrade(physical(1), ann)}, w.now)
		changes := Changes(w.state, events[0], nil)
		if len(changes) != 1 || changes[0].Record.Class != gateway.ClassYellow {
			t.Error("a binding goes out without its status")
		}
	})
}

func TestReportInOrderOfArrival(t *testing.T) {
	w := newWorld(t)
	w.does(ChannelApp, upgrade(physical(1), ann))
	w.does(ChannelHealthSource, Report{Person: ann, Revision: 7, Class: gateway.ClassYellow})
	w.does(ChannelHealthSource, Report{Person: ann, Class: gateway.ClassRed})
	if h := w.state.Holder(ann); h.Revision != 8 || h.Record.Class != gateway.ClassRed {
		t.Errorf("revision %d", h.Revision)
	}
	events, answer, _ := w.decide(Request{Channel: ChannelHealthSource, Command: Report{Person: ann, Class: gateway.ClassRed}})
	if len(events) != 0 || answer.Result != ResultAlready {
		t.Errorf("the same again: %d events, %s", len(events), answer.Result)
	}
	// With a revision it counts, and means nothing to a box.
	events, _, _ = Decide(w.state, w.data, Request{Channel: ChannelHealthSource, Command: Report{Person: ann, Revision: 9, Class: gateway.ClassRed}}, w.now)
	if len(events) != 1 || len(Changes(w.state, events[0], nil)) != 0 {
		t.Errorf("a revision that says the same: %d events", len(events))
	}
}

func TestReportForm(t *testing.T) {
	w := newWorld(t)
	for name, r := range map[string]Report{
		"nobody": {Revision: 1}, "class": {Person: ann, Revision: 1, Class: 9},
		"both":        {Person: ann, Revision: 1, Anchor: 19140, Result: w.now},
		"minute":      {Person: ann, Revision: 1, Minute: 3},
		"anchor":      {Person: ann, Revision: 1, Anchor: -3},
		"before rule": {Person: ann, Revision: 1, Result: w.data.DayRules[0].From.Add(-time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			w.t = t
			w.refuses(CodeMalformed, ChannelHealthSource, r)
		})
	}
}

// A report of a batch that cannot be taken stops no other one.
func TestReportsInABatch(t *testing.T) {
	w := newWorld(t)
	w.does(ChannelApp, upgrade(physical(1), ann))
	w.does(ChannelHealthSource, Report{Person: bob, Revision: 5, Anchor: 19140})
	batch := Reports{[]Report{{Person: ann, Revision: 1, Anchor: 19140}, {}, {Person: bob, Revision: 4}, {Person: bob, Revision: 5}, {Person: bob, Revision: 5, Anchor: 19140}, {Person: ann, Revision: 2, Anchor: 19141}}}
	answer := w.does(ChannelHealthSource, batch)
	want := []RowAnswer{{1, ResultRejected, CodeMalformed}, {2, ResultOlder, ""}, {3, ResultRejected, CodeMalformed}, {4, ResultAlready, ""}}
	if answer.Result != ResultDone || answer.Bound != 2 || answer.Rejected != 2 || !slices.Equal(answer.Rows, want) {
		t.Errorf("got %+v", answer)
	}
	if w.box[physical(1).Token] != (gateway.Record{Anchor: 19141}) || w.state.Holder(bob).Revision != 5 {
		t.Error("the state is not that of the reports that count")
	}
	if answer := w.does(ChannelHealthSource, Reports{make([]Report, 2)}); answer.Result != ResultRejected || answer.Rejected != 2 {
		t.Errorf("all bad: %+v", answer)
	}
	w.refuses(CodeMalformed, ChannelHealthSource, Reports{})
	w.refuses(CodeMalformed, ChannelHealthSource, Reports{make([]Report, MaxReports+1)})
	w.refuses(CodeChannel, ChannelApp, batch)
}
