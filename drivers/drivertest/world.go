package drivertest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

const (
	// lifetime is how long answers are good for where a check says nothing else.
	lifetime = gateway.DefaultVerdictTTL
	// slack is how late a sign may come after its answer's lifetime: the wire's
	// share of it, in the steps in which lifetimes are counted.
	slack = gateway.VerdictTTLStep
	// maxRounds is how often in a row a session may want to say or ask more.
	maxRounds = 64
	// maxEvents ends a world that comes to no end.
	maxEvents = 5_000_000
)

// start is when every world begins.
func start() time.Time { return time.Date(2022, 5, 30, 8, 0, 0, 0, gateway.Zone) }

// world is one line in virtual time.
type world struct {
	p        Protocol
	now      time.Time
	r        *rand.Rand
	wire     wire
	table    *drivers.GateTable
	counters *drivers.Counters
	posts    []*post
	watch    watch
	ear      *ear      // of the box
	wake     time.Time // of the session; zero = none
	plan     []action  // in order of time
	broken   error     // the first contract that was broken; the world then stands still
	// decided, if not nil, is called at every decision.
	decided func(*visit)
}

type action struct {
	at time.Time
	do func()
}

// post is one gate of a world and what is known of it.
type post struct {
	index int
	gate  Gate
	entry *drivers.Gate // nil = not configured at the box
	lane  gateway.Lane  // as the station wants it
	on    bool
	ear   *ear
	wake  time.Time

	said    int    // messages so far
	last    []byte // the last one, as sent
	visits  []*visit
	answers []given
	signs   []shown
	public  []string
	strange bool // it may stay unanswered, because it is not configured
}

// visit is one rider's credential at one gate.
type visit struct {
	post       *post
	at         time.Time
	credential gateway.Credential
	answer     gateway.Answer
	asked      int
	decidedAt  time.Time
	signed     int // how many signs the gate had given before
	// again allows that the station is asked a second time.
	again bool
}

type given struct {
	at     time.Time
	answer gateway.Answer
}

type shown struct {
	at   time.Time
	sign Sign
}

// addresses are those of the gates of a world; none is its own index.
var addresses = [...]uint8{1, 2, 5, 9}

// strangerAddress belongs to a gate that no box of the suite knows.
const strangerAddress = 77

// newWorld builds a line with as many gates as addresses, all switched on, and
// lets it live until every gate shows the automatic lane.
func newWorld(p Protocol, seed uint64, addresses ...uint8) *world {
	return newWorldReading(p, seed, uart(), addresses...)
}

// newWorldReading is newWorld with a port of the box that reads in its own way.
func newWorldReading(p Protocol, seed uint64, how reading, addresses ...uint8) *world {
	w := emptyWorld(p, seed)
	w.ear = newEar(how, w.r)
	var gates []*drivers.Gate
	for _, a := range addresses {
		g := &drivers.Gate{Name: fmt.Sprintf("G%d", a), Address: a}
		gates = append(gates, g)
		w.add(a, g)
	}
	table, err := drivers.NewGateTable(gates...)
	if err != nil {
		w.fault("%w", err)
		return w
	}
	w.table = table
	w.watch.session, err = p.Box(BoxConfig{Gates: table, Counters: w.counters, Baud: p.Baud, Now: w.now, Random: w.r})
	if err != nil {
		w.fault("no session can be built: %w", err)
		return w
	}
	w.wake = w.now
	w.settle()
	return w
}

func emptyWorld(p Protocol, seed uint64) *world {
	r := rand.New(rand.NewPCG(seed, 0x9a7e))
	return &world{
		p: p, now: start(), r: r, counters: new(drivers.Counters),
		wire: wire{half: p.HalfDuplex, char: 10 * time.Second / time.Duration(p.Baud)},
	}
}

// add puts a gate on the line.
func (w *world) add(address uint8, entry *drivers.Gate) *post {
	p := &post{
		index: len(w.posts), entry: entry, lane: gateway.LaneAuto, on: true, ear: newEar(uart(), w.r), wake: w.now, strange: entry == nil,
		gate: w.p.Gate(GateConfig{Address: address, Baud: w.p.Baud, Now: w.now, Random: w.r}),
	}
	w.posts = append(w.posts, p)
	return p
}

// fault notes that a contract is broken. What comes of it later is not noted.
func (w *world) fault(format string, args ...any) {
	if w.broken == nil {
		w.broken = fmt.Errorf("after %v: %w", w.now.Sub(start()), fmt.Errorf(format, args...))
	}
}

// verdict is nil where the world saw no fault.
func (w *world) verdict() error { return w.broken }

// settle lets the line live until every gate shows the lane it shall show.
func (w *world) settle() {
	w.wait("every gate shows its lane", 10*time.Second, func() bool {
		return !slices.ContainsFunc(w.posts, func(p *post) bool {
			return p.on && !p.strange && p.gate.Lane(w.now) != p.lane
		})
	})
}

// wait lets the line live until ok or, at most, for limit, which is a fault. It
// reports whether it was in time.
func (w *world) wait(what string, limit time.Duration, ok func() bool) bool {
	for end := w.now.Add(limit); w.now.Before(end) && w.broken == nil; {
		if ok() {
			return true
		}
		w.live(5 * time.Millisecond)
	}
	if !ok() {
		w.fault("%v were not enough until %s", limit, what)
	}
	return w.broken == nil
}

