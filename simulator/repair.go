package simulator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"gateline/cache"
	"gateline/central"
	"gateline/gateway"
	"gateline/replication"
)

// Repair is what came of falsified records.
type Repair struct {
	// Falsified shards, a record in each; Found of them by checkpoints, Mended by
	// loading them again.
	Falsified int `json:"falsified"`
	Found     int `json:"found"`
	Mended    int `json:"mended"`
	// Missed are those whose turn passed without a checkpoint, because the next
	// snapshot came before the next entry: theirs comes a cycle later.
	Missed int `json:"missed"`
	// Other is how many records beside those were changed or missing once all was
	// mended, Reloads how many times the box loaded everything.
	Other   int `json:"other"`
	Reloads int `json:"reloads"`
	// MendedMS is from a shard's checkpoint at the centre until it was mended.
	MendedMS Typical `json:"mended_ms"`
	// CycleSeconds is the longest time until a shard's turn comes at this centre.
	CycleSeconds float64 `json:"cycle_seconds"`
}

const (
	// falsify is how many shards are falsified; each has a record that differs,
	// one that is missing or one that nobody has, in turn.
	falsify = 6
	// falsifyAhead is how many turns of shards after the running one that begins:
	// the box has to be open again by then. There are falsifyStep turns from one
	// to the next.
	falsifyAhead, falsifyStep = 16, 1
	// repairTurns is how many turns after the last of those the run ends, mended or
	// not.
	repairTurns = 40
	repairLimit = 2 * time.Minute
	// repairCycle is the shortest that a centre takes: a turn is 146 ms.
	repairCycle = central.MinShardCycle
)

// runRepair falsifies records in the store of a box that is stopped, in shards
// whose turn comes soon, and waits until checkpoints have found and mended them.
func runRepair(ctx context.Context, cfg Config) (*Report, error) {
	s := newStory(cfg)
	c := worldConfig{gates: cfg.Gates, shardCycle: repairCycle}
	return s.tell(ctx, c, func(report *Report) error {
		report.Repair = &Repair{Falsified: falsify, CycleSeconds: repairCycle.Seconds()}
		if _, err := s.w.writeShards(func(done, total int) { cfg.Progress("write", done, total) }); err != nil {
			return err
		}
		if err := s.w.caughtUp(s.w.centre.FeedNumber(), catchUpLimit); err != nil {
			return err
		}
		s.level.Store(time.Now().UnixMicro())
		if err := s.amidCrowd(func() error { return s.repair(report.Repair) }); err != nil {
			return err
		}
		var err error
		report.Repair.Other, err = s.differences()
		r := report.Repair
		report.need(r.Found == r.Falsified && r.Mended == r.Falsified, "not every falsified shard was found and mended, or others were")
		report.need(r.Other == 0 && r.Reloads == 0, "more was changed than what was falsified")
		return err
	})
}

// turns is told whenever the feed has the checkpoint of a shard.
type turns struct {
	mu   sync.Mutex // guards what follows
	last gateway.ShardID
	any  bool
	at   map[gateway.ShardID]time.Time // the last time of each
}

func (t *turns) heard(m *nats.Msg) {
	e, err := replication.DecodeEntry(m.Data)
	if err != nil || e.Checkpoint == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last, t.any = e.Checkpoint.Shard, true
	t.at[t.last] = time.Now()
}

func (t *turns) current() (gateway.ShardID, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, t.any
}

// since returns how many turns ago that of the shard was; 0 = it is still to
// come, within half a cycle.
func (t *turns) since(id gateway.ShardID) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := (int(t.last) - int(id) + gateway.Shards) % gateway.Shards; n < gateway.Shards/2 {
		return n
	}
	return 0
}

func (t *turns) when(id gateway.ShardID) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.at[id]
}

