package simulator

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"time"

	"gateline/drivers/osdp"
)

// medium is a pair of wires, the readers on it and what is wrong with either,
// in the time that its caller gives it: it reads no clock and does no I/O. What
// one sends all others hear, byte by byte; what two send at once nobody
// understands. Not safe for concurrent use.
type medium struct {
	units []*unit
	air   *noise
	echo  bool
	r     *rand.Rand // what collisions and babblers make

	baud     int       // at which the box speaks
	talks    []*talk   // under way, to come, and over as long as others may have met them
	idle     time.Time // when the readers notice that nobody speaks; zero = they have
	switches []powerSwitch
	open     bool        // the box has asked and nobody has answered
	asked    [256][]byte // the last question, by its address byte
	counts   LineCounts
	back     returns
	toBox    []byte // what the box's port has received since the last step
}

// LineCounts is what happened on the lines of readers of a run.
type LineCounts struct {
	// Questions the box asked; Retries of them were the same bytes again, and
	// of Unanswered no reader had begun to answer when the box asked on.
	Questions  uint64 `json:"questions"`
	Retries    uint64 `json:"retries"`
	Unanswered uint64 `json:"unanswered"`
	// Damaged is what noise damaged of all that was sent, Collided what met
	// something else on the wires, Babbled what was said unasked.
	Damaged  uint64 `json:"damaged"`
	Collided uint64 `json:"collided"`
	Babbled  uint64 `json:"babbled"`
}

func (c *LineCounts) add(o LineCounts) {
	c.Questions += o.Questions
	c.Retries += o.Retries
	c.Unanswered += o.Unanswered
	c.Damaged += o.Damaged
	c.Collided += o.Collided
	c.Babbled += o.Babbled
}

// returns is how readers came back that were switched on again: from power to
// their first answer, and from that to the POLL from which on they serve.
type returns struct{ found, back []time.Duration }

// talk is what one party sends, from an instant on without a pause.
type talk struct {
	from   int // index of the unit, or box
	begin  time.Time
	char   time.Duration
	bytes  []byte
	passed int    // bytes that have gone over the wires
	heard  []byte // as the others hear them
	given  int    // of heard, what they have heard
	over   bool
	alien  bool // at another speed than the box's
	met    bool // something else was on the wires
	hurt   bool // by noise
}

const (
	box = -1
	// maxTalk bounds what the box may have on its way, bytes; more is dropped,
	// as it is by a port.
	maxTalk = 4096
	// maxAnswers is how many answers a slow reader may have to give.
	maxAnswers = 2
	// leastPause is how long the wires are idle before a reader speaks, in
	// characters.
	leastPause = 2
)

func (t *talk) at(n int) time.Time { return t.begin.Add(time.Duration(n) * t.char) }
func (t *talk) end() time.Time     { return t.at(len(t.bytes)) }

// say puts bytes of the box on the wires at an instant, which is not before
// that of the last step, or behind what it is still sending then.
func (m *medium) say(at time.Time, in []byte) {
	m.happen(at)
	for _, t := range m.talks {
		if t.from == box && !t.over {
			t.bytes = append(t.bytes, in[:min(len(in), maxTalk-len(t.bytes))]...)
			return
		}
	}
	if m.open {
		m.counts.Unanswered++
	}
	m.open = true
	m.counts.Questions++
	m.talks = append(m.talks, &talk{from: box, begin: at, char: byteTime(m.baud), bytes: bytes.Clone(in)})
}

// event is what happens next on the wires.
type event struct {
	kind  eventKind
	at    time.Time
	index int
}

type eventKind uint8

const (
	eventNone eventKind = iota
	eventPower
	eventBytes
	eventBabble
	eventIdle
)

// step lets everything happen up to now. It returns what the box's port has
// received meanwhile, valid until the next call, and when the next thing will
// happen; zero = nothing will by itself.
func (m *medium) step(now time.Time) (toBox []byte, wake time.Time) {
	wake = m.happen(now)
	toBox = m.toBox
	m.toBox = m.toBox[:0]
	return toBox, wake
}

