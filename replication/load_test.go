package replication

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/gateway"
)

var templateTerms = []gateway.KeyTerm{{Key: testSecret(1).Public(), From: 1}, {Key: testSecret(2).Public(), From: 23}}

// storeAt returns a store that has followed the feed up to an entry.
func (c *centre) storeAt(number uint64) *memory {
	c.t.Helper()
	store, f := newMemory(), NewFollower(Start{Trusted: testKeys})
	f.Asked(1)
	for n := uint64(1); n <= number; n++ {
		e := c.entry(n)
		if action, err := f.Step(e, false); action != ActionApply {
			c.t.Fatal(action, err)
		}
		u := f.Update(e)
		if err := store.ApplyAll([]gateway.Update{u}); err != nil {
			c.t.Fatal(err)
		}
		f.Applied(&u)
	}
	return store
}

// given makes shards count as loaded from entry 40, as the template has them.
func (c *centre) given(store *memory, shards func(gateway.ShardID) bool) {
	for i := range store.marks {
		id := gateway.ShardID(i)
		if !shards(id) {
			continue
		}
		store.marks[id] = gateway.ShardMark{Epoch: c.pub.Last().Epoch, Number: 40}
		maps.DeleteFunc(store.records, func(t gateway.Token, _ gateway.Record) bool { return gateway.ShardOf(t) == id })
		for _, r := range shardOf(c.want, id) {
			store.records[r.Token] = r.Record
		}
	}
}

// A new box loads the shards and follows the feed, whose beginning is gone; it
// gets the schedule, and walks from the key it was given to the one in force. A
// load that is broken off at any window goes on with what is lacking, also in
// another process.
func TestLoadFirst(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	c.keep(3)
	store, log := newMemory(), &lines{}
	var loads []gateway.Load
	var applied []gateway.Update
	for range 2 {
		enough := store.loads + 1000
		store.onLoad = func(l gateway.Load) {
			loads = append(loads, l)
			if store.loads >= enough {
				store.failing = errors.New("killed")
			}
		}
		failed := store.failed
		_, stop := startBox(t, c.url(), store, log, func(cfg *BoxConfig) {
			cfg.OnApplied = func(u gateway.Update) { applied = append(applied, u) }
		})
		until(t, "loaded some", func() bool { store.mu.Lock(); defer store.mu.Unlock(); return store.failed > failed })
		stop()
		store.fail(nil)
	}
	store.onLoad = nil
	box, _ := startBox(t, c.url(), store, log, nil)
	same(t, c, store)
	c.publish(2)
	same(t, c, store)
	if first := loads[0]; first.To == nil || first.To.Number != 40 || first.Schedule == nil || !slices.Equal(first.Keys, templateTerms) {
		t.Errorf("what is loaded does not answer at once: %+v", first.To)
	}
	if applied[0].Schedule == nil || applied[0].To.Number != 40 || applied[0].Complete {
		t.Errorf("the schedule is not told: %+v", applied[0].To)
	}
	if store.loads != gateway.Shards {
		t.Errorf("%d shards loaded, some of them twice", store.loads)
	}
	if store.complete != 41 || !slices.Equal(store.terms, templateTerms) {
		t.Errorf("complete at %d, terms %v", store.complete, store.terms)
	}
	s := box.Stats()
	if s.Loading || s.ShardsLoaded != s.ShardsToLoad || s.ShardsLoaded == 0 || s.LoadedBytes == 0 || s.Reloads != 0 || s.Applied != 3 || s.Refused != 0 {
		t.Errorf("%+v\n%s", s, log)
	}
	if log.count("those that are there are of use at once") != 3 || log.count("all shards are loaded") != 1 {
		t.Errorf("log:\n%s", log)
	}
}

