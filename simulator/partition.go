package simulator

import (
	"context"
	"sync"
	"time"
)

// Outcome is what came of one fault between box and centre.
type Outcome struct {
	// Fault is cut, hole, thin or restart.
	Fault string `json:"fault"`
	// Seconds the fault lasted; a hole lasts until it is seen.
	Seconds float64 `json:"seconds"`
	// Seen is from the fault's beginning until the box knew that its link was
	// down; 0 where it stayed up. A thin link is looked at when it ends.
	Seen float64 `json:"seen_seconds"`
	// Reconnected and Level are from the fault's end, of a hole from its
	// beginning, until the link was up, and until the box had applied all that the
	// centre had published by then.
	Reconnected float64 `json:"reconnected_seconds"`
	Level       float64 `json:"level_seconds"`
	// Behind is how many entries the box lacked at the fault's end, Entries and
	// Records what it applied from there until it was level.
	Behind  uint64 `json:"behind_entries"`
	Entries uint64 `json:"entries"`
	Records uint64 `json:"records"`
}

// Faults between box and centre.
const (
	faultCut     = "cut"     // connections end, new ones are refused
	faultHole    = "hole"    // the connection swallows all; new ones get through
	faultThin    = "thin"    // the link brings thinRate bytes a second
	faultRestart = "restart" // the centre is stopped and started again
)

const (
	// thinRate is less than the feed has when changes flow.
	thinRate = 6000
	// lostLimit is how long a box may take to know that its link is dead: two
	// pings of 10 s without an answer, and some more.
	lostLimit = time.Minute
	// levelAgain is how long a box may take to be level once it can be.
	levelAgain = 10 * time.Minute
)

// runPartition puts one fault after another between box and centre while riders
// tap and changes flow.
func runPartition(ctx context.Context, cfg Config) (*Report, error) {
	return newStory(cfg).partition(ctx, faultCut, faultHole, faultThin, faultRestart)
}

func (s *run) partition(ctx context.Context, kinds ...string) (*Report, error) {
	return s.tell(ctx, worldConfig{gates: s.cfg.Gates}, func(report *Report) error {
		return s.amidCrowd(func() error {
			for i, kind := range kinds {
				s.cfg.Progress("faults", i, len(kinds))
				// Before each the box is level, and that is where propagation is
				// measured.
				if err := s.w.caughtUp(s.w.centre.FeedNumber(), levelAgain); err != nil {
					return err
				}
				s.level.Store(time.Now().UnixMicro())
				if err := s.w.rest(betweenFaults); err != nil {
					return err
				}
				o, err := s.suffer(kind)
				if err != nil {
					return err
				}
				report.Partition = append(report.Partition, o)
			}
			s.cfg.Progress("faults", len(kinds), len(kinds))
			return nil
		})
	})
}

// betweenFaults lets entries flow before the next fault.
const betweenFaults = 500 * time.Millisecond

// suffer has one fault begin and end, and measures what the box makes of it.
func (s *run) suffer(kind string) (Outcome, error) {
	o := Outcome{Fault: kind}
	s.level.Store(0)
	up := s.w.box.LinkUp
	resume := func() {}
	if kind == faultRestart {
		// What is under way at the centre is answered first: a request that gets no
		// answer may have counted, and the model would not know.
		s.w.changing.Lock()
		resume = sync.OnceFunc(s.w.changing.Unlock)
	}
	defer resume()
	began := time.Now()
	if err := s.begin(kind); err != nil {
		return o, err
	}
	if kind != faultThin {
		if err := s.w.poll(lostLimit, "the box to see that its link is down", func() bool { return !up() }); err != nil {
			return o, err
		}
		o.Seen = time.Since(began).Seconds()
	}
	ended := began
	if kind != faultHole {
		if err := s.w.rest(s.cfg.Outage - time.Since(began)); err != nil {
			return o, err
		}
		if kind == faultThin && !up() {
			o.Seen = time.Since(began).Seconds()
		}
		ended = time.Now()
	}
	o.Seconds = time.Since(began).Seconds()
	if err := s.end(kind); err != nil {
		return o, err
	}
	resume()
	s.entries.Store(0)
	s.records.Store(0)
	s.catching.Store(true)
	number, at := s.w.centre.FeedNumber(), s.w.applied.Load()
	o.Behind = number - min(number, at)
	if err := s.w.poll(levelAgain, "the box to be connected again", up); err != nil {
		return o, err
	}
	o.Reconnected = time.Since(ended).Seconds()
	if err := s.w.caughtUp(s.w.centre.FeedNumber(), levelAgain); err != nil {
		return o, err
	}
	o.Level = time.Since(ended).Seconds()
	s.catching.Store(false)
	o.Entries, o.Records = s.entries.Load(), s.records.Load()
	return o, nil
}

func (s *run) begin(kind string) error {
	switch kind {
	case faultCut:
		s.w.link.set(true)
	case faultHole:
		s.w.link.swallow()
	case faultThin:
		s.w.link.thin(thinRate)
	case faultRestart:
		return s.w.stopCentre()
	}
	return nil
}

func (s *run) end(kind string) error {
	switch kind {
	case faultCut:
		s.w.link.set(false)
	case faultThin:
		s.w.link.thin(0)
	case faultRestart:
		return s.w.startCentre()
	}
	return nil
}
