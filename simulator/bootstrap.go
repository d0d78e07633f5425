package simulator

import (
	"context"
	"io"
	"slices"
	"time"

	"gateline/gateway"
	"gateline/replication"
)

// Bootstrap is what a new box did until it was complete.
type Bootstrap struct {
	// Records it held then; Seconds from each opening to its stop or until it was
	// level, together.
	Records          int     `json:"records"`
	Seconds          float64 `json:"seconds"`
	RecordsPerSecond float64 `json:"records_per_second"`
	// Bytes came over the link meanwhile; SnapshotBytes is what all snapshots
	// have at the centre.
	Bytes         int64  `json:"bytes"`
	SnapshotBytes uint64 `json:"snapshot_bytes"`
	// KilledAt is how many shards were loaded when the box was stopped, Left how
	// many it had to load when it was open again.
	KilledAt int `json:"killed_at_shards"`
	Left     int `json:"left_shards"`
	// Live is how many live entries came over the link while it loaded, LiveMS
	// from the centre's commit to their last byte there.
	Live   int    `json:"live"`
	LiveMS Spread `json:"live_ms"`
}

// Spread is a median and a 99th percentile, milliseconds.
type Spread struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

func spreadOf(all []time.Duration) Spread {
	slices.Sort(all)
	return Spread{P50: micro(quantile(all, 0.5)) / 1e3, P99: micro(quantile(all, 0.99)) / 1e3}
}

const bootstrapLimit = 30 * time.Minute

// runBootstrap has a new box load all shards while riders tap; it is stopped and
// opened again when it has half of them.
func runBootstrap(ctx context.Context, cfg Config) (*Report, error) {
	s := newStory(cfg)
	live := newSamples(crowdSamples)
	s.loading.Store(true)
	c := worldConfig{gates: cfg.Gates, late: true, watch: func() io.Writer {
		return &leafWire{told: func(e *replication.Signed) {
			if s.loading.Load() {
				live.add(time.Since(time.UnixMicro(e.Time)))
			}
		}}
	}}
	return s.tell(ctx, c, func(report *Report) error {
		b := &Bootstrap{}
		report.Bootstrap = b
		var err error
		if b.SnapshotBytes, err = s.w.writeShards(func(done, total int) { cfg.Progress("write", done, total) }); err != nil {
			return err
		}
		s.w.link.thin(cfg.LinkRate)
		// Nobody taps before there is a box.
		s.w.riding.Lock()
		started := time.Now()
		err = s.w.startBox()
		s.w.riding.Unlock()
		if err != nil {
			return err
		}
		if err := s.amidCrowd(func() error { return s.bootstrap(b, started) }); err != nil {
			return err
		}
		if _, b.Records, err = s.w.equal(); err != nil {
			return err
		}
		b.RecordsPerSecond = float64(int(float64(b.Records) / b.Seconds))
		sent := live.taken()
		b.Live, b.LiveMS = len(sent), spreadOf(sent)
		report.need(b.Left > 0 && b.Left < gateway.Shards && b.KilledAt > 0, "the box did not go on where it was stopped")
		report.need(report.loadedSilent(s) == 0, "a shard that had answered said R24 again")
		return nil
	})
}

// bootstrap follows the loading and stops the box once in its middle.
func (s *run) bootstrap(b *Bootstrap, started time.Time) error {
	half := func() bool { return b.KilledAt >= gateway.Shards/2 || s.w.box.Usable() }
	if err := s.watchLoading(half, func(loaded, _ int) { b.KilledAt = loaded }); err != nil {
		return err
	}
	seconds := time.Since(started)
	if err := s.restartBox(func() error { started = time.Now(); return nil }); err != nil {
		return err
	}
	begun := false
	if err := s.watchLoading(func() bool { return s.w.box.Usable() }, func(loaded, missing int) {
		if !begun && loaded+missing > 0 {
			begun, b.Left = true, loaded+missing
		}
	}); err != nil {
		return err
	}
	if err := s.w.caughtUp(s.w.centre.FeedNumber(), catchUpLimit); err != nil {
		return err
	}
	b.Seconds, b.Bytes = (seconds + time.Since(started)).Seconds(), s.w.link.toBox.Load()
	s.loading.Store(false)
	s.level.Store(time.Now().UnixMicro())
	// The ordinary life after it, so that there is something to compare with.
	return s.w.rest(afterLoading)
}

// afterLoading is how long riders go on once the box is complete.
const afterLoading = time.Second

// watchLoading tells how many shards of a load are loaded and missing until done
// says so.
func (s *run) watchLoading(done func() bool, tell func(loaded, missing int)) error {
	return s.w.watchFigures(bootstrapLimit, "the box to load its shards", func(all map[string]float64) bool {
		loaded, missing := int(all[figureLoaded]), int(all[figureMissing])
		tell(loaded, missing)
		if loaded+missing > 0 {
			s.cfg.Progress("shards", gateway.Shards-missing, gateway.Shards)
		}
		return done()
	})
}

// loadedSilent counts the taps at which a shard that had answered for a
// credential was unknown (R24) later on.
func (r *Report) loadedSilent(s *run) (n int) {
	taps := slices.Concat(s.taps...)
	slices.SortFunc(taps, func(a, b tapRecord) int { return a.sent.Compare(b.sent) })
	answered := map[gateway.ShardID]time.Time{} // the first time that it did
	for _, t := range taps {
		known, silent := s.w.model.boundThroughout(t), t.got.reason == gateway.R24
		if !t.answered || !known || t.purpose != gateway.PurposeEntry {
			continue
		}
		id := s.shardOf(t.credential)
		first, has := answered[id]
		switch {
		case silent && has && first.Before(t.sent):
			n++
		case !silent && (!has || t.received.Before(first)):
			answered[id] = t.received
		}
	}
	return n
}
