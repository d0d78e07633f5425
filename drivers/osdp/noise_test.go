package osdp

import (
	"bytes"
	"testing"
	"time"

	"gateline/gateway"
)

// rider is who stands at a reader.
type rider struct {
	credential gateway.Credential
	verdict    gateway.Verdict
	waiting    bool
	since      time.Time
}

// crowd keeps a rider at every reader of a bus, each with a card of his own and
// a verdict that follows from it, and checks what he is shown.
type crowd struct {
	*simBus
	riders              []rider
	served, wrong, lost int
}

func newCrowd(b *simBus) *crowd {
	c := &crowd{simBus: b, riders: make([]rider, len(b.pds))}
	b.answer = func(tap gateway.Tap) gateway.Answer {
		r := &c.riders[tap.Gate]
		if tap.Credential != r.credential {
			c.wrong++
		}
		return gateway.Answer{Verdict: r.verdict, Open: r.verdict == gateway.VerdictPass, TTL: 3 * time.Second}
	}
	b.onShown = c.shown
	for i := range b.pds {
		c.next(uint8(i))
	}
	return c
}

// next lets another rider come to a reader soon.
func (c *crowd) next(reader uint8) {
	at := c.now.Add(100*time.Millisecond + time.Duration(c.r.Int64N(int64(3*time.Second))))
	n, verdict := c.r.IntN(1e6), gateway.Verdict(c.r.IntN(3))
	card := bytes.Clone(someCard)
	for i := range 3 {
		card[7+i] = byte(n%10) | byte(n/10%10)<<4
		n /= 100
	}
	credential := DefaultReadMap().Credential(Read{Bits: 80, Data: card})
	c.events = append(c.events, simEvent{at, func() {
		c.riders[reader] = rider{credential, verdict, true, at}
		c.pds[reader].Present(at, Read{Bits: 80, Data: card})
	}})
	c.sortEvents()
}

func (c *crowd) shown(reader uint8, s Show) {
	r := &c.riders[reader]
	var verdict gateway.Verdict
	switch {
	case s.Code == CmdOUT && s.Out.Control == OutPulseOn:
		verdict = gateway.VerdictPass
	case s.Code != CmdLED || s.LED.TempTime != DefaultSignals().For || s.LED.TempBlink.OnColor == Green:
		return // Green follows the gate
	case s.LED.TempBlink.OnColor == Red:
		verdict = gateway.VerdictRefuse
	}
	if verdict != r.verdict {
		c.wrong++
	}
	if r.waiting { // else it is shown once more
		r.waiting = false
		c.served++
		c.next(reader)
	}
}

// giveUp counts the riders who have waited for more than a second.
func (c *crowd) giveUp() {
	for i := range c.riders {
		if r := &c.riders[i]; r.waiting && c.now.Sub(r.since) > time.Second {
			r.waiting = false
			c.lost++
			c.next(uint8(i))
		}
	}
}

// A million exchanges on a line that damages one bit in a hundred thousand: no
// rider is shown another's answer, and everybody gets his own.
func TestMillionExchanges(t *testing.T) {
	if raceEnabled {
		t.Skip("minutes under the race detector, which sees nothing in one goroutine")
	}
	const want = 1_000_000
	b := newSimBus(t, 12, 8, 115200, true, time.Millisecond)
	b.until(simStart.Add(2 * time.Second))
	b.errors, b.exchanges = 1e-5, 0
	c := newCrowd(b)
	for b.exchanges < want {
		b.until(b.now.Add(time.Minute))
		c.giveUp()
	}
	b.errors = 0
	b.until(b.now.Add(2 * time.Second))
	c.giveUp()
	t.Logf("%d exchanges, %d damaged, %d riders served, %d repeats, %d wrong, %d lost", b.exchanges, b.damaged, c.served, b.counters.Repeats.Load(), c.wrong, c.lost)
	if c.wrong > 0 || c.lost > 0 || b.damaged == 0 || c.served < want/100 || b.online() != 8 {
		t.Errorf("%d readers are online", b.online())
	}
}