// A box that was cut off for longer than the feed goes back keeps what it has
// until all shards are loaded anew; a kill on the way costs nothing.
func TestLoadAfterGap(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	store, log := c.storeAt(10), &lines{}
	at := store.Position()
	c.keep(3) // 39 … 41
	// Killed before: shards below 3900 are loaded already.
	c.given(store, func(id gateway.ShardID) bool { return id < 3900 })
	moved := 0
	store.onLoad = func(l gateway.Load) {
		if l.To != nil {
			moved++
		}
		if store.loads == shardsPerWindow {
			store.failing = errors.New("killed")
		}
	}
	_, stop := startBox(t, c.url(), store, log, nil)
	until(t, "loaded some", func() bool { store.mu.Lock(); defer store.mu.Unlock(); return store.failed > 0 })
	stop()
	if store.Position() != at || moved != 0 {
		t.Errorf("position moved to %d before all shards were there", store.at())
	}
	store.fail(nil)
	store.onLoad = func(l gateway.Load) {
		if l.To != nil {
			moved++
		}
	}
	box, stop := startBox(t, c.url(), store, log, nil)
	same(t, c, store)
	stop()
	if moved != 1 || store.loads != gateway.Shards-3900 || box.Stats().Reloads != 1 || !slices.Equal(store.terms, templateTerms) {
		t.Errorf("%d moves, %d shards loaded, %+v", moved, store.loads, box.Stats())
	}
	if log.count("loaded anew") != 2 || log.count("reason=") != 2 {
		t.Errorf("log:\n%s", log)
	}
	// With snapshots that are older than the feed there is nothing to be done.
	c.publish(30)
	at = store.Position()
	loads := store.loads
	box, _ = startBox(t, c.url(), store, log, nil)
	until(t, "old shards refused", func() bool { return box.Stats().Refused > 0 && log.count("the feed begins after it") > 0 })
	if store.Position() != at || store.loads != loads || log.count("the feed begins after it") != 1 {
		t.Errorf("at %d, log:\n%s", store.at(), log)
	}
	if moved != 1 {
		t.Errorf("%d moves", moved)
	}
}

// otherEpoch makes the store one of an older life of the feed, with a record that
// the new one has not.
func otherEpoch(store *memory, watermark int64) {
	store.position = gateway.Position{Epoch: 5, Number: 1000, Watermark: watermark, Hash: someHash}
	store.terms = termsOf(1, 1)
	store.complete = 1
	for i := range store.marks {
		store.marks[i] = gateway.ShardMark{Epoch: 5}
	}
	store.records[0xfff<<52] = gateway.Record{}
}

// A centre that began a new epoch has its boxes load it, once it has written all
// shards.
func TestLoadNewEpoch(t *testing.T) {
	t.Parallel()
	store, log := newMemory(), &lines{}
	otherEpoch(store, 1)
	at := store.Position()
	fresh := openCentre(t, t.TempDir(), "127.0.0.1:0")
	_, stop := startBox(t, fresh.url(), store, log, nil)
	until(t, "no shards yet", func() bool { fresh.publish(1); return log.count(ErrNoShards.Error()) == 1 })
	stop()
	if store.Position() != at || store.loads != 0 {
		t.Errorf("position %+v before there were shards", store.Position())
	}

	c := openShardedCentre(t)
	c.given(store, func(id gateway.ShardID) bool { return id < 4000 })
	store.onLoad = func(l gateway.Load) {
		if l.To == nil && store.position != at {
			store.faults = append(store.faults, "moved before all shards were there")
		}
	}
	box, _ := startBox(t, c.url(), store, log, nil)
	until(t, "the new epoch", func() bool { return store.Position().Epoch == c.pub.Last().Epoch })
	c.publish(1)
	same(t, c, store)
	if s := box.Stats(); s.Reloads != 1 || !slices.Equal(store.Keys(), templateTerms) || log.count("loaded anew") != 1 || store.loads != gateway.Shards-4000 {
		t.Errorf("%+v, terms %v, log:\n%s", s, store.Keys(), log)
	}
}

// Nobody gets a box back to an epoch that is older than its data.
func TestLoadNoOldEpoch(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	head := decodeHead(t, c.shard(subjectHead)).At
	c.publish(1)
	for watermark, want := range map[int64]error{
		head.Watermark:        ErrOldEpoch,     // the last entry is newer, the head is not
		c.pub.Last().Time + 1: ErrForeignEpoch, // nothing is
	} {
		store, log := newMemory(), &lines{}
		otherEpoch(store, watermark)
		store.position.Number = 42 // so that the last entry is seen
		at := store.Position()
		box, stop := startBox(t, c.url(), store, log, nil)
		until(t, "refused", func() bool { return box.Stats().Refused >= 3 })
		stop()
		if store.Position() != at || store.loads != 0 || log.count(want.Error()) != 1 {
			t.Errorf("position %+v, %d shards loaded, log:\n%s", store.Position(), store.loads, log)
		}
	}
}

