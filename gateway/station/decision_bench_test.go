package station

import (
	"cmp"
	"flag"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"gateline/cache"
	"gateline/drivers"
	"gateline/drivers/direct"
	"gateline/gateway"
)

var decisionRecords = flag.Int("records", 1_000_000, "how many records the store of BenchmarkDecision has")

const (
	// updatesEach is the number of changes of an update, updatesSecond how many such
	// updates there are in a second.
	updatesEach, updatesSecond = 500, 20
	// decisionRiders tap in turn; in another order than that of their tokens, so that
	// nearly every record is read from memory.
	decisionRiders = 1 << 18
)

// BenchmarkDecision is the whole decision as riders meet it, token … answer encoded,
// beside 10,000 changes a second, each entry durable before the next: the median and
// what one in a hundred, one in a thousand and the slowest of all take, the clock's own
// time taken off.
func BenchmarkDecision(b *testing.B) {
	if *decisionRecords <= decisionRiders {
		b.Fatalf("-records %d: more than %d are needed, beside the riders' those that change", *decisionRecords, decisionRiders)
	}
	p := newPathOf(b, *decisionRecords, decisionRiders)
	frames := p.directTaps(nil)
	box := direct.NewBox(direct.BoxConfig{Gates: p.table(), Counters: new(drivers.Counters)})
	stop := p.updates(b)
	var took []time.Duration
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		i := n * 7919 % len(frames) // a prime
		out := box.Step(p.now, frames[i])
		if len(out.Taps) != 1 {
			b.Fatal("a frame brings no tap")
		}
		tap := out.Taps[0]
		began := time.Now()
		box.Answer(p.now, tap, p.desk.Decide(p.now, tap))
		took = append(took, time.Since(began))
		p.desk.Answered(time.Microsecond, time.Millisecond)
		if out = box.Step(p.now, nil); len(out.Send) == 0 {
			b.Fatal("a tap has no answer")
		}
	}
	b.ReportMetric(float64(stop())/b.Elapsed().Seconds(), "changes/s")
	clock := clockTakes()
	slices.Sort(took)
	for _, at := range []struct {
		name string
		part float64
	}{{"p50-ns", 0.5}, {"p99-ns", 0.99}, {"p99.9-ns", 0.999}, {"max-ns", 1}} {
		i := min(int(at.part*float64(len(took))), len(took)-1)
		b.ReportMetric(float64(took[i]-clock), at.name)
	}
	b.ReportMetric(0, "ns/op") // it has the frames and the counting in it
}

// clockTakes is the median of what two readings of the clock find of nothing.
func clockTakes() time.Duration {
	took := make([]time.Duration, 10_000)
	for i := range took {
		began := time.Now()
		took[i] = time.Since(began)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// updates changes records of others than the riders, from now until stop is called, which
// returns how many.
func (p *tapPath) updates(b *testing.B) (stop func() (changes int)) {
	b.Helper()
	store := p.desk.shared.directory.(*cache.Store)
	at, r := store.Position(), rand.New(rand.NewPCG(3, 4))
	ending, changed := make(chan struct{}), 0
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(time.Second / updatesSecond)
		defer tick.Stop()
		for {
			select {
			case <-ending:
				return
			case <-tick.C:
			}
			at.Number++
			u := gateway.Update{To: at}
			for range updatesEach {
				u.Changes = append(u.Changes, gateway.Change{Token: p.others[r.IntN(len(p.others))], Record: gateway.Record{Anchor: gateway.DayOf(p.now)}})
			}
			slices.SortFunc(u.Changes, func(a, b gateway.Change) int { return cmp.Compare(a.Token, b.Token) })
			u.Changes = slices.CompactFunc(u.Changes, func(a, b gateway.Change) bool { return a.Token == b.Token })
			if err := store.Apply(u); err != nil {
				b.Error(err)
				return
			}
			changed += len(u.Changes)
		}
	})
	return func() int {
		close(ending)
		running.Wait()
		return changed
	}
}
