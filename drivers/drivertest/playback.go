package drivertest

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// Clock is the time of a conversation that is played back: nothing waits, and
// what is read moves it on.
type Clock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

// tick is how much later every look at a Clock finds it. A line that waits out
// a short gap by looking at its clock would otherwise wait for ever.
const tick = 20 * time.Microsecond

// NewClock returns a clock that stands at start.
func NewClock(start time.Time) *Clock { return &Clock{now: start} }

// Now is what a line that is played back uses for its Now.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(tick)
	return c.now
}

func (c *Clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// reach moves the clock on to t; it never goes back.
func (c *Clock) reach(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.After(c.now) {
		c.now = t
	}
}

// overdue is how much later than recorded the box may write.
const overdue = 10 * time.Second

// ErrPlayback is wrapped by the errors of a conversation that does not go as
// recorded.
var ErrPlayback = errors.New("the conversation does not go as recorded")

// Playback is a drivers.Port that plays the far end of a Record: it hands out
// what the box read then, in order, and insists that the box writes what it
// wrote then, however it is cut into calls. A difference is an error of the
// call and of every later one.
//
// It knows when the box read and not how long the box then thought. So a box
// that asks several gates in an order that hangs on microseconds may say
// something else than on the machine of the record, if that was very busy.
type Playback struct {
	record Record
	clock  *Clock
	begun  time.Time
	over   chan struct{} // closed when done or failed

	mu       sync.Mutex // guards what follows
	i        int        // the chunk in turn
	passed   int        // and how many bytes of it have passed
	err      error
	shut     bool
	patience time.Duration // of the next Read
	patient  bool          // there is a limit to it
	changed  chan struct{} // closed by Close, and by another patience
}

// NewPlayback returns a port that plays r, beginning at the clock's time.
func NewPlayback(r Record, clock *Clock) *Playback {
	for n := len(r.Chunks); n > 0 && r.Chunks[n-1].Way == Waited; n-- {
		r.Chunks = r.Chunks[:n-1] // nothing comes of it any more
	}
	p := &Playback{record: r, clock: clock, begun: clock.read(), over: make(chan struct{}), changed: make(chan struct{})}
	if len(r.Chunks) == 0 {
		close(p.over)
	}
	return p
}

// Done is closed once the record has been played to its end or the
// conversation went another way.
func (p *Playback) Done() <-chan struct{} { return p.over }

// Err returns what differed from the record; nil if nothing has so far.
func (p *Playback) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// SetReadDeadline implements drivers.Port. What is left until t is how far the
// clock may move in the next Read.
func (p *Playback) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.patient = !t.IsZero()
	p.patience = max(time.Until(t), 0)
	p.wake()
	return p.usable()
}

// SetWriteDeadline implements drivers.Port; a write never waits.
func (p *Playback) SetWriteDeadline(time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.usable()
}

func (p *Playback) usable() error {
	if p.shut {
		return os.ErrClosed
	}
	return p.err
}

// wake lets a Read that waits look again.
func (p *Playback) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Close implements io.Closer.
func (p *Playback) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	p.wake()
	return nil
}

// Read implements io.Reader. After the record's end the line is silent: the
// clock runs on to the deadline, and without one Read waits for one or for
// Close.
func (p *Playback) Read(b []byte) (int, error) {
	for {
		n, wait, err := p.hand(b)
		if wait == nil {
			return n, err
		}
		<-wait
	}
}

// hand gives the box what it read when it was recorded. wait is not nil where
// there is nothing to say yet, and closed when to look again.
func (p *Playback) hand(b []byte) (n int, wait <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return 0, nil, err
	}
	if p.i == len(p.record.Chunks) {
		if !p.patient {
			return 0, p.changed, nil
		}
		p.clock.reach(p.clock.read().Add(p.patience))
		return 0, nil, os.ErrDeadlineExceeded
	}
	c := p.record.Chunks[p.i]
	at, now := p.begun.Add(c.At), p.clock.read()
	if c.Way == Read {
		p.clock.reach(at)
		n = copy(b, c.Data[p.passed:])
		p.pass(n)
		return n, nil, nil
	}
	switch {
	case !p.patient:
		return 0, nil, p.fail("the box waits without a limit, as it did not then")
	case c.Way == Waited:
		p.clock.reach(at)
		p.next()
	case now.Sub(at) > overdue:
		return 0, nil, p.fail("the box has not written %d bytes yet, %v after it should", len(c.Data)-p.passed, overdue)
	}
	p.clock.reach(now.Add(p.patience))
	return 0, nil, os.ErrDeadlineExceeded
}

// Write implements io.Writer. It does not move the clock: when the box wrote, it
// went by the time of its last read.
func (p *Playback) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.usable(); err != nil {
		return 0, err
	}
	for i := range b {
		for p.i < len(p.record.Chunks) && p.record.Chunks[p.i].Way == Waited {
			p.next() // a line need not wait as often as it did
		}
		if p.i == len(p.record.Chunks) {
			return len(b), nil // the box goes on; nobody knows any more what it said
		}
		c := p.record.Chunks[p.i]
		if c.Way != Written {
			return i, p.fail("the box writes %d bytes more before it reads: %s", len(b)-i, around(b, i))
		}
		if c.Data[p.passed] != b[i] {
			return i, p.fail("the box writes %s, it wrote %s", around(b, i), around(c.Data, p.passed))
		}
		p.pass(1)
	}
	return len(b), nil
}

// pass notes that n bytes of the chunk in turn have passed.
func (p *Playback) pass(n int) {
	if p.passed += n; p.passed == len(p.record.Chunks[p.i].Data) {
		p.next()
	}
}

// next goes on to the next chunk.
func (p *Playback) next() {
	p.i, p.passed = p.i+1, 0
	if p.i == len(p.record.Chunks) {
		close(p.over)
	}
}

// fail ends the conversation. The error names line and byte of the record.
func (p *Playback) fail(format string, args ...any) error {
	p.err = fmt.Errorf("%w: line %d, byte %d, at %v: %s", ErrPlayback, firstChunk+p.i, p.passed, p.record.Chunks[p.i].At, fmt.Sprintf(format, args...))
	close(p.over)
	return p.err
}