// after plans something.
func (w *world) after(d time.Duration, do func()) {
	w.plan = append(w.plan, action{w.now.Add(d), do})
	slices.SortStableFunc(w.plan, func(a, b action) int { return a.at.Compare(b.at) })
}

// live lets time pass.
func (w *world) live(d time.Duration) {
	until := w.now.Add(d)
	for range maxEvents {
		next, some := w.next()
		if !some || next.After(until) || w.broken != nil {
			w.now = until
			return
		}
		if next.After(w.now) {
			w.now = next
		}
		w.happen()
	}
	w.fault("the line comes to no rest")
}

// next returns when something happens next.
func (w *world) next() (at time.Time, some bool) {
	earlier := func(t time.Time, ok bool) {
		if ok && !t.IsZero() && (!some || t.Before(at)) {
			at, some = t, true
		}
	}
	if len(w.plan) > 0 {
		earlier(w.plan[0].at, true)
	}
	earlier(w.ear.due())
	earlier(w.wake, true)
	for _, p := range w.posts {
		if p.on {
			earlier(p.ear.due())
			earlier(p.wake, true)
		}
	}
	return at, some
}

// happen does what is due.
func (w *world) happen() {
	for len(w.plan) > 0 && !w.plan[0].at.After(w.now) {
		do := w.plan[0].do
		w.plan = w.plan[1:]
		do()
	}
	if at, ok := w.ear.due(); ok && !at.After(w.now) {
		w.serve(w.ear.take(w.now))
	} else if !w.wake.IsZero() && !w.wake.After(w.now) {
		w.serve(nil)
	}
	for _, p := range w.posts {
		if !p.on {
			continue
		}
		if at, ok := p.ear.due(); ok && !at.After(w.now) {
			w.step(p, p.ear.take(w.now))
		} else if !p.wake.IsZero() && !p.wake.After(w.now) {
			w.step(p, nil)
		}
	}
}

// step lets a gate act.
func (w *world) step(p *post, in []byte) {
	send, wake := p.gate.Step(w.now, in)
	if p.wake = wake; !wake.IsZero() && !wake.After(w.now) {
		p.wake = w.now.Add(time.Millisecond)
	}
	if len(send) > 0 {
		w.say(p.index, send)
	}
	p.public = append(p.public, p.gate.Public()...)
	for _, s := range p.gate.Signs() {
		p.signs = append(p.signs, shown{w.now, s})
		if !p.expects(w.now, s) {
			w.fault("gate %d gives the sign %v, and no answer that is still good says so (GATE-07)", p.index, s)
		}
	}
}

// expects reports whether an answer that is still good told the gate to give a
// sign.
func (p *post) expects(now time.Time, s Sign) bool {
	return slices.ContainsFunc(p.answers, func(g given) bool {
		return s.fits(g.answer) && now.Sub(g.at) <= g.answer.TTL+slack
	})
}

// serve does with the session what a line does.
func (w *world) serve(in []byte) {
	for _, p := range w.posts {
		if p.entry != nil {
			w.watch.session.Show(p.entry.Address, p.lane)
		}
	}
	for range maxRounds {
		out := w.watch.step(w, in)
		in = nil
		for _, tap := range out.Taps {
			w.watch.session.Answer(w.now, tap, w.decide(tap))
		}
		w.watch.held(w)
		if len(out.Send) > 0 {
			w.say(fromBox, out.Send)
		}
		if w.wake = out.Wake; len(out.Taps) == 0 && len(out.Send) == 0 {
			return
		}
	}
	w.fault("a session that is given nothing new asks or says something %d times in a row", maxRounds)
}

// decide is the station. A question that it has answered, and whose answer is
// still good, it answers differently if it is asked again, so that it shows.
func (w *world) decide(tap gateway.Tap) gateway.Answer {
	i := slices.IndexFunc(w.posts, func(p *post) bool { return p.entry != nil && p.entry.Address == tap.Gate })
	if i < 0 {
		w.fault("a tap comes from a gate that is not configured")
		return gateway.Answer{}
	}
	p := w.posts[i]
	var v *visit
	for _, candidate := range p.visits {
		if candidate.credential == tap.Credential {
			v = candidate
		}
	}
	if v == nil {
		w.fault("gate %d asks for a credential that nobody has presented there", p.index)
		return gateway.Answer{}
	}
	if v.asked > 0 && !v.again && w.now.Sub(v.decidedAt) < v.answer.TTL {
		w.fault("a tap at gate %d is asked once more, %v after it was answered (IMP-24)", p.index, w.now.Sub(v.decidedAt))
	}
	answer := v.answer
	if v.asked%2 == 1 {
		answer = another(answer)
	}
	v.asked++
	v.decidedAt = w.now
	p.answers = append(p.answers, given{w.now, answer})
	if w.decided != nil {
		w.decided(v)
	}
	return answer
}

// another is an answer that cannot be taken for a.
func another(a gateway.Answer) gateway.Answer {
	if a.Verdict == gateway.VerdictRefuse {
		return gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: a.TTL}
	}
	return gateway.Answer{Verdict: gateway.VerdictRefuse, Reason: gateway.R10, TTL: a.TTL}
}