func (s *run) repair(r *Repair) error {
	t := &turns{at: make(map[gateway.ShardID]time.Time)}
	heard, err := s.w.conn.Subscribe(replication.SubjectLive, t.heard)
	if err != nil {
		return fmt.Errorf("listen to the feed: %w", err)
	}
	defer func() { _ = heard.Unsubscribe() }() // it ends with the connection at the latest
	if err := s.w.poll(repairLimit, "the first checkpoint", func() bool { _, any := t.current(); return any }); err != nil {
		return err
	}
	now, _ := t.current()
	var chosen []gateway.ShardID
	spared := make(map[gateway.ShardID]bool)
	for i := range falsify {
		id := gateway.ShardID((int(now) + falsifyAhead + i*falsifyStep) % gateway.Shards)
		chosen, spared[id] = append(chosen, id), true
	}
	// Riders are answered falsely there, and that is no fault of the box; and a
	// change of the falsified record would mend it before its turn.
	s.spared.Store(&spared)
	s.w.changing.Lock() // what is under way is done
	number := s.w.centre.FeedNumber()
	s.w.changing.Unlock()
	if err := s.w.caughtUp(number, catchUpLimit); err != nil {
		return err
	}
	if err := s.restartBox(func() error { return falsifyStore(s.w.boxConfig.CacheDir, chosen) }); err != nil {
		return err
	}
	var mended []time.Duration
	err = s.w.watchFigures(repairLimit, "the falsified shards to be mended", func(all map[string]float64) bool {
		for n := int(all[figureRepaired]); r.Mended < n; r.Mended++ {
			if r.Mended < len(chosen) {
				mended = append(mended, time.Since(t.when(chosen[r.Mended])))
			}
		}
		r.Found, r.Reloads = int(all[figureDifferent]), int(all[figureReloads])
		s.cfg.Progress("mended", r.Mended, len(chosen))
		over := t.since(chosen[len(chosen)-1]) >= repairTurns
		if over {
			for _, id := range chosen {
				if t.when(id).IsZero() {
					r.Missed++
				}
			}
		}
		return r.Mended >= len(chosen) || over
	})
	s.spared.Store(nil)
	r.MendedMS = typicalOf(mended)
	return err
}

// falsifyStore changes a record in each of the shards of a closed store: by turns
// it makes one differ, takes one away, or adds one that nobody has. Where there is
// none to change it adds one.
func falsifyStore(dir string, shards []gateway.ShardID) (err error) {
	store, err := cache.Open(dir, cache.Options{})
	if err != nil {
		return fmt.Errorf("falsify the box's store: %w", err)
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	held := make(map[gateway.ShardID][]gateway.Change)
	if err := store.Each(func(t gateway.Token, r gateway.Record) error {
		if id := gateway.ShardOf(t); slices.Contains(shards, id) {
			held[id] = append(held[id], gateway.Change{Token: t, Record: r})
		}
		return nil
	}); err != nil {
		return fmt.Errorf("falsify the box's store: %w", err)
	}
	for i, id := range shards {
		records := held[id]
		switch {
		case len(records) > 0 && i%3 == 0:
			r := &records[len(records)/2].Record
			if r.Class == gateway.ClassRed {
				*r = gateway.Record{Class: gateway.ClassYellow}
			} else {
				*r = gateway.Record{Class: gateway.ClassRed}
			}
		case len(records) > 0 && i%3 == 1:
			records = slices.Delete(records, len(records)/2, len(records)/2+1)
		default:
			first, _ := id.Range()
			if len(records) > 0 && records[0].Token == first {
				return errors.New("falsify the box's store: the token of a shard's beginning is taken; give another seed")
			}
			records = slices.Insert(records, 0, gateway.Change{Token: first, Record: gateway.Record{Class: gateway.ClassRed}})
		}
		// It claims to be right where the store is, as a damaged one does.
		if err := store.Load(gateway.Load{Shards: []gateway.Shard{{ID: id, At: store.Position(), Records: records}}}); err != nil {
			return fmt.Errorf("falsify the box's store: %w", err)
		}
	}
	return nil
}

// differences counts the records that box and centre do not share.
func (s *run) differences() (n int, err error) {
	want := make(map[gateway.Token]gateway.Record)
	if err := s.w.centre.Records(func(t gateway.Token, r gateway.Record) error {
		want[t] = r
		return nil
	}); err != nil {
		return 0, err
	}
	err = s.w.box.Each(func(t gateway.Token, r gateway.Record) error {
		if record, ok := want[t]; !ok || record != r {
			n++
		}
		delete(want, t)
		return nil
	})
	return n + len(want), err
}
