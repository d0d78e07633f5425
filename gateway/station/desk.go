package station

import (
	"errors"
	"sync/atomic"
	"time"

	"gateline/cache"
	"gateline/drivers"
	"gateline/gateway"
)

// desk answers the taps of one line. Only that line's goroutine calls it, so
// that a tap waits for nobody.
type desk struct {
	shared    *shared
	tokenizer *gateway.Tokenizer
	// gates holds each gate's switch by its address on the line.
	gates [256]*atomic.Uint32
	tap   gateway.Question // reused: the decision allocates nothing
	idle  gateway.Question
	// made are the decisions not counted yet: a tap is counted only after its
	// answer is on its way.
	made []decision
}

// decision is what is counted of one.
type decision struct {
	answer gateway.Answer
	took   time.Duration
}

// mostUncounted bounds made, for answers that never get to a port.
const mostUncounted = 64

// shared is what all desks read. Nothing in it takes a lock.
type shared struct {
	directory gateway.Directory
	usable    func() bool
	position  func() gateway.Position
	erased    func() gateway.Erasure
	schedule  *atomic.Pointer[gateway.Schedule] // resolved for this station
	clock     *clock
	switches  *Switches
	metrics   *metrics
	answered  func(handed, written time.Duration) // nil = nobody listens
}

var _ drivers.Station = (*desk)(nil)

func newDesk(s *shared, key gateway.TokenKey, gates []GateConfig) *desk {
	d := &desk{shared: s, tokenizer: gateway.NewTokenizer(key), made: make([]decision, 0, mostUncounted)}
	for _, g := range gates {
		d.gates[g.Address] = s.switches.gates[g.Name]
	}
	return d
}

// Decide implements drivers.Station.
func (d *desk) Decide(now time.Time, tap gateway.Tap) gateway.Answer {
	start := time.Now()
	s, q := d.shared, &d.tap
	d.situation(q, now, tap.Gate)
	q.Purpose, q.Readable = tap.Purpose, tap.Credential.Readable()
	q.Known, q.Record = false, gateway.Record{}
	if q.Readable {
		var err error
		q.Record, q.Known, err = s.directory.Lookup(d.tokenizer.Token(tap.Credential))
		if q.Known {
			// What a loaded shard holds is as good as its age; only an absent
			// record means nothing before all is there.
			q.Usable = true
		}
		if err != nil {
			// A store that cannot tell is no snapshot (row 6).
			q.Known, q.Usable = false, false
			if !errors.Is(err, cache.ErrNotLoaded) {
				s.metrics.lookupErrors.Inc()
			}
		}
	}
	a := gateway.Judge(s.schedule.Load().At(q.PolicyTime()), q)
	if len(d.made) == mostUncounted {
		d.count()
	}
	d.made = append(d.made, decision{a, time.Since(start)})
	return a
}

func (d *desk) count() {
	for _, m := range d.made {
		d.shared.metrics.decided(m.answer, m.took)
	}
	d.made = d.made[:0]
}

// Lane implements drivers.Station.
func (d *desk) Lane(now time.Time, address uint8) gateway.Lane {
	d.situation(&d.idle, now, address)
	return gateway.LaneAt(d.shared.schedule.Load().At(d.idle.PolicyTime()), &d.idle)
}

// situation fills in what does not depend on the rider.
func (d *desk) situation(q *gateway.Question, now time.Time, address uint8) {
	s := d.shared
	s.moment(q, now)
	q.Station, q.Gate = gateway.Switch(s.switches.station.Load()), gateway.SwitchAuto
	if g := d.gates[address]; g != nil {
		q.Gate = gateway.Switch(g.Load())
	}
	q.Usable = s.usable()
}

// moment fills in what says which policy is in force.
func (s *shared) moment(q *gateway.Question, now time.Time) {
	clock, erased := s.clock.state.Load(), s.erased()
	q.Now, q.ClockTrusted, q.Drift = now, clock.Trusted, clock.Drift
	q.Age = age(now, s.position())
	q.Erased, q.Reached = time.Time{}, erased.Sunset
	if erased.Ordered != 0 {
		q.Erased = time.UnixMicro(erased.Ordered)
	}
}

// ended returns the sunset of the policy in force, the zero Time unless that is certain
// to have passed.
func (s *shared) ended(now time.Time) time.Time {
	var q gateway.Question
	s.moment(&q, now)
	return s.schedule.Load().EndedBy(&q)
}

func age(now time.Time, p gateway.Position) time.Duration {
	if p.Watermark == 0 {
		return gateway.AgeUnknown
	}
	return now.Sub(p.Time())
}

// Answered implements drivers.Station.
func (d *desk) Answered(handed, written time.Duration) {
	d.count()
	d.shared.metrics.tapToAnswer.Observe(written.Seconds())
	if d.shared.answered != nil {
		d.shared.answered(handed, written)
	}
}