// happen lets everything happen up to now and returns when the next thing will.
func (m *medium) happen(now time.Time) (wake time.Time) {
	for {
		e := m.next()
		if e.kind == eventNone || e.at.After(now) {
			m.prune()
			return e.at
		}
		switch e.kind {
		case eventPower:
			m.power(m.switches[0])
			m.switches = m.switches[1:]
		case eventBytes:
			m.pass(m.talks[e.index])
		case eventBabble:
			m.babble(e.index, e.at)
		case eventIdle:
			m.idle = time.Time{}
			if !m.busy(e.at) {
				for i := range m.units {
					m.hear(i, e.at, nil, nil)
				}
			}
		}
	}
}

// next returns the earliest event; of several at once, the first kind.
func (m *medium) next() (first event) {
	consider := func(kind eventKind, at time.Time, index int) {
		if first.kind == eventNone || at.Before(first.at) || at.Equal(first.at) && kind < first.kind {
			first = event{kind, at, index}
		}
	}
	if len(m.switches) > 0 {
		consider(eventPower, m.switches[0].at, 0)
	}
	for i, t := range m.talks {
		if !t.over {
			consider(eventBytes, t.at(m.upTo(t)), i)
		}
	}
	for i, u := range m.units {
		if !u.nextBabble.IsZero() {
			consider(eventBabble, u.nextBabble, i)
		}
	}
	if !m.idle.IsZero() {
		consider(eventIdle, m.idle, 0)
	}
	return first
}

// upTo is how many bytes of a talk will have passed when it is looked at next:
// to the box a UART hands them over fifo at a time; nobody waits for a part of a
// question.
func (m *medium) upTo(t *talk) int {
	if t.from == box && !m.echo {
		return len(t.bytes)
	}
	return min((t.passed/fifo+1)*fifo, len(t.bytes))
}

// pass brings a talk's next bytes over the wires and lets the others hear them.
func (m *medium) pass(t *talk) {
	for k := m.upTo(t); t.passed < k; {
		m.carry(t)
		if t.passed++; t.passed%fifo == 0 || t.passed == len(t.bytes) {
			m.give(t, t.at(t.passed))
		}
	}
	if t.from != box {
		m.open = false
	}
	if t.passed == len(t.bytes) {
		m.ended(t)
	}
}

// carry brings one byte over the wires. Where another is under way, what
// arrives is one byte that neither has sent.
func (m *medium) carry(t *talk) {
	b, wins, toBox := t.bytes[t.passed], true, t.from != box || m.echo
	from, to := t.at(t.passed), t.at(t.passed+1)
	for _, o := range m.talks {
		if o == t || !o.begin.Before(to) || !o.end().After(from) {
			continue
		}
		if !t.met {
			t.met = true
			m.counts.Collided++
		}
		wins = wins && (t.begin.Before(o.begin) || t.begin.Equal(o.begin) && t.from < o.from)
		// Who sends does not hear, but for an adapter with an echo.
		toBox = toBox && (o.from != box || m.echo)
		b ^= byte(1 + m.r.IntN(255))
	}
	if !wins {
		return
	}
	before := len(t.heard)
	var hurt bool
	if t.heard, hurt = m.air.pass(t.heard, b); hurt && !t.hurt {
		t.hurt = true
		m.counts.Damaged++
	}
	if toBox {
		m.receive(t, t.heard[before:])
	}
}

// receive hands bytes to the box's port; at the wrong speed they are others.
func (m *medium) receive(t *talk, heard []byte) {
	for _, b := range heard {
		if t.alien {
			b = byte(m.r.Uint32())
		}
		m.toBox = append(m.toBox, b)
	}
}

// ended notes that a talk is over.
func (m *medium) ended(t *talk) {
	t.over = true
	m.idle = t.end().Add(osdp.InterByte)
	if f, ok := frameOf(t.bytes); t.from == box && ok {
		if bytes.Equal(t.bytes, m.asked[f.Address]) {
			m.counts.Retries++
		}
		m.asked[f.Address] = append(m.asked[f.Address][:0], t.bytes...)
	}
}

