package main

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// measured is what one process found of one store.
type measured struct {
	OpenMS    float64 `json:"open_ms"`    // to the first answer
	SettledMS float64 `json:"settled_ms"` // until its opening was over, which answers need not wait for
	// Memory is after the quiet lookups, without what the process had before.
	Memory memory `json:"memory"`
	// Quiet, Busy and Misses are lookups alone, beside updates, and of tokens that
	// nobody has, of both.
	Quiet  latency `json:"quiet"`
	Busy   latency `json:"busy"`
	Misses latency `json:"misses"`
	// Allocs and AllocBytes are Go's, of a quiet lookup. What C allocates is not in them.
	Allocs     float64 `json:"allocs"`
	AllocBytes float64 `json:"alloc_bytes"`
	// UpdatesPerSecond is how many were made, of updatesPerSecond.
	UpdatesPerSecond float64 `json:"updates_per_second"`
	// Batch is the time of a batch.
	Batch latency `json:"batch"`
	// OverheadNS is what measuring itself takes. It has been taken off every lookup.
	OverheadNS float64 `json:"overhead_ns"`
}

// errWrong is wrapped by the error of a store that gave a wrong answer.
var errWrong = errors.New("wrong answer")

const (
	// missEvery is how often a token is asked for that nobody has.
	missEvery = 16
	// settleLimit bounds the wait for a store's opening.
	settleLimit = 10 * time.Minute
	// warmEvery is how many records there are for each lookup that warms up: a page
	// has more of them in any store, so nearly every page is met.
	warmEvery = 32
	// overheadLookups is how many lookups of nothing tell what measuring takes.
	overheadLookups = 200_000
)

// measure opens what load left and measures it.
func measure(p peer, dir string, records int, each, beside time.Duration) (m measured, err error) {
	w := &work{order: newOrder(uint64(records)), base: time.Now(), seed: 1}
	if err := w.calibrate(); err != nil {
		return m, err
	}
	m.OverheadNS = float64(w.overhead)
	before, err := memoryOf(0)
	if err != nil {
		return m, err
	}
	began := since(w.base)
	s, err := p.open(dir, records)
	if err != nil {
		return m, fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, s.close()) }()
	w.store = s
	if err := w.one(uint64(records)/2, false); err != nil {
		return m, fmt.Errorf("first lookup: %w", err)
	}
	m.OpenMS = float64(since(w.base)-began) / 1e6
	if err := waitSettled(s); err != nil {
		return m, err
	}
	m.SettledMS = float64(since(w.base)-began) / 1e6

	if err := w.warm(); err != nil {
		return m, fmt.Errorf("lookups to warm up: %w", err)
	}
	if err := w.quiet(each, &m); err != nil {
		return m, fmt.Errorf("quiet lookups: %w", err)
	}
	if m.Memory, err = heldBy(s, before); err != nil {
		return m, err
	}
	w.hits = histogram{}
	if err := w.busy(beside, &m); err != nil {
		return m, fmt.Errorf("lookups beside updates: %w", err)
	}
	m.Misses = w.misses.latency()
	return m, nil
}

// heldBy is the memory of the store, without what this process had before.
func heldBy(s store, before memory) (memory, error) {
	if other, ok := s.(served); ok {
		return memoryOf(other.pid())
	}
	now, err := memoryOf(0)
	return memory{Anonymous: max(0, now.Anonymous-before.Anonymous), Mapped: max(0, now.Mapped-before.Mapped)}, err
}

func waitSettled(s store) error {
	opening, ok := s.(settler)
	if !ok {
		return nil
	}
	for deadline := time.Now().Add(settleLimit); !opening.settled(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for the store: it is not whole after %v; see what else the machine does", settleLimit)
		}
	}
	return nil
}

// work looks up and checks.
type work struct {
	store    store
	order    order
	base     time.Time
	seed     uint64
	overhead int64 // nanoseconds

	hits, misses histogram
	// Updates 0 … applied−1 are in the store, and of begun−1 and those before it may
	// be some.
	applied, begun atomic.Uint64
}

