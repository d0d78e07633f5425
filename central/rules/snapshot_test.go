package rules

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"gateline/gateway"
)

// TestSnapshot makes a state of the snapshot of another, after some thousand random
// requests, and lets both go on: they say the same to everything that is asked.
func TestSnapshot(t *testing.T) {
	const seed, steps = 20220601, 4000
	random := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	w.state.keep = 300 // the ring of requests has come round
	decide := func(step int) {
		w.now = w.now.Add(time.Duration(random.IntN(7200)) * time.Second)
		q := randomRequest(random, uint64(step+1))
		switch random.IntN(60) {
		case 0:
			q = Request{Channel: ChannelOps, Command: Merge{From: someone("person 3"), Into: someone(fmt.Sprintf("person %d", random.IntN(12)))}}
		case 1:
			q = Request{Channel: ChannelBackOffice, Command: list(uint32(step+1), Row{Card: elderly(random.IntN(25)), Person: someone("person 4")})}
		}
		q.ID = fmt.Sprintf("r%d", step)
		w.decide(q)
	}
	for step := range steps {
		decide(step)
	}
	for name, n := range map[string]int{"case": len(w.state.cases), "helper": len(w.state.helper), "listing": len(w.state.listings), "place in the ring": w.state.oldest} {
		if n == 0 {
			t.Errorf("there is no %s: the test does not reach it", name)
		}
	}
	if !slices.ContainsFunc(slices.Collect(w.state.Snapshot()), func(e Event) bool { _, is := e.(HelpedEver); return is }) {
		t.Error("nobody has helped more often than there are bindings")
	}
	other := newWorld(t)
	other.state.keep = w.state.keep
	for e := range w.state.Snapshot() {
		other.apply(e)
	}
	alike(t, w, other, "the snapshot")
	if again := slices.Collect(other.state.Snapshot()); !maps.Equal(counts(again), counts(slices.Collect(w.state.Snapshot()))) {
		t.Error("its own snapshot has other events")
	}
	twin := rand.New(rand.NewPCG(seed, 1))
	for step := range 1000 {
		w.now = w.now.Add(time.Hour)
		other.now = w.now
		q := randomRequest(twin, uint64(steps+step+1))
		q.ID = fmt.Sprintf("r%d", steps-100+step) // some of them were asked before
		events, answer, refusal := w.decide(q)
		events2, answer2, refusal2 := other.decide(q)
		if !reflect.DeepEqual(events, events2) || !reflect.DeepEqual(answer, answer2) || !reflect.DeepEqual(refusal, refusal2) {
			t.Fatalf("step %d, %T is answered otherwise", step, q.Command)
		}
	}
	alike(t, w, other, "what followed")
	for e := range w.state.Snapshot() { // it may be broken off
		_ = e
		break
	}
}

func counts(events []Event) map[string]int {
	n := map[string]int{}
	for _, e := range events {
		n[fmt.Sprintf("%T", e)]++
	}
	return n
}

// alike compares everything that a View tells.
func alike(t *testing.T, w, other *world, when string) {
	t.Helper()
	persons := maps.Clone(w.state.byPerson)
	maps.Copy(persons, other.state.byPerson)
	for p := range persons {
		if !reflect.DeepEqual(w.state.Holder(p), other.state.Holder(p)) || !reflect.DeepEqual(w.state.Helped(p), other.state.Helped(p)) {
			t.Fatalf("%s: a person differs", when)
		}
	}
	if w.state.Stats() != other.state.Stats() || !maps.Equal(w.state.cases, other.state.cases) || !maps.Equal(w.state.settled, other.state.settled) {
		t.Fatalf("%s: counters, cases or outcomes differ", when)
	}
	if !reflect.DeepEqual(w.state.Behind(1, 1<<31), other.state.Behind(1, 1<<31)) || !reflect.DeepEqual(w.state.Expired(30000), other.state.Expired(30000)) {
		t.Fatalf("%s: a list differs", when)
	}
	if got := map[gateway.Token]gateway.Record(other.box); !maps.Equal(w.box, got) {
		t.Fatalf("%s: boxes get something else", when)
	}
}