// A centre restored from a backup, with its epoch: the box keeps what it has and
// loads nothing, even with shards there.
func TestLoadNothingOfRestored(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	c.publish(5)
	store, log := c.storeAt(46), &lines{}
	at := store.Position()
	restored := openShardedCentre(t)
	for _, grown := range []int{0, 2, 9} { // behind the box, then past it
		restored.publish(grown)
		box, stop := startBox(t, restored.url(), store, log, nil)
		until(t, "refused", func() bool { return box.Stats().Refused >= 2 })
		stop()
	}
	if store.Position() != at || store.loads != 0 {
		t.Errorf("position %+v, %d shards loaded", store.Position(), store.loads)
	}
	if log.count(ErrWentBack.Error()) == 0 || log.count("give it a new epoch") == 0 {
		t.Errorf("log:\n%s", log)
	}
}

// Snapshots that are not what they ought to be are not used, and hold nothing
// else up; once the centre writes them again, they are.
func TestLoadBadSnapshots(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	at, foreign := positionOf(c.entry(40)), positionOf(c.entry(40))
	foreign.Epoch++
	sum := signShard(t, 2, gateway.Shard{ID: 11, At: at}, 21)
	sum[len(sum)-trailerSize-1] ^= 1
	signature := signShard(t, 2, gateway.Shard{ID: 12, At: at}, 21)
	signature[len(signature)-1] ^= 1
	bad := map[gateway.ShardID][]byte{
		10: signShard(t, 9, gateway.Shard{ID: 10, At: at}, 21), // foreign key
		11: sum,
		12: signature,
		13: signShard(t, 2, gateway.Shard{ID: 14, At: at}, 21), // another shard
		15: signShard(t, 2, gateway.Shard{ID: 15, At: foreign}, 21),
		16: signShard(t, 1, gateway.Shard{ID: 16, At: at}, 21), // retired key
		17: []byte("hello"),
		18: signShard(t, 2, gateway.Shard{ID: 18, At: at}, 30), // a schedule the head does not know
	}
	for id, b := range bad {
		c.overwrite(subjectOfShard(id), b)
	}
	// Killed before: the other shards are loaded already.
	store, log := newMemory(), &lines{}
	store.position, store.terms = at, templateTerms
	c.given(store, func(id gateway.ShardID) bool { return id < 10 || id >= 20 })
	box, _ := startBox(t, c.url(), store, log, nil)
	until(t, "refused", func() bool { return box.Stats().Refused >= 2 })
	for id, m := range store.Marks() {
		if _, isBad := bad[gateway.ShardID(id)]; m.Loaded() == isBad {
			t.Errorf("shard %d: loaded %v", id, m.Loaded())
		}
	}
	if store.Usable() {
		t.Error("complete without all shards")
	}
	c.publish(1)
	for id := range bad {
		c.publishShard(id)
	}
	same(t, c, store)
	if store.loads != 10 {
		t.Errorf("%d shards loaded, want 10:\n%s", store.loads, log)
	}
}

// A head that nobody trusted has signed leads to nothing.
func TestLoadForgedHead(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	c.keep(3)
	c.overwrite(subjectHead, signHead(t, 9, Head{At: c.pub.position(), Complete: true}))
	store, log := newMemory(), &lines{}
	_, _ = startBox(t, c.url(), store, log, nil)
	until(t, "refused", func() bool { return log.count(ErrKey.Error()) == 1 })
	if store.loads != 0 || store.at() != 0 {
		t.Errorf("%d shards loaded, position %d", store.loads, store.at())
	}
}

// A shard that was damaged is found at its checkpoint and loaded again, alone,
// before the entry is applied.
func TestRepair(t *testing.T) {
	t.Parallel()
	c := openShardedCentre(t)
	store, log := c.storeAt(41), &lines{}
	box, _ := startBox(t, c.url(), store, log, nil)
	c.publish(1)
	same(t, c, store)
	var token gateway.Token
	for token = range c.want {
		break
	}
	id := gateway.ShardOf(token)
	check := func() {
		t.Helper()
		c.publishShard(id)
		c.publish(1)
		same(t, c, store)
	}
	check()
	for _, damage := range []func(){
		func() { delete(store.records, token) },
		func() { store.records[token] = gateway.Record{Anchor: 9999} },
		func() { store.records[token^1] = gateway.Record{} },
	} {
		store.mu.Lock()
		damage()
		store.mu.Unlock()
		check()
	}
	// A whole one, and each that was mended.
	if s := box.Stats(); s.Verified != 4 || s.Mismatches != 3 || s.Repairs != 3 || s.Refused != 0 || s.Reloads != 0 {
		t.Errorf("%+v\n%s", s, log)
	}
	if store.loads != 3 {
		t.Errorf("%d shards loaded", store.loads)
	}
}