// one looks up one token, token number i of those that nobody has if miss, takes
// the time and checks the answer.
func (w *work) one(i uint64, miss bool) error {
	if miss {
		i += w.order.records
	}
	token := tokenOf(i)
	applied := w.applied.Load()
	from := since(w.base)
	value, found, err := w.store.lookup(token)
	took := since(w.base) - from - w.overhead
	if err != nil {
		return err
	}
	if miss {
		w.misses.add(took)
		if found {
			return fmt.Errorf("%w: a record for token number %d, which has none", errWrong, i)
		}
		return nil
	}
	w.hits.add(took)
	if !found {
		return fmt.Errorf("%w: no record for token number %d", errWrong, i)
	}
	for n, last := w.order.had(i, applied), w.order.had(i, w.begun.Load()); n <= last; n++ {
		if value == valueOf(token, n) {
			return nil
		}
	}
	return fmt.Errorf("%w: not the record of token number %d after %d updates", errWrong, i, applied)
}

// warm looks up enough random tokens for a store to have in its caches what it
// will have there, and forgets the times.
func (w *work) warm() error {
	for range w.order.records / warmEvery {
		w.seed++
		if err := w.one(spread(w.seed)%w.order.records, false); err != nil {
			return err
		}
	}
	w.hits, w.misses = histogram{}, histogram{}
	return nil
}

// lookups looks up random tokens for a while.
func (w *work) lookups(each time.Duration) error {
	end := since(w.base) + int64(each)
	for n := 0; since(w.base) < end; n++ {
		w.seed++
		if err := w.one(spread(w.seed)%w.order.records, n%missEvery == missEvery-1); err != nil {
			return err
		}
	}
	return nil
}

// bare is a store that has nothing and so costs nothing.
type bare struct{}

func (bare) lookup(uint64) (uint64, bool, error) { return 0, false, nil }
func (bare) update([]item) error                 { return nil }
func (bare) close() error                        { return nil }

// calibrate finds what measuring takes: the median of a lookup in nothing.
func (w *work) calibrate() error {
	w.store = bare{}
	for range overheadLookups {
		w.seed++
		if err := w.one(spread(w.seed)%w.order.records, true); err != nil {
			return err
		}
	}
	w.overhead = int64(w.misses.quantile(0.5))
	w.misses = histogram{}
	return nil
}

func (w *work) quiet(each time.Duration, m *measured) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := w.lookups(each); err != nil {
		return err
	}
	runtime.ReadMemStats(&after)
	m.Quiet = w.hits.latency()
	n := float64(w.hits.n + w.misses.n)
	m.Allocs = float64(after.Mallocs-before.Mallocs) / n
	m.AllocBytes = float64(after.TotalAlloc-before.TotalAlloc) / n
	return nil
}

// busy looks up while another goroutine updates.
func (w *work) busy(each time.Duration, m *measured) error {
	var stop atomic.Bool
	var writing sync.WaitGroup
	var failed error
	var batches histogram
	began := since(w.base)
	writing.Go(func() {
		failed = w.updates(&stop, &batches)
	})
	err := w.lookups(each)
	stop.Store(true)
	writing.Wait()
	took := float64(since(w.base)-began) / 1e9
	m.Busy, m.Batch = w.hits.latency(), batches.latency()
	m.UpdatesPerSecond = float64(w.applied.Load()) / took
	if failed != nil {
		err = errors.Join(err, fmt.Errorf("update: %w", failed))
	}
	return err
}

// updates makes updatesPerSecond until stop. A batch that is late is made at once,
// and the next is due from then on: no store has to make up for a stall.
func (w *work) updates(stop *atomic.Bool, batches *histogram) error {
	const every = int64(time.Second) * batchSize / updatesPerSecond
	items := make([]item, batchSize)
	due := since(w.base)
	for k := uint64(0); !stop.Load(); k += batchSize {
		w.order.batch(items, k)
		w.begun.Store(k + batchSize)
		from := since(w.base)
		if err := w.store.update(items); err != nil {
			return err
		}
		batches.add(since(w.base) - from)
		w.applied.Store(k + batchSize)
		due = max(due+every, since(w.base))
		time.Sleep(time.Duration(due - since(w.base)))
	}
	return nil
}
