package rules

import (
	"errors"
	"fmt"
	"runtime"
	"testing"

	"gateline/gateway"
)

func TestApplyRefusesWhatDoesNotFit(t *testing.T) {
	good := Binding{Card: physical(1), Person: ann, Medium: MediumPhysical, Source: SourceSelf, Slot: true}
	with := func(change func(*Binding)) Binding {
		b := good
		b.Card = physical(2)
		change(&b)
		return b
	}
	w := newWorld(t)
	w.apply(Bound{good})
	for i := range MaxPerPerson {
		w.apply(Bound{Binding{Card: phone(i), Person: eve, Medium: MediumNFC, Source: SourceSelf}})
	}
	before := snapshot(w.state)
	for _, e := range []Event{
		Bound{good}, Bound{with(func(b *Binding) { b.Medium = "paper" })}, Bound{with(func(b *Binding) { b.Source = "" })},
		Bound{with(func(b *Binding) { b.Person = Person{} })}, Bound{with(func(b *Binding) { b.Since = -1 })}, Bound{with(func(b *Binding) { b.Person = eve })},
		Marked{with(func(*Binding) {})}, Marked{Binding{Card: physical(1), Person: bob, Medium: MediumPhysical, Source: SourceList}},
		Ended{physical(9).Token}, Renumbered{Old: physical(9).Token, New: physical(8)}, Renumbered{Old: physical(1).Token, New: phone(1)},
		Moved{Token: physical(9).Token, To: bob}, Moved{Token: physical(1).Token, To: eve}, Moved{Token: physical(1).Token},
		Seen{Run: 1, Tokens: []gateway.Token{physical(1).Token}}, CaseOpened{Case{}}, CaseClosed{physical(1).Token},
		Reported{}, Reported{Person: ann, Record: gateway.Record{Class: 9}}, Reported{Person: ann, Record: gateway.Record{Flags: gateway.FlagConcession}},
		Merged{From: ann, Into: ann}, Merged{Into: ann}, Merged{From: ann}, Merged{From: ann, Into: eve}, Forgotten{ann}, Forgotten{}, HelpedEver{Times: 1}, nil,
	} {
		if err := w.state.Apply(e); !errors.Is(err, ErrState) {
			t.Errorf("%T: %v", e, err)
		}
		if after := snapshot(w.state); after != before {
			t.Fatalf("%T was refused and has changed the state", e)
		}
	}
}

// snapshot is the state as text that can be compared: its slots, and how much
// lies beside them.
func snapshot(m *Memory) string {
	text := fmt.Sprintln(len(m.byToken), len(m.byPerson), m.upgraded, m.freePerson, m.freeBinding,
		len(m.helper), len(m.helped), len(m.listings), len(m.cases), len(m.waiting))
	for i := range m.persons {
		p := &m.persons[i]
		text += fmt.Sprintln([16]byte(p.id), p.revision, p.first, p.count, p.helpedEver, gateway.AppendRecord(nil, p.record))
	}
	for i := range m.bindings {
		b := &m.bindings[i]
		text += fmt.Sprintln(uint64(b.token), b.person, b.next, b.since, b.consent, b.kind, b.packed)
	}
	return text
}

// fill binds one card for each person, and a ride code for every other.
func fill(tb testing.TB, m *Memory, persons int) {
	for i := range persons {
		var p Person
		for j := range 8 {
			p[j] = byte(uint64(i) * 0x9E3779B97F4A7C15 >> (8 * j))
		}
		p[8] = 1
		bind := func(b Binding) {
			b.Person, b.Since = p, 1653900000
			if err := m.Apply(Bound{b}); err != nil {
				tb.Fatal(err)
			}
		}
		bind(Binding{Card: physical(i), Medium: MediumPhysical, Source: SourceSelf, Slot: true})
		if i%2 == 0 {
			bind(Binding{Card: card(KindRideYikatong, i), Medium: MediumRide, Source: SourceRide})
		}
		if err := m.Apply(Reported{Person: p, Record: gateway.Record{Anchor: 19140}, Revision: 1}); err != nil {
			tb.Fatal(err)
		}
	}
}

// TestMemoryOfAPerson holds the bound that doc and Memory name.
func TestMemoryOfAPerson(t *testing.T) {
	const persons, most = 150_000, 200
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := NewMemory()
	fill(t, m, persons)
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc) / persons
	t.Logf("%.0f bytes a person with 1.5 bindings", each)
	if each > most {
		t.Errorf("%.0f bytes a person, more than %d", each, most)
	}
	runtime.KeepAlive(m)
}

// BenchmarkDecideApply is an upgrade and its changes, at growing size; it
// reports the memory of a person too.
func BenchmarkDecideApply(b *testing.B) {
	b.ReportAllocs()
	w := newWorld(b)
	channels := []Channel{ChannelApp, ChannelMini, ChannelMetro}
	var changes []gateway.Change
	for i := 0; b.Loop(); i++ {
		p := Person{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24), 1}
		events, _, refusal := Decide(w.state, w.data, Request{Channel: channels[i%3], Command: upgrade(physical(i), p)}, w.now)
		if refusal != nil {
			b.Fatal(refusal)
		}
		for _, e := range events {
			changes = Changes(w.state, e, changes[:0])
			if err := w.state.Apply(e); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkMemory fills a state; B/op is of all persons together.
func BenchmarkMemory(b *testing.B) {
	const persons = 1_000_000
	for b.Loop() {
		m := NewMemory()
		fill(b, m, persons)
		b.StopTimer()
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		b.ReportMetric(float64(stats.HeapAlloc)/persons, "heap-B/person")
		runtime.KeepAlive(m)
		b.StartTimer()
	}
}

// TestSlotsAreUsedAgain binds and deletes without end in bounded memory.
func TestSlotsAreUsedAgain(t *testing.T) {
	w := newWorld(t)
	for i := range 50 {
		p := someone(string(rune('a' + i)))
		w.does(ChannelApp, upgrade(physical(i), p))
		w.does(ChannelOps, Delete{p})
	}
	if len(w.state.bindings) != 1 || len(w.state.persons) != 1 {
		t.Errorf("%d slots of bindings, %d of persons", len(w.state.bindings), len(w.state.persons))
	}
}
