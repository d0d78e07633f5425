package simulator

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"gateline/drivers/osdp"
	"gateline/gateway"
)

// readers is a line of simulated OSDP readers: one pseudo-terminal with a
// medium behind it. One goroutine is the line and everything on it.
type readers struct {
	wire     *wire
	position func() gateway.Position

	mu     sync.Mutex // guards medium
	medium medium
}

const (
	// readerLoop is how often the line looks whether it is to end, or whether
	// a reader is to be switched off.
	readerLoop = 50 * time.Millisecond
	// signLimit is how long a rider waits for a sign.
	signLimit = 3 * time.Second
)

// readersConfig says what a line of readers is.
type readersConfig struct {
	baud       int
	turnaround time.Duration
	// keys are those that the box has, one for each reader; nil = in clear.
	keys     []osdp.Key
	n        int
	faults   faults
	r        *rand.Rand // owned by the line
	position func() gateway.Position
}

// newReaders returns readers on a line, addresses 0 to n-1.
func newReaders(c readersConfig) (*readers, error) {
	w, err := openWire(c.baud)
	if err != nil {
		return nil, err
	}
	l := &readers{wire: w, position: c.position}
	l.medium = newMedium(c, time.Now())
	return l, nil
}

// newMedium returns the wires of a line and the readers on them, with what is
// wrong with them.
func newMedium(c readersConfig, now time.Time) medium {
	m := medium{air: newNoise(c.faults.errorRate, c.r), echo: c.faults.echo, r: c.r, baud: c.baud}
	for i := range c.n {
		m.units = append(m.units, c.unit(i, c.faults.fault(i), now))
	}
	for i, u := range m.units { // second ones come behind, so that a reader's index is its address
		if u.fault.kind == faultTwin {
			twin := c.unit(i, u.fault, now)
			twin.turnaround = u.fault.turnaround
			m.units = append(m.units, twin)
		}
	}
	return m
}

// unit returns the reader with an address and a fault.
func (c *readersConfig) unit(address int, fault readerFault, now time.Time) *unit {
	pd := osdp.PDConfig{Address: byte(address), Baud: uint32(c.baud), Capabilities: osdp.TypicalCapabilities(), Rand: source{c.r}}
	if c.keys != nil {
		pd.Key, pd.RequireSecure = &c.keys[address], true
	}
	u := &unit{fault: fault, turnaround: c.turnaround}
	switch fault.kind {
	case faultSlow:
		u.turnaround = fault.turnaround
	case faultBabble:
		u.nextBabble = now.Add(fault.every)
	case faultWrongKey:
		var other osdp.Key
		_, _ = source{c.r}.Read(other[:]) // never fails
		pd.Key = &other
	case faultDefaultKey:
		pd.Key, pd.RequireSecure = nil, false
	case faultSpeed:
		pd.Baud = uint32(fault.baud)
	}
	u.pd = osdp.NewPD(pd)
	return u
}

// source is a seeded source of bytes; only the line's goroutine reads it.
type source struct{ r *rand.Rand }

func (s source) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s.r.Uint32())
	}
	return len(b), nil
}

// run is the line until ctx is done.
func (l *readers) run(ctx context.Context) error {
	for ctx.Err() == nil {
		now := time.Now()
		until := now.Add(readerLoop)
		l.mu.Lock()
		out, wake := l.medium.step(now)
		l.mu.Unlock()
		if len(out) > 0 {
			if _, err := l.wire.master.Write(out); err != nil {
				return fmt.Errorf("readers on %s: %w", l.wire.path, err)
			}
		}
		if !wake.IsZero() && wake.Before(until) {
			until = wake
		}
		in, at, err := l.wire.listen(until)
		if err != nil {
			return fmt.Errorf("readers on %s: %w", l.wire.path, err)
		}
		if len(in) == 0 {
			continue
		}
		baud, err := l.wire.speed()
		if err != nil {
			return fmt.Errorf("readers on %s: %w", l.wire.path, err)
		}
		l.mu.Lock()
		l.medium.baud = baud
		l.medium.say(at, in)
		l.mu.Unlock()
	}
	return ctx.Err()
}

