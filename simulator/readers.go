package simulator

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"gateline/drivers/osdp"
	"gateline/gateway"
)

// readers is a line of simulated OSDP readers: one pseudo-terminal, half-
// duplex, paced in both directions, with the readers' turnaround. One goroutine
// is the line and everything on it.
type readers struct {
	wire       *wire
	turnaround time.Duration
	position   func() gateway.Position

	mu    sync.Mutex // guards what follows
	pds   []*osdp.PD
	waits []chan<- sign // by reader; nil = nobody waits
	told  []bool        // by reader: it shows something permanent
}

// sign is the first thing that a reader shows for a tap.
type sign struct {
	verdict gateway.Verdict
	open    bool
	at      time.Time
	bytes   int // of the command that brought it
}

const (
	// readerLoop is how often the line looks whether it is to end.
	readerLoop = 50 * time.Millisecond
	// signLimit is how long a rider waits for a sign.
	signLimit = 3 * time.Second
)

// newReaders returns n readers on a line, addresses 0 to n-1, each with the key
// in keys where there is one.
func newReaders(n, baud int, turnaround time.Duration, keys []osdp.Key, r *rand.Rand, position func() gateway.Position) (*readers, error) {
	w, err := openWire(baud)
	if err != nil {
		return nil, err
	}
	l := &readers{wire: w, turnaround: turnaround, position: position, waits: make([]chan<- sign, n), told: make([]bool, n)}
	for i := range n {
		c := osdp.PDConfig{Address: byte(i), Baud: uint32(baud), Capabilities: osdp.TypicalCapabilities(), Rand: source{r}}
		if keys != nil {
			c.Key, c.RequireSecure = &keys[i], true
		}
		l.pds = append(l.pds, osdp.NewPD(c))
	}
	return l, nil
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
		in, at, err := l.wire.receive(time.Now().Add(readerLoop))
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("readers on %s: %w", l.wire.path, err)
		}
		if len(in) == 0 {
			continue
		}
		reply := l.step(at, in)
		if len(reply) == 0 {
			continue
		}
		if err := l.wire.timer.Until(at.Add(l.turnaround)); err != nil {
			return err
		}
		if _, err := l.wire.send(reply); err != nil {
			return fmt.Errorf("readers on %s: %w", l.wire.path, err)
		}
	}
	return ctx.Err()
}

// step lets every reader hear what came, and returns what the line then
// carries: two that answer at once collide.
func (l *readers) step(at time.Time, in []byte) (reply []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, pd := range l.pds {
		reply = append(reply, pd.Step(at, in)...)
		for _, s := range pd.Shown() {
			l.told[i] = l.told[i] || s.Code == osdp.CmdLED && s.LED.Perm == osdp.PermSet
			if first, ok := signOf(s); ok && l.waits[i] != nil {
				first.at, first.bytes = at, len(in)
				l.waits[i] <- first
				l.waits[i] = nil
			}
		}
	}
	return reply
}

// signOf reads an answer from what a reader was told to show.
func signOf(s osdp.Show) (sign, bool) {
	switch {
	case s.Code == osdp.CmdOUT && s.Out.Control == osdp.OutPulseOn:
		return sign{verdict: gateway.VerdictPass, open: true}, true
	case s.Code == osdp.CmdLED && s.LED.Temp == osdp.TempSet && s.LED.TempBlink.OnColor == osdp.Red:
		return sign{verdict: gateway.VerdictRefuse}, true
	case s.Code == osdp.CmdLED && s.LED.Temp == osdp.TempSet && s.LED.TempBlink.OnColor == osdp.Amber:
		return sign{verdict: gateway.VerdictManual}, true
	}
	return sign{}, false
}

// ready reports whether every reader has been told what to show between taps,
// which the box does once it is done with a reader's start.
func (l *readers) ready() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, told := range l.told {
		if !told {
			return false
		}
	}
	return true
}

// reader is one reader of a line, as a rider uses it.
type reader struct {
	line  *readers
	index int
}

// idle lets time pass; the line lives by itself.
func (r *reader) idle(ctx context.Context, t time.Time) error { return wait(ctx, time.Until(t)) }

// tap presents a credential and waits for the first sign of an answer. OSDP
// has no word for a purpose: a reader of an entry asks for entries only.
func (r *reader) tap(ctx context.Context, credentialIndex int, _ gateway.Purpose) (tapRecord, error) {
	t := tapRecord{credential: credentialIndex, before: r.line.position(), blind: true, tries: 1}
	answer := make(chan sign, 1)
	r.line.mu.Lock()
	r.line.waits[r.index] = answer
	t.sent = time.Now()
	r.line.pds[r.index].Present(t.sent, readOf(credentialIndex))
	r.line.mu.Unlock()
	limit := time.NewTimer(signLimit)
	defer limit.Stop()
	select {
	case <-ctx.Done():
		return t, ctx.Err()
	case <-limit.C:
		r.line.mu.Lock()
		r.line.waits[r.index] = nil
		r.line.mu.Unlock()
		t.received = time.Now()
	case s := <-answer:
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