// give lets all others hear what has come of a talk since the last time.
func (m *medium) give(t *talk, at time.Time) {
	part := t.heard[t.given:]
	if t.given = len(t.heard); len(part) == 0 || t.alien {
		return
	}
	for i := range m.units {
		if i != t.from {
			m.hear(i, at, part, t.heard)
		}
	}
}

// hear lets one reader hear a part of a talk, and plans its answer. A reader at
// another speed than the box's understands nothing.
func (m *medium) hear(i int, at time.Time, part, whole []byte) {
	u := m.units[i]
	if u.off || int(u.pd.Baud()) != m.baud {
		return
	}
	fresh := u.served.IsZero()
	reply := u.hear(at, part, whole)
	if fresh && !u.served.IsZero() && !u.powered.IsZero() {
		m.back.found = append(m.back.found, u.answered.Sub(u.powered))
		m.back.back = append(m.back.back, u.served.Sub(u.answered))
	}
	if len(reply) == 0 || u.fault.kind == faultMute {
		return
	}
	begin, waiting := at, 0
	for _, t := range m.talks {
		if t.from == i && !t.over {
			begin = latest(begin, t.end())
			waiting++
		}
	}
	if waiting < maxAnswers {
		char := byteTime(m.baud)
		begin = begin.Add(max(u.turnaround, leastPause*char))
		m.talks = append(m.talks, &talk{from: i, begin: begin, char: char, bytes: bytes.Clone(reply)})
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// babble lets a reader speak unasked, unless it speaks already: noise, or an
// answer to a question that was not put.
func (m *medium) babble(i int, at time.Time) {
	u := m.units[i]
	mean := u.fault.every
	u.nextBabble = at.Add(min(time.Duration(m.r.ExpFloat64()*float64(mean)), 10*mean) + time.Millisecond)
	if u.off || slices.ContainsFunc(m.talks, func(t *talk) bool { return t.from == i && !t.over }) {
		return
	}
	var b []byte
	switch m.r.IntN(3) {
	case 0:
		for range 1 + m.r.IntN(32) {
			b = append(b, byte(m.r.Uint32()))
		}
	case 1:
		b = osdp.AppendFrame(nil, &osdp.Frame{Address: u.pd.Address(), Reply: true, SQN: byte(m.r.IntN(4)), CRC: true, Code: osdp.ReplyACK})
	default:
		read := readOf(noCredential)
		b = osdp.AppendFrame(nil, &osdp.Frame{Address: u.pd.Address(), Reply: true, SQN: byte(m.r.IntN(4)), CRC: true, Code: osdp.ReplyRAW, Data: osdp.AppendRead(nil, &read)})
	}
	m.counts.Babbled++
	baud := int(u.pd.Baud())
	m.talks = append(m.talks, &talk{from: i, begin: at, char: byteTime(baud), bytes: b, alien: baud != m.baud})
}

// power switches a reader off, in the middle of a word if need be, or on.
func (m *medium) power(s powerSwitch) {
	u := m.units[s.reader]
	switch {
	case s.on && u.off:
		u.switchOn(s.at)
	case !s.on && !u.off:
		u.switchOff()
		for _, t := range m.talks {
			if t.from == s.reader && !t.over {
				t.bytes = t.bytes[:t.passed]
			}
		}
		m.talks = slices.DeleteFunc(m.talks, func(t *talk) bool { return len(t.bytes) == 0 })
	}
}

// busy reports whether somebody is speaking.
func (m *medium) busy(at time.Time) bool {
	return slices.ContainsFunc(m.talks, func(t *talk) bool { return !t.over && t.begin.Before(at) })
}

// prune forgets talks that nothing still to come can have met.
func (m *medium) prune() {
	var first time.Time // of what has not passed yet
	for _, t := range m.talks {
		if at := t.at(t.passed); !t.over && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	m.talks = slices.DeleteFunc(m.talks, func(t *talk) bool { return t.over && (first.IsZero() || !first.Before(t.end())) })
}
