package simulator

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"gateline/cache"
	"gateline/gateway"
	"gateline/replication"
)

// City is what many boxes at one centre cost it.
type City struct {
	Stations int     `json:"stations"`
	Seconds  float64 `json:"seconds"`
	// Entries of the feed with Changes in all while propagation was measured.
	Entries uint64 `json:"entries"`
	Changes uint64 `json:"changes"`
	// Leafs were added to the centre alone to measure Costs.
	Leafs int         `json:"leafs"`
	Costs FanoutCosts `json:"costs"`
	// Server is what Plans reckon with.
	Server Server       `json:"server"`
	Plans  []FanoutPlan `json:"plans"`
}

const (
	cityLimit = 5 * time.Minute
	// settle is how long boxes that are connected again are left alone.
	settle = time.Second
	// leafsPerStation says how many leafs to measure costs with.
	leafsPerStation = 4
	// cityMemTable keeps a box's store small.
	cityMemTable = cache.MinMemTableSize
	// gigabit is the egress of a plan's server, megabytes a second; planMemoryMB
	// its memory.
	gigabit      = 125
	planMemoryMB = 8000
)

// planned are the numbers of stations that plans are made for: those of the
// city, and of many.
var planned = []int{550, 5000}

// follower is a box without gates: its store and what follows the feed.
type follower struct {
	store *cache.Store
	feed  *replication.Box
	at    atomic.Uint64 // the last entry applied
	end   func()
}

// cityRun is scenario city under way.
type cityRun struct {
	*run
	keys      *cityKeys
	followers []*follower
	changes   atomic.Uint64 // that the first box has applied
}

// runCity has many boxes follow one centre, and then measures what they cost it.
func runCity(ctx context.Context, cfg Config) (report *Report, err error) {
	s := &cityRun{run: newStory(cfg)}
	if s.keys, err = newCityKeys(cfg.Stations, cfg.Stations*leafsPerStation); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.closeFollowers(), s.closeWorld()) }()
	if err := s.openStory(ctx, worldConfig{late: true, stations: s.keys.centre}); err != nil {
		return nil, err
	}
	report = newReport(cfg.Scenario, cfg.Seed)
	report.City = &City{Stations: cfg.Stations, Leafs: len(s.keys.leafs)}
	if err := s.course(report); err != nil {
		return nil, s.w.cause(err)
	}
	report.addPropagation(s.spread.taken())
	c := report.City
	c.Server = Server{Cores: float64(runtime.NumCPU()), EgressMB: gigabit, MemoryMB: planMemoryMB}
	for _, n := range planned {
		c.Plans = append(c.Plans, PlanFanout(c.Costs, c.Server, n))
	}
	return report, nil
}

func (s *cityRun) course(report *Report) error {
	if err := s.openFollowers(); err != nil {
		return err
	}
	if _, err := s.w.writeShards(func(done, total int) { s.cfg.Progress("write", done, total) }); err != nil {
		return err
	}
	if err := s.allLevel(); err != nil {
		return err
	}
	// What boxes do once their link is back is not what is measured.
	if err := s.w.rest(settle); err != nil {
		return err
	}
	s.level.Store(time.Now().UnixMicro())
	before, began := s.w.centre.FeedNumber(), time.Now()
	if err := s.flow("spread", 1); err != nil {
		return err
	}
	c := report.City
	c.Entries, c.Seconds = s.w.centre.FeedNumber()-before, time.Since(began).Seconds()
	if err := s.allLevel(); err != nil {
		return err
	}
	c.Changes = s.changes.Load()
	var err error
	if report.Equal, err = s.allEqual(); err != nil {
		return err
	}
	if err := s.closeFollowers(); err != nil {
		return err
	}
	c.Costs, err = s.measure()
	return err
}

// openFollowers opens the boxes and waits until each holds everything.
func (s *cityRun) openFollowers() error {
	for i, link := range s.keys.boxes {
		f := &follower{}
		store, err := cache.Open(filepath.Join(s.w.dir, fmt.Sprintf("cache-%d", i)), cache.Options{MemTableSize: cityMemTable, Log: s.cfg.Log})
		if err != nil {
			return err
		}
		f.store = store
		f.feed, err = replication.OpenBox(replication.BoxConfig{
			Station: link.Name, CentreURL: "nats-leaf://" + s.w.leafAddr, Link: &replication.BoxLink{TLS: link.Client(), Seed: link.Seed()},
			Keys: s.w.boxConfig.FeedKeys, Store: store, Log: s.cfg.Log,
			OnApplied: func(u gateway.Update) { s.followed(i, f, u) },
		})
		if err != nil {
			return errors.Join(err, store.Close())
		}
		f.end = s.w.begin(fmt.Sprintf("box %d", i), f.feed.Run)
		s.followers = append(s.followers, f)
		s.cfg.Progress("boxes", i+1, s.cfg.Stations)
	}
	return s.allLevel()
}

