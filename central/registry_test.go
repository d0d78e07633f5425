package central

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gateline/gateway"
)

// do decides a command and applies its events, as the writer does.
func do(t *testing.T, r *registry, c command) (events []event, changes []gateway.Change, refusal *Refusal) {
	t.Helper()
	events, refusal = r.decide(c, noon)
	for i := range events {
		var err error
		if changes, err = r.apply(&events[i], changes); err != nil {
			t.Fatal(err)
		}
	}
	return events, changes, refusal
}

var noon = time.Date(2022, 5, 31, 12, 0, 0, 0, gateway.Zone)

func bindRow(t *testing.T, credential, id string) row {
	return row{person: personOf(t, id), token: tokenOf(t, credential), bind: true}
}

func reportRow(t *testing.T, id string, rec gateway.Record) row {
	return row{person: personOf(t, id), record: rec, report: true}
}

func codeOf(r *Refusal) Code {
	if r == nil {
		return ""
	}
	return r.Code
}

func TestRegistryRules(t *testing.T) {
	ann, bob := personOf(t, "ann"), personOf(t, "bob")
	tested := gateway.Record{Anchor: 19140}
	both := func(id string, rec gateway.Record) row {
		r := bindRow(t, card(7), id)
		r.record, r.report = rec, true
		return r
	}
	start := []command{
		rowsCommand{reportRow(t, "ann", tested)},
		rowsCommand{bindRow(t, card(1), "ann"), bindRow(t, account(1), "ann")},
		rowsCommand{bindRow(t, card(2), "bob")},
	}
	tests := []struct {
		name    string
		command command
		code    Code
		changes int
		events  int
	}{
		{"a free card is bound", rowsCommand{bindRow(t, card(3), "bob")}, "", 1, 1},
		{"the same pair again is no event", rowsCommand{bindRow(t, card(1), "ann")}, "", 0, 0},
		{"UPG-10: another's card", rowsCommand{bindRow(t, card(1), "bob")}, CodeOtherOwner, 0, 0},
		{"UNB-01: own card", unbindCommand{token: tokenOf(t, card(1)), person: &ann}, "", 1, 1},
		{"unbind without a person", unbindCommand{token: tokenOf(t, card(1))}, "", 1, 1},
		{"E112: another's card", unbindCommand{token: tokenOf(t, card(1)), person: &bob}, CodeNotBound, 0, 0},
		{"E112: not bound", unbindCommand{token: tokenOf(t, card(9))}, CodeNotBound, 0, 0},
		{"IMP-27: a status reaches all credentials", rowsCommand{reportRow(t, "ann", gateway.Record{Class: gateway.ClassRed})}, "", 2, 1},
		{"the same status is no event", rowsCommand{reportRow(t, "ann", tested)}, "", 0, 0},
		{"a status of somebody without a credential", rowsCommand{reportRow(t, "eve", tested)}, "", 0, 1},
		{"a row with both", rowsCommand{both("eve", tested)}, "", 1, 2},
		{"an import is refused as a whole", rowsCommand{bindRow(t, card(5), "eve"), bindRow(t, card(1), "eve")}, CodeOtherOwner, 0, 0},
		{"an import sees its own rows", rowsCommand{bindRow(t, card(5), "eve"), bindRow(t, card(5), "dan")}, CodeOtherOwner, 0, 0},
		{"an import may repeat itself", rowsCommand{bindRow(t, card(5), "eve"), bindRow(t, card(5), "eve")}, "", 1, 1},
		{"a status there and back within an import", rowsCommand{reportRow(t, "ann", gateway.Record{Class: gateway.ClassRed}), reportRow(t, "ann", tested)}, "", 4, 2},
		{"no policy to read", readPolicy{}, CodeNoPolicy, 0, 0},
		{"no policy to edit", stationCommand{station: "xidan", mode: gateway.ModeOff}, CodeNoPolicy, 0, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRegistry()
			for _, c := range start {
				if _, _, refusal := do(t, r, c); refusal != nil {
					t.Fatal(refusal)
				}
			}
			before := r.credentials()
			events, changes, refusal := do(t, r, tt.command)
			if codeOf(refusal) != tt.code || len(events) != tt.events || len(changes) != tt.changes {
				t.Fatalf("got %q with %d events and %d changes, want %q with %d and %d", codeOf(refusal), len(events), len(changes), tt.code, tt.events, tt.changes)
			}
			if refusal != nil && r.credentials() != before {
				t.Error("a refusal changed the state")
			}
			if refusal != nil && (refusal.ZH == "" || refusal.EN == "" || refusal.Detail == "") {
				t.Errorf("a refusal lacks a text: %+v", refusal)
			}
		})
	}
}

