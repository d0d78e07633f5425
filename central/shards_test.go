package central

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
	"gateline/internal/logtest"
	"gateline/replication"
)

// fakeFeed is a feed that stores nothing. A snapshot takes it a while.
type fakeFeed struct {
	last      replication.Entry
	takes     time.Duration
	quick     int // so many snapshots until every shard has one
	shards    []gateway.Shard
	at        []time.Time
	err       error
	published int
}

func (f *fakeFeed) Last() replication.Entry { return f.last }
func (f *fakeFeed) Key() gateway.FeedKey    { return gateway.FeedKey{} }
func (f *fakeFeed) ShardsComplete() bool    { return len(f.shards) >= f.quick }

func (f *fakeFeed) Publish(_ context.Context, e *replication.Entry) error {
	e.Epoch, e.Number = 7, f.last.Number+1
	f.last = *e
	f.published++
	return nil
}

func (f *fakeFeed) LastPurge() (uint64, int64) { return 0, 0 }

func (f *fakeFeed) PublishShard(_ context.Context, s gateway.Shard) error {
	time.Sleep(f.takes)
	f.shards, f.at = append(f.shards, s), append(f.at, time.Now())
	return f.err
}

// serveFake runs the writer's loop over a feed in the time of a synctest bubble.
func serveFake(t *testing.T, f *fakeFeed, cycle, howLong time.Duration, q *queue) (log string, err error) {
	buffer := &logtest.Buffer{}
	w := &writer{state: newState(rules.DefaultRules()), ledger: &ledger{}, kept: &keeper{copy: noCopy{}}, feed: f, now: time.Now, log: buffer.Logger()}
	e := bound(5, Person{1})
	if _, err := w.state.apply(&e, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), howLong)
	defer cancel()
	err = w.serve(ctx, q, time.Second, cycle)
	return buffer.String(), err
}

// Shards come in turn, quickly until every shard has a snapshot and one in
// 4096th of the cycle from then on.
func TestSnapshotPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const cycle = 2 * time.Hour
		f := &fakeFeed{quick: gateway.Shards}
		began := time.Now()
		if _, err := serveFake(t, f, cycle, 3*time.Hour, newQueue(1)); err != nil {
			t.Fatal(err)
		}
		first := f.shards[0].ID
		for i, s := range f.shards {
			if s.ID != (first+gateway.ShardID(i))%gateway.Shards {
				t.Fatalf("snapshot %d is of shard %d", i, s.ID)
			}
			if want := 1; s.ID == 0 && len(s.Records) != want || s.ID != 0 && len(s.Records) != 0 {
				t.Fatalf("shard %d has %d records", s.ID, len(s.Records))
			}
			if s.At.Epoch != 7 || s.At.Number == 0 {
				t.Fatalf("shard %d stands at %v", s.ID, s.At)
			}
		}
		quick := f.at[gateway.Shards-1].Sub(began)
		if quick < gateway.Shards*quickStep || quick > gateway.Shards*quickStep+time.Minute {
			t.Errorf("the first cycle took %v", quick)
		}
		if took := f.at[2*gateway.Shards-1].Sub(f.at[gateway.Shards-1]); took < cycle-time.Minute || took > cycle+time.Minute {
			t.Errorf("the second cycle took %v", took)
		}
	})
}

// A command waits for one snapshot at most, however slow they are, and
// heartbeats go on.
func TestSnapshotsDelayARoundByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFeed{quick: gateway.Shards, takes: 300 * time.Millisecond}
		q := newQueue(100)
		const asked = 50
		waited := make(chan time.Duration, asked)
		go func() {
			for range asked {
				time.Sleep(1234 * time.Millisecond)
				began := time.Now()
				q.put(item{command: readStats{}, answer: func(answer) { waited <- time.Since(began) }})
			}
		}()
		if _, err := serveFake(t, f, DefaultShardCycle, 2*time.Minute, q); err != nil {
			t.Fatal(err)
		}
		late := 0
		for range asked {
			if d := <-waited; d > f.takes {
				late++
			}
		}
		if late > 0 || f.published < 50 {
			t.Errorf("%d of %d commands waited for more than a snapshot; %d heartbeats", late, asked, f.published)
		}
	})
}

// A snapshot that fails is said once and does not stop the centre; one that
// another centre forestalled does.
func TestSnapshotFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFeed{quick: gateway.Shards, err: errors.New("no space")}
		log, err := serveFake(t, f, DefaultShardCycle, time.Minute, newQueue(1))
		if err != nil || strings.Count(log, "could not be stored") != 1 || len(f.shards) < 100 {
			t.Errorf("err %v after %d snapshots, log:\n%s", err, len(f.shards), log)
		}
		f.err = fmt.Errorf("publish: %w", replication.ErrFenced)
		if _, err := serveFake(t, f, DefaultShardCycle, time.Minute, newQueue(1)); !errors.Is(err, ErrTakenOver) {
			t.Errorf("fenced: %v", err)
		}
	})
}

// A centre that starts within a cycle goes on about where the clock says.
func TestSnapshotsBeginByTheClock(t *testing.T) {
	began := time.Unix(0, 0)
	for hours, want := range map[int]gateway.ShardID{0: 0, 3: 2048, 6: 0, 9: 2048} {
		got := newSnapshots(&fakeFeed{}, 6*time.Hour, began.Add(time.Duration(hours)*time.Hour)).next
		if got != want {
			t.Errorf("after %d hours: shard %d, want %d", hours, got, want)
		}
	}
}

// BenchmarkRegistryShard is a shard of a city of a million credentials.
func BenchmarkRegistryShard(b *testing.B) {
	s := newState(rules.DefaultRules())
	random := rand.New(rand.NewPCG(1, 1))
	for i := range 1_000_000 {
		e := bound(gateway.Token(random.Uint64()), Person{byte(i), byte(i >> 8), byte(i >> 16), 1})
		if _, err := s.apply(&e, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	id := gateway.ShardID(0)
	for b.Loop() {
		s.registry.Shard(id)
		id = (id + 1) % gateway.Shards
	}
}

// bound is the event of a new binding.
func bound(t gateway.Token, p Person) event {
	return event{registry: rules.Bound{Binding: rules.Binding{Card: rules.Card{Token: t}, Person: p, Medium: rules.MediumPhysical, Source: rules.SourceSelf}}}
}
