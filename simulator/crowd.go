package simulator

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"gateline/gateway"
)

// storyOf returns what runs a scenario that takes its course while riders tap, or
// without any; nil where it is none.
func storyOf(scenario string) func(context.Context, Config) (*Report, error) {
	switch scenario {
	case ScenarioBootstrap:
		return runBootstrap
	case ScenarioRepair:
		return runRepair
	case ScenarioPartition:
		return runPartition
	case ScenarioCity:
		return runCity
	case ScenarioNotice:
		return runNotice
	}
	return nil
}

// crowdSamples bounds how many decisions and propagations a story keeps.
const crowdSamples = 1 << 20

// openStory builds the world of a story, sets the policy and fills the centre.
// The caller closes the world, also after an error.
func (s *run) openStory(ctx context.Context, c worldConfig) (err error) {
	c.credentials, c.baud, c.seed, c.log = s.cfg.Cards, s.cfg.Baud, s.cfg.Seed, s.cfg.Log
	c.onApplied, c.onAnswered = s.applied, s.answered
	if s.w, err = openWorld(ctx, c); err != nil {
		return err
	}
	policy := policyFacts{effective: time.Now().Add(-time.Hour).Truncate(time.Second), window: 2, fresh: storyFresh, stale: 24 * time.Hour}
	if err := s.w.setPolicy(policy); err != nil {
		return err
	}
	load := s.w.load
	if c.late {
		load = s.w.loadCentre
	}
	return load(rand.New(rand.NewPCG(s.cfg.Seed, 1)), func(done, total int) { s.cfg.Progress("load", done, total) })
}

const storyFresh = 2 * time.Hour // above MaxOutage: what a story shows is not freshness

func (s *run) closeWorld() error {
	if s.w == nil {
		return nil // it closed itself
	}
	return s.w.close()
}

// amidCrowd lets riders tap at every gate and changes flow at the centre while
// act takes its course, and then waits until the box is level.
func (s *run) amidCrowd(act func() error) error {
	stop, end := context.WithCancel(s.w.ctx)
	defer end()
	s.tapping.Store(true)
	s.taps = make([][]tapRecord, len(s.w.gates))
	g, ctx := errgroup.WithContext(stop)
	// A part that fails ends the world, so that no other waits for it.
	beside := func(f func() error) {
		g.Go(func() error {
			err := f()
			if err != nil && ctx.Err() == nil {
				s.w.stop(err)
			}
			return err
		})
	}
	for i := range s.w.gates {
		beside(func() error { return s.crowdAt(ctx, i) })
	}
	beside(func() error { return s.change(ctx) })
	beside(func() error {
		defer end()
		return act()
	})
	if err := g.Wait(); err != nil {
		return s.w.cause(err)
	}
	return s.w.caughtUp(s.w.centre.FeedNumber(), catchUpLimit)
}

// crowdAt lets riders tap at one gate until ctx is done, whenever the box runs.
func (s *run) crowdAt(ctx context.Context, i int) error {
	gate, r := s.w.gates[i], rand.New(rand.NewPCG(s.cfg.Seed, uint64(100+i)))
	for ctx.Err() == nil {
		if err := gate.idle(s.w.ctx, time.Now().Add(s.pause(r))); err != nil {
			return err
		}
		credential, purpose := somebody(r, s.cfg.Cards)
		if !s.w.riding.TryRLock() {
			continue
		}
		t, err := s.crowdTap(gate, credential, purpose)
		s.w.riding.RUnlock()
		if err != nil {
			return err
		}
		if t != nil {
			s.taps[i] = append(s.taps[i], *t)
		}
	}
	return nil
}

// crowdTap lets a rider tap; the caller holds riding. It returns nil where the
// rider is one that the story spares.
func (s *run) crowdTap(gate tapper, credential int, purpose gateway.Purpose) (*tapRecord, error) {
	if spared := s.spared.Load(); spared != nil && credential != noCredential && (*spared)[s.shardOf(credential)] {
		return nil, nil
	}
	loading := s.loading.Load()
	t, err := gate.tap(s.w.ctx, credential, purpose)
	if err != nil {
		return nil, err
	}
	if loading {
		t.loading, t.centre = true, s.w.centre.FeedNumber()
	}
	return &t, nil
}

// shardOf returns the shard of a credential.
func (s *run) shardOf(i int) gateway.ShardID {
	return gateway.ShardOf(gateway.NewTokenizer(s.w.key).Token(credential(i)))
}

// spares reports whether changes leave a person alone, because a credential of
// theirs is in a spared shard.
func (s *run) spares(person int) bool {
	spared := s.spared.Load()
	if spared == nil {
		return false
	}
	// A group is five accounts and then four cards, see owner.
	account := person/5*credentialsPerFive + person%5
	return (*spared)[s.shardOf(account)] || (*spared)[s.shardOf(account+5)]
}

// restartBox stops the box while nobody taps, does between, and opens it again.
func (s *run) restartBox(between func() error) error {
	s.w.riding.Lock()
	defer s.w.riding.Unlock()
	if err := s.w.stopBox(); err != nil {
		return err
	}
	if err := between(); err != nil {
		return err
	}
	return s.w.startBox()
}

// finish judges the taps and adds what every story reports.
func (s *run) finish(report *Report) (err error) {
	if report.Equal, _, err = s.w.equal(); err != nil {
		return err
	}
	report.addTaps(s.w.model, slices.Concat(s.taps...), s.cfg.Baud)
	report.addDecisions(s.decisions.taken())
	report.addPropagation(s.spread.taken())
	return nil
}

// newStory returns the run of a story.
func newStory(cfg Config) *run {
	return &run{cfg: cfg, decisions: newSamples(crowdSamples), spread: newSamples(crowdSamples)}
}

// tell runs a story in a world of its own.
func (s *run) tell(ctx context.Context, c worldConfig, course func(*Report) error) (report *Report, err error) {
	defer func() { err = errors.Join(err, s.closeWorld()) }()
	if err := s.openStory(ctx, c); err != nil {
		return nil, err
	}
	report = newReport(s.cfg.Scenario, s.cfg.Seed)
	if err := course(report); err != nil {
		return nil, s.w.cause(err)
	}
	return report, s.finish(report)
}