// ready reports whether every reader that is well has been told what to show
// between taps, which the box does once it is done with a reader's start.
func (l *readers) ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range l.medium.units {
		if u.fault.serves() && !u.told {
			return false
		}
	}
	return true
}

// plan has readers switched off and on.
func (l *readers) plan(switches []powerSwitch) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.medium.switches = switches
}

// restore ends a plan; every reader gets its power back.
func (l *readers) restore(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.medium.switches = nil
	for i := range l.medium.units {
		l.medium.power(powerSwitch{at: now, reader: i, on: true})
	}
}

// counted returns what has happened on the line so far; the slices are the
// caller's.
func (l *readers) counted() (LineCounts, returns) {
	l.mu.Lock()
	defer l.mu.Unlock()
	back := l.medium.back
	return l.medium.counts, returns{found: append([]time.Duration(nil), back.found...), back: append([]time.Duration(nil), back.back...)}
}

// reader is one reader of a line, as a rider uses it.
type reader struct {
	line  *readers
	index int
}

// idle lets time pass; the line lives by itself.
func (r *reader) idle(ctx context.Context, t time.Time) error { return wait(ctx, time.Until(t)) }

// usable reports whether the reader is one that the box ought to serve.
func (r *reader) usable() bool { return r.line.medium.units[r.index].fault.serves() }

// serving reports whether the reader has power and the box asks it for cards.
func (r *reader) serving() bool {
	r.line.mu.Lock()
	defer r.line.mu.Unlock()
	u := r.line.medium.units[r.index]
	return !u.off && !u.served.IsZero()
}

// tap presents a credential and waits for the first sign of an answer. OSDP
// has no word for a purpose: a reader of an entry asks for entries only.
func (r *reader) tap(ctx context.Context, credentialIndex int, _ gateway.Purpose) (tapRecord, error) {
	t := tapRecord{credential: credentialIndex, before: r.line.position(), blind: true, tries: 1}
	signs := make(chan sign, 1)
	u := r.line.medium.units[r.index]
	r.line.mu.Lock()
	t.sent = time.Now()
	if u.off {
		signs <- sign{dark: true}
	} else {
		u.waits = signs
		u.present(t.sent, readOf(credentialIndex))
	}
	r.line.mu.Unlock()
	limit := time.NewTimer(signLimit)
	defer limit.Stop()
	select {
	case <-ctx.Done():
		return t, ctx.Err()
	case <-limit.C:
		r.line.mu.Lock()
		u.waits = nil
		r.line.mu.Unlock()
		t.received = time.Now()
	case s := <-signs:
		if s.dark {
			t.abandoned, t.received = true, time.Now()
			break
		}
		t.answered, t.received, t.lineBytes = true, s.at, s.bytes
		t.got = outcome{verdict: s.verdict, open: s.open}
	}
	t.after = r.line.position()
	return t, nil
}

// readOf is what a reader makes of a credential: the digits of a card with the
// leading zero of its chip, two to a byte; those of a ride-code account as they
// are; seven bits of nothing where it cannot be read.
func readOf(credentialIndex int) osdp.Read {
	if credentialIndex == noCredential {
		return osdp.Read{Bits: 7, Data: []byte{0}}
	}
	c := credential(credentialIndex)
	digits := c.AppendNumber(nil)
	if c.Scheme() == gateway.SchemeRide {
		return osdp.Read{Bits: 8 * len(digits), Data: digits}
	}
	packed, err := hex.DecodeString("0" + string(digits))
	if err != nil {
		panic("simulator: a made-up card number is not one: " + err.Error()) // a fault of city.go
	}
	return osdp.Read{Bits: 4 * (len(digits) + 1), Data: packed}
}