// broken is a store that never has the right sum of a shard.
type broken struct {
	*memory
	id gateway.ShardID
}

func (b *broken) Sum(id gateway.ShardID) (gateway.ShardSum, error) {
	if id == b.id {
		return gateway.ShardSum{}, errors.New("cannot be read")
	}
	return b.memory.Sum(id)
}

// A shard that differs again right after it was loaded is reported; the feed goes
// on, and the next checkpoint is another attempt. The same where it cannot be
// loaded.
func TestRepairInVain(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*centre){
		"differs again": func(*centre) {},
		"is forged":     func(c *centre) { c.overwrite(subjectOfShard(7), signShard(t, 9, gateway.Shard{ID: 7, At: someAt}, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := openCentre(t, t.TempDir(), "127.0.0.1:0")
			store, log := &broken{newMemory(), 7}, &lines{}
			box, _ := startBox(t, c.url(), store, log, nil)
			for round := range 3 {
				c.publish(2)
				c.publishShard(7)
				spoil(c)
				c.publish(2)
				same(t, c, store.memory)
				if n := log.count("could not be mended"); n != round+1 {
					t.Errorf("%d reports in round %d:\n%s", n, round, log)
				}
			}
			// Each checkpoint is compared twice, and once more where the link was lost
			// meanwhile.
			most := 6 + uint64(max(0, log.count("the link to the centre is up")-1))
			if s := box.Stats(); s.Mismatches < 6 || s.Mismatches > most || s.Verified != 0 || (s.Repairs == 3) != (name == "differs again") {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A round is over once every shard has agreed.
func TestRound(t *testing.T) {
	t.Parallel()
	r, _, _ := openRunner(t)
	r.fetch.active = false
	for i := range r.marks {
		r.marks[i].Epoch = 9
	}
	prove := func(id gateway.ShardID) {
		t.Helper()
		c := gateway.Checkpoint{Shard: id, Sum: sumOf(&gateway.Shard{ID: id})}
		if !r.prove(&Signed{Entry: Entry{Epoch: 9, Number: 5, Checkpoint: &c}}) {
			t.Fatal(id)
		}
	}
	for i := range gateway.Shards - 1 {
		prove(gateway.ShardID(i))
		prove(gateway.ShardID(i))
	}
	if r.stats.lastRound.Load() != nil {
		t.Error("a round without shard 4095")
	}
	r.marks[4095].Number = 5 // it holds the entry already
	prove(4095)
	if r.stats.lastRound.Load() != nil || r.stats.verified.Load() != 2*4095 {
		t.Error("a shard counts that was not compared")
	}
	r.marks[4095].Number = 4
	prove(4095)
	if at := r.stats.lastRound.Load(); at == nil || !at.Equal(r.cfg.Now()) || len(r.proof.agreed) != 0 {
		t.Error("no round")
	}
}

// discard takes shards and keeps none of them.
type discard struct{ *memory }

func (d discard) Load(l gateway.Load) error {
	l.Shards = slices.Clone(l.Shards)
	for i := range l.Shards {
		l.Shards[i].Records = nil
	}
	return d.memory.Load(l)
}

// BenchmarkLoad is a first load over a real link into a store that keeps
// nothing, 600 records a shard.
func BenchmarkLoad(b *testing.B) {
	const records = 600
	hub, err := OpenHub(HubConfig{Dir: b.TempDir(), LeafListen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = hub.Close() }()
	nc, err := hub.Connect()
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	pub, err := OpenPublisher(b.Context(), js, testPublisher())
	if err == nil {
		err = pub.Publish(b.Context(), &Entry{Time: 1})
	}
	for i := 0; err == nil && i < gateway.Shards; i++ {
		err = pub.PublishShard(b.Context(), cityShard(gateway.ShardID(i), records))
	}
	if err == nil {
		err = pub.Publish(b.Context(), &Entry{Time: 2}) // and with it the head
	}
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		box, err := OpenBox(BoxConfig{Station: "s-1", CentreURL: "nats-leaf://" + hub.LeafAddr(), Store: discard{newMemory()}, Keys: testKeys, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- box.Run(ctx) }()
		tick := time.NewTicker(time.Millisecond)
		for box.Stats().ShardsLoaded < gateway.Shards {
			<-tick.C
		}
		tick.Stop()
		cancel()
		if err := errors.Join(<-done, box.Close()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*records*gateway.Shards/b.Elapsed().Seconds(), "records/s")
}