// followed is called for every entry that a box has applied.
func (s *cityRun) followed(i int, f *follower, u gateway.Update) {
	f.at.Store(u.To.Number)
	if level := s.level.Load(); level != 0 && u.To.Watermark > level && len(u.Changes) > 0 {
		s.spread.add(time.Since(u.To.Time()))
		if i == 0 {
			s.changes.Add(uint64(len(u.Changes)))
		}
	}
}

// allLevel waits until every box has applied what the centre has published.
func (s *cityRun) allLevel() error {
	number := s.w.centre.FeedNumber()
	return s.w.poll(cityLimit, fmt.Sprintf("all boxes to reach feed entry %d", number), func() bool {
		for _, f := range s.followers {
			if f.at.Load() < number {
				return false
			}
		}
		return true
	})
}

// allEqual reports whether every box holds what the centre says.
func (s *cityRun) allEqual() (bool, error) {
	for _, f := range s.followers {
		same, _, err := s.w.equalTo(f.store.Each)
		if err != nil || !same {
			return false, err
		}
	}
	return true, nil
}

func (s *cityRun) closeFollowers() error {
	var errs []error
	for _, f := range s.followers {
		f.end()
		errs = append(errs, f.feed.Close(), f.store.Close())
	}
	s.followers = nil
	return errors.Join(errs...)
}

// flow lets changes flow for Span; stream tells the random numbers of one use
// from those of another.
func (s *cityRun) flow(phase string, stream uint64) error {
	stop, end := context.WithCancel(s.w.ctx)
	defer end()
	g, ctx := errgroup.WithContext(stop)
	g.Go(func() error {
		return s.w.change(ctx, rand.New(rand.NewPCG(s.cfg.Seed, stream)), s.cfg.Updates, func(int) bool { return false })
	})
	g.Go(func() error {
		defer end()
		const steps = 20
		for i := range steps {
			s.cfg.Progress(phase, i, steps)
			if err := s.w.rest(s.cfg.Span / steps); err != nil {
				return err
			}
		}
		s.cfg.Progress(phase, steps, steps)
		return nil
	})
	return g.Wait()
}

// measure returns what leafs cost the centre: what it needs with them less what
// it needs without.
func (s *cityRun) measure() (c FanoutCosts, err error) {
	leafs := float64(len(s.keys.leafs))
	c.BaseMB = megabytesInUse()
	alone, aloneEntries, err := s.cost("alone", 2)
	if err != nil {
		return c, err
	}
	idle := megabytesInUse()
	all, err := openSinks(s.w.ctx, s.w.leafAddr, s.keys.leafs, func(done, total int) { s.cfg.Progress("leafs", done, total) })
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, all.close()) }()
	with := megabytesInUse()
	bytes := all.bytes.Load()
	load, entries, err := s.cost("fan-out", 3)
	if err != nil {
		return c, err
	}
	if entries == 0 || aloneEntries == 0 {
		return c, errors.New("no entry was published while costs were measured; give a longer --span")
	}
	n, seconds := leafs*float64(entries), s.cfg.Span.Seconds()
	c.EntriesPerSecond = float64(entries) / seconds
	c.EntryBytes = float64(all.bytes.Load()-bytes) / n
	c.BaseCores = alone.Seconds() / seconds
	// The changes themselves cost the same for each entry in both.
	c.LeafEntryUS = max(0, (load-alone).Seconds()*1e6/n)
	c.LeafMB = max(0, (with-idle)/leafs)
	return c, nil
}

// cost lets changes flow and returns the processor time and the entries they
// took.
func (s *cityRun) cost(phase string, stream uint64) (time.Duration, uint64, error) {
	before, number := processorTime(), s.w.centre.FeedNumber()
	err := s.flow(phase, stream)
	return processorTime() - before, s.w.centre.FeedNumber() - number, err
}

// processorTime returns what this process has used.
func processorTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // fails for an unknown who only
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// megabytesInUse returns the heap and the stacks that are still in use after a
// collection.
func megabytesInUse() float64 {
	runtime.GC()
	runtime.GC() // what the first one's finalisers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc+m.StackInuse) / 1e6
}
