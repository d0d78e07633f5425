package drivertest_test

import (
	"time"

	"gateline/drivers"
	"gateline/drivers/drivertest"
	"gateline/gateway"
)

// box is a session that does wrong what its functions say; nil = right.
type box struct {
	inner  drivers.Session
	step   func(now time.Time, in []byte) drivers.Output
	answer func(now time.Time, tap gateway.Tap, a gateway.Answer)
	show   func(address uint8, lane gateway.Lane)
	reset  func()
}

func (b *box) Step(now time.Time, in []byte) drivers.Output {
	if b.step != nil {
		return b.step(now, in)
	}
	return b.inner.Step(now, in)
}

func (b *box) Answer(now time.Time, tap gateway.Tap, a gateway.Answer) {
	if b.answer != nil {
		b.answer(now, tap, a)
		return
	}
	b.inner.Answer(now, tap, a)
}

func (b *box) Show(address uint8, lane gateway.Lane) {
	if b.show != nil {
		b.show(address, lane)
		return
	}
	b.inner.Show(address, lane)
}

func (b *box) Reset() {
	if b.reset != nil {
		b.reset()
		return
	}
	b.inner.Reset()
}

// spoiled is a protocol whose every session spoil has made wrong.
func spoiled(p drivertest.Protocol, spoil func(*box, drivertest.BoxConfig)) drivertest.Protocol {
	build := p.Box
	p.Box = func(c drivertest.BoxConfig) (drivers.Session, error) {
		inner, err := build(c)
		if err != nil {
			return nil, err
		}
		b := &box{inner: inner}
		spoil(b, c)
		return b, nil
	}
	return p
}

// soonest returns the earlier of two wakes, of which zero is none.
func soonest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later is something that a wrong session does after a while.
type later struct {
	at time.Time
	do func()
}

// delaying gives a session a step that does in time what is put into the
// returned list.
func delaying(b *box) *[]later {
	plan := new([]later)
	b.step = func(now time.Time, in []byte) drivers.Output {
		for len(*plan) > 0 && !now.Before((*plan)[0].at) {
			do := (*plan)[0].do
			*plan = (*plan)[1:]
			do()
		}
		out := b.inner.Step(now, in)
		if len(*plan) > 0 {
			out.Wake = soonest(out.Wake, (*plan)[0].at)
		}
		return out
	}
	return plan
}

func dropsTaps(b *box, _ drivertest.BoxConfig) {
	n := 0
	b.step = func(now time.Time, in []byte) drivers.Output {
		out := b.inner.Step(now, in)
		if len(out.Taps) > 0 {
			if n++; n%3 == 0 {
				out.Taps = nil
			}
		}
		return out
	}
}

func repeatsTaps(b *box, _ drivertest.BoxConfig) {
	var last []gateway.Tap
	var at time.Time
	b.step = func(now time.Time, in []byte) drivers.Output {
		out := b.inner.Step(now, in)
		switch {
		case len(out.Taps) > 0:
			last, at = append(last[:0], out.Taps...), now.Add(100*time.Millisecond)
		case len(last) > 0 && !now.Before(at):
			out.Taps = last
			last = nil
		case len(last) > 0:
			out.Wake = soonest(out.Wake, at)
		}
		return out
	}
}

func answersTwice(b *box, _ drivertest.BoxConfig) {
	plan := delaying(b)
	b.answer = func(now time.Time, tap gateway.Tap, a gateway.Answer) {
		b.inner.Answer(now, tap, a)
		at := now.Add(200 * time.Millisecond)
		*plan = append(*plan, later{at, func() { b.inner.Answer(at, tap, a) }})
	}
}

func answersAnewAfterReset(b *box, _ drivertest.BoxConfig) {
	plan := delaying(b)
	var last *gateway.Tap
	var at time.Time
	b.answer = func(now time.Time, tap gateway.Tap, a gateway.Answer) {
		last, at = &tap, now.Add(time.Second)
		b.inner.Answer(now, tap, a)
	}
	b.reset = func() {
		b.inner.Reset()
		if tap := last; tap != nil {
			*plan = append(*plan, later{at, func() {
				b.inner.Answer(at, *tap, gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: time.Second})
			}})
		}
	}
}

func swapsAnswers(b *box, _ drivertest.BoxConfig) {
	type held struct {
		tap gateway.Tap
		a   gateway.Answer
	}
	var one *held
	plan := delaying(b)
	b.answer = func(now time.Time, tap gateway.Tap, a gateway.Answer) {
		if one != nil && one.tap.Gate != tap.Gate {
			b.inner.Answer(now, one.tap, a)
			b.inner.Answer(now, tap, one.a)
			one = nil
			return
		}
		mine := &held{tap, a}
		one = mine
		at := now.Add(20 * time.Millisecond)
		*plan = append(*plan, later{at, func() {
			if one == mine {
				b.inner.Answer(at, tap, a)
				one = nil
			}
		}})
	}
}

func guessesUnreadable(b *box, _ drivertest.BoxConfig) {
	last := map[uint8]gateway.Credential{}
	b.step = func(now time.Time, in []byte) drivers.Output {
		out := b.inner.Step(now, in)
		for i, tap := range out.Taps {
			if tap.Credential.Readable() {
				last[tap.Gate] = tap.Credential
			}
			out.Taps[i].Credential = last[tap.Gate]
		}
		return out
	}
}