func TestRegistryPersonHasAtMostMax(t *testing.T) {
	r := newRegistry()
	var rows rowsCommand
	for i := range MaxPerPerson {
		rows = append(rows, bindRow(t, card(i), "ann"))
	}
	if _, _, refusal := do(t, r, append(slices.Clone(rows), bindRow(t, card(900), "ann"))); codeOf(refusal) != CodeTooMany {
		t.Fatalf("one import with too many: %v", refusal)
	}
	if _, _, refusal := do(t, r, rows); refusal != nil {
		t.Fatal(refusal)
	}
	if _, _, refusal := do(t, r, rowsCommand{bindRow(t, card(900), "ann")}); codeOf(refusal) != CodeTooMany {
		t.Fatalf("one more: %v", refusal)
	}
	do(t, r, unbindCommand{token: tokenOf(t, card(3))})
	if _, _, refusal := do(t, r, rowsCommand{bindRow(t, card(900), "ann")}); refusal != nil {
		t.Fatal(refusal)
	}
}

// model is the registry as one would write it without thinking of size.
type model struct {
	owner  map[gateway.Token]Person
	status map[Person]gateway.Record
}

func (m *model) records() map[gateway.Token]gateway.Record {
	all := map[gateway.Token]gateway.Record{}
	for t, p := range m.owner {
		all[t] = m.status[p]
	}
	return all
}

// TestRegistryAgainstModel runs random commands and compares three views: the
// registry, the model, and a box that only ever sees the changes.
func TestRegistryAgainstModel(t *testing.T) {
	const seed = 20220531
	random := rand.New(rand.NewPCG(seed, 0))
	r, m := newRegistry(), &model{owner: map[gateway.Token]Person{}, status: map[Person]gateway.Record{}}
	box := map[gateway.Token]gateway.Record{}
	for step := range 4000 {
		id := fmt.Sprintf("p%d", random.IntN(20))
		p, token := personOf(t, id), tokenOf(t, card(random.IntN(60)))
		var c command
		switch random.IntN(3) {
		case 0:
			c = rowsCommand{{person: p, token: token, bind: true}}
			if _, bound := m.owner[token]; !bound {
				m.owner[token] = p
			}
		case 1:
			c = unbindCommand{token: token, person: &p}
			if m.owner[token] == p {
				delete(m.owner, token)
			}
		case 2:
			rec := gateway.Record{Class: gateway.Class(random.IntN(4)), Anchor: gateway.Day(19000 + random.IntN(5))}
			c = rowsCommand{{person: p, record: rec, report: true}}
			m.status[p] = rec
		}
		_, changes, _ := do(t, r, c)
		for _, ch := range changes {
			if ch.Delete {
				delete(box, ch.Token)
			} else {
				box[ch.Token] = ch.Record
			}
		}
		want := m.records()
		if !maps.Equal(box, want) || !maps.Equal(recordsOf(r), want) {
			t.Fatalf("seed %d, step %d: registry, box and model differ", seed, step)
		}
		people := map[Person]bool{}
		for _, p := range m.owner {
			people[p] = true
		}
		if shard := gateway.ShardOf(token); !slices.Equal(r.shard(shard), shardOf(r, shard)) {
			t.Fatalf("seed %d, step %d: the shard that changed is not what a filter over all records says", seed, step)
		}
		if r.upgraded != len(people) || r.credentials() != len(want) {
			t.Fatalf("seed %d, step %d: counts are wrong", seed, step)
		}
	}
}

// shardOf filters a shard out of all records.
func shardOf(r *registry, id gateway.ShardID) (records []gateway.Change) {
	for _, c := range r.records() {
		if gateway.ShardOf(c.Token) == id {
			records = append(records, c)
		}
	}
	slices.SortFunc(records, func(a, b gateway.Change) int { return cmp.Compare(a.Token, b.Token) })
	return records
}

func recordsOf(r *registry) map[gateway.Token]gateway.Record {
	all := map[gateway.Token]gateway.Record{}
	for _, c := range r.records() {
		all[c.Token] = c.Record
	}
	return all
}

func TestApplyRefusesWhatDoesNotFit(t *testing.T) {
	r := newRegistry()
	do(t, r, rowsCommand{bindRow(t, card(1), "ann")})
	for _, e := range []event{
		{kind: eventBind, token: tokenOf(t, card(1)), person: personOf(t, "bob")},
		{kind: eventUnbind, token: tokenOf(t, card(2))},
		{kind: 'x'},
	} {
		if _, err := r.apply(&e, nil); err == nil {
			t.Errorf("event %c was applied", e.kind)
		}
	}
}

// BenchmarkRegistryBind shows time and memory of one credential of a city
// whose persons have one card each and every other a ride-code account too.
func BenchmarkRegistryBind(b *testing.B) {
	b.ReportAllocs()
	r := newRegistry()
	d := newDoor(testKey())
	for i := range b.N {
		who, _ := d.person(fmt.Sprintf("p%d", i*2/3))
		token, _ := d.token(card(i))
		e := event{kind: eventBind, token: token, person: who}
		if _, err := r.apply(&e, nil); err != nil {
			b.Fatal(err)
		}
	}
}