// withTTL gives every answer another lifetime.
func withTTL(ttl time.Duration) func(*box, drivertest.BoxConfig) {
	return func(b *box, _ drivertest.BoxConfig) {
		b.answer = func(now time.Time, tap gateway.Tap, a gateway.Answer) {
			a.TTL = ttl
			b.inner.Answer(now, tap, a)
		}
	}
}

func tellsReasons(b *box, _ drivertest.BoxConfig) {
	b.answer = func(now time.Time, tap gateway.Tap, a gateway.Answer) {
		if a.Reason == gateway.R24 {
			a.Reason = gateway.R26 // for which there is another text
		}
		b.inner.Answer(now, tap, a)
	}
}

func showsFirstLaneOnly(b *box, _ drivertest.BoxConfig) {
	told := map[uint8]bool{}
	b.show = func(address uint8, lane gateway.Lane) {
		if !told[address] {
			b.inner.Show(address, lane)
			told[address] = true
		}
	}
}

func losesShortReads(b *box, _ drivertest.BoxConfig) {
	b.step = func(now time.Time, in []byte) drivers.Output {
		if len(in) < 4 {
			in = nil
		}
		return b.inner.Step(now, in)
	}
}

func seesOneFrame(b *box, _ drivertest.BoxConfig) {
	b.step = func(now time.Time, in []byte) drivers.Output { return b.inner.Step(now, in[:min(len(in), 30)]) }
}

// inventing returns a session that sees a tap where suspicious says so.
func inventing(b *box, gate uint8, suspicious func(in []byte) bool) {
	b.step = func(now time.Time, in []byte) drivers.Output {
		out := b.inner.Step(now, in)
		if suspicious(in) {
			out.Taps = append(out.Taps, gateway.Tap{Gate: gate})
		}
		return out
	}
}

func believesNoise(b *box, c drivertest.BoxConfig) {
	var before uint64
	inventing(b, c.Gates.All()[0].Address, func([]byte) bool {
		now := c.Counters.Noise.Load()
		rises := now > before
		before = now
		return rises
	})
}

func hearsItself(b *box, c drivertest.BoxConfig) {
	inventing(b, c.Gates.All()[0].Address, func(in []byte) bool {
		return len(in) > 2 && in[0] == 0xff && in[2] == c.Gates.All()[0].Address // a mark, SOM, an address as the box writes it
	})
}

func deafAfterReset(b *box, _ drivertest.BoxConfig) {
	deaf := false
	b.reset = func() { deaf = true }
	b.step = func(now time.Time, in []byte) drivers.Output {
		if deaf {
			in = nil
		}
		return b.inner.Step(now, in)
	}
}

func stallsForTheDead(b *box, c drivertest.BoxConfig) {
	var kept []byte
	b.step = func(now time.Time, in []byte) drivers.Output {
		dead := false
		for _, g := range c.Gates.All() {
			dead = dead || !g.Heard().IsZero() && g.State(now) == drivers.GateSilent
		}
		second := now.Truncate(time.Second)
		if end := second.Add(700 * time.Millisecond); dead && now.Before(end) {
			kept = append(kept, in...)
			return drivers.Output{Wake: end}
		}
		in = append(kept, in...)
		kept = nil
		return b.inner.Step(now, in)
	}
}

func writesOff(b *box, c drivertest.BoxConfig) {
	off := map[uint8]bool{}
	b.step = func(now time.Time, in []byte) drivers.Output {
		for _, g := range c.Gates.All() {
			off[g.Address] = off[g.Address] || !g.Heard().IsZero() && g.State(now) == drivers.GateSilent
		}
		out := b.inner.Step(now, in)
		if len(out.Taps) > 0 && off[out.Taps[0].Gate] {
			out.Taps = nil
		}
		return out
	}
}

// waking asks to be called after so long, whatever happens.
func waking(after time.Duration) func(*box, drivertest.BoxConfig) {
	return func(b *box, _ drivertest.BoxConfig) {
		b.step = func(now time.Time, in []byte) drivers.Output {
			out := b.inner.Step(now, in)
			out.Wake = soonest(out.Wake, now.Add(after))
			return out
		}
	}
}

func reusesItsBuffer(b *box, _ drivertest.BoxConfig) {
	var buf []byte
	b.step = func(now time.Time, in []byte) drivers.Output {
		out := b.inner.Step(now, in)
		buf = append(buf[:0], out.Send...)
		out.Send = buf
		return out
	}
	b.answer = func(now time.Time, tap gateway.Tap, a gateway.Answer) {
		if len(buf) > 0 {
			buf[0]++
		}
		b.inner.Answer(now, tap, a)
	}
}

func sendsWithoutBound(b *box, _ drivertest.BoxConfig) {
	b.step = func(now time.Time, in []byte) drivers.Output {
		out := b.inner.Step(now, in)
		if len(in) > 4096 {
			out.Send = make([]byte, 10*len(in))
		}
		return out
	}
}

func asksEveryCopy(b *box, _ drivertest.BoxConfig) {
	b.step = func(now time.Time, in []byte) drivers.Output {
		out := b.inner.Step(now, in)
		if len(in) > 4096 && len(out.Taps) > 0 {
			out.Taps = append(out.Taps, out.Taps[0])
		}
		return out
	}
}

func hoards(b *box, _ drivertest.BoxConfig) {
	var all []byte
	b.step = func(now time.Time, in []byte) drivers.Output {
		all = append(all, in...)
		return b.inner.Step(now, in)
	}
}

// steadyGate is a gate whose lane never changes, box or no box.
type steadyGate struct{ drivertest.Gate }

func (steadyGate) Lane(time.Time) gateway.Lane { return gateway.LaneAuto }
