package osdp

import (
	"time"

	"gateline/drivers"
	"gateline/gateway"
)

// State is how far the CP is with a reader.
type State uint8

const (
	// StateProbe: nobody has answered; ID is asked for.
	StateProbe State = 0
	// StateIdentified: the reader has said who it is; CAP is asked for.
	StateIdentified State = 1
	// StateChallenge: a session is being made.
	StateChallenge State = 2
	// StateConfirm: the reader has proved its key; ours is being proved.
	StateConfirm State = 3
	// StateOnline: it is polled.
	StateOnline State = 4
)

// String is for an operator's eyes.
func (s State) String() string {
	return [...]string{"probe", "identified", "challenge", "confirm", "online"}[min(s, StateOnline)]
}

const (
	// busyPause is when a command that met BUSY is sent again.
	busyPause = 60 * time.Millisecond
	// setupTries in a row may fail before the next waits setupPause, so that a
	// reader with a wrong key does not take the line's time.
	setupTries = 3
	setupPause = 5 * time.Second
	// sessionLife is after how long a session gets new keys. Each address adds a
	// little, so that the readers of a line do not come all at once.
	sessionLife   = 24 * time.Hour
	sessionSpread = time.Minute
	// sumEvery is after how many questions without an answer a reader is tried
	// with the other check.
	sumEvery = 4
	// answerLife is for how long an answer may be given, whatever its TTL: on a
	// line that works it takes some tens of milliseconds, and later there may be
	// somebody else in front of the gate.
	answerLife = time.Second
)

// maxStatuses is how many reports that are of no read may stand before one that is
// old: a reader that never comes to an end with them has to serve all the same.
const maxStatuses = 32

// outcome is what a reply means to the line.
type outcome uint8

const (
	outcomeNone  outcome = iota // no reply to what was asked
	outcomeGood                 // a good reply, nothing to say
	outcomeEvent                // a good reply, and the reader had something to say
	outcomeBusy                 // the same frame is to be sent again after busyPause
)

// link is the CP's view of one reader: a state machine that makes the next
// command and takes its reply.
type link struct {
	address byte
	key     *Key // nil = spoken to in clear
	random  func() [8]byte
	gate    *drivers.Gate

	state State
	sum   bool      // commands carry the checksum, not the CRC
	sqn   byte      // of the command that is out, or of the last one
	fresh bool      // the next command starts over at 0
	out   []byte    // the command that is out, as sent; a retry is these bytes
	code  byte      // its code
	order bool      // it is orders[0]
	more  bool      // an order follows in the same turn
	wait  bool      // it has not been answered yet
	since time.Time // it was first sent

	missed int // answers in a row that did not come

	handshake *CPHandshake
	scrypt    Frame
	channel   *Channel
	opened    time.Time // the session
	failures  int       // attempts in a row to get it into service
	notBefore time.Time // of the next attempt, or of a retry after BUSY

	id   PDID
	caps Capabilities
	show display

	orders []pendingCommand
	urgent bool      // an answer waits whose first order has not been obeyed yet
	ahead  int       // orders before it that were out already when it came
	until  time.Time // that answer is not given any more afterwards
	same   time.Time // until then the same read again gets the same answer

	served time.Time // its last good reply in service
	// draining: what it reads now may be from before it was heard again.
	draining bool
	statuses int // reports since an ACK that were of no read
	// known: it has said whether its case is open and its power is well.
	known bool
	// The last tap and its answer: a reader that is started over reports a read
	// again that it does not know to have arrived.
	lastTap    gateway.Tap
	lastAnswer gateway.Answer
	resynced   bool // it has been started over since

	frame Frame // scratch
	read  Read
}

func newLink(d *Device, gate *drivers.Gate, lampFor, sooner time.Duration, random func() [8]byte) *link {
	l := &link{address: d.Address, key: d.Key, gate: gate, random: random, orders: make([]pendingCommand, 0, maxOrders)}
	l.show = display{signals: &d.Signals, caps: &l.caps, lampFor: lampFor, sooner: sooner}
	l.restart()
	return l
}

// restart forgets the session and everything the reader was told: the next
// command is ID with SQN 0. Orders that wait are dropped; they are for a rider
// who is gone.
func (l *link) restart() {
	l.resync()
	l.state = StateProbe
	l.orders, l.urgent, l.ahead = l.orders[:0], false, 0
	l.caps = DefaultCapabilities()
}

// unheard notes that the reader did not answer. One in clear may know nothing but
// the checksum, so it is looked for with both (in Secure Channel there is a CRC).
func (l *link) unheard() {
	l.missed++
	if l.state == StateProbe && l.key == nil && l.missed%sumEvery == 0 {
		l.restart()
		l.sum = !l.sum
	}
}

// again makes a new session with a reader that is known.
func (l *link) again() {
	if l.key == nil || l.state < StateChallenge {
		l.restart()
		return
	}
	l.resync()
	l.state = StateChallenge
}

func (l *link) resync() {
	l.fresh, l.wait, l.more, l.resynced = true, false, false, true
	l.handshake, l.channel = nil, nil
	l.known = false
	l.show.forget()
}

// failed notes an attempt to get the reader into service that came to nothing.
func (l *link) failed(now time.Time) {
	l.again()
	if l.failures++; l.failures > 1 { // one is a reader that was switched off and on
		l.gate.SetTrouble(drivers.TroubleKey, true)
	}
	if l.failures >= setupTries {
		l.notBefore = now.Add(setupPause)
	}
}

// gateState is the state in the words of everybody else.
func (l *link) gateState() drivers.GateState {
	switch {
	case l.failures > 1:
		return drivers.GateRefused
	case l.state == StateOnline:
		return drivers.GateServing
	}
	return drivers.GateStarting
}

// ready reports whether the link may be given the line now, and if not, when.
func (l *link) ready(now time.Time) (bool, time.Time) { return !now.Before(l.notBefore), l.notBefore }

// leave orders what the reader is to show once the box is gone.
func (l *link) leave() {
	l.show.leaving = true
	if !l.wait || !l.order {
		l.orders = l.orders[:0]
	}
}

// left reports whether a reader has nothing to be told any more after leave.
func (l *link) left(now time.Time) bool {
	return l.state != StateOnline || !l.wait && len(l.orders) == 0 && len(l.show.next(nil, now, false)) == 0
}

// next returns the bytes to send. They stay valid until the reply.
func (l *link) next(now time.Time) []byte {
	switch {
	case l.wait && l.order && l.orders[0].kind.ofAnswer() && !now.Before(l.until):
		// The reader may have been deaf since: it must not open its gate to
		// somebody else (GATE-07). Only a new start takes the frame back.
		l.again()
	case l.wait:
		return l.out
	case l.channel != nil && len(l.orders) == 0 && now.Sub(l.opened) >= sessionLife+time.Duration(l.address)*sessionSpread:
		l.again()
	}
	l.expire(now)
	f := &l.frame
	*f = Frame{Address: l.address, CRC: !l.sum}
	l.advance()
	f.SQN, l.order = l.sqn, false
	switch l.state {
	case StateProbe:
		f.Code, f.Data = CmdID, AppendRequest(nil)
	case StateIdentified:
		f.Code, f.Data = CmdCAP, AppendRequest(nil)
	case StateChallenge:
		l.handshake = NewCPHandshake(*l.key, l.random())
		l.handshake.Challenge(f)
	case StateConfirm:
		f.Block, f.BlockData, f.Code, f.Data = l.scrypt.Block, l.scrypt.BlockData, l.scrypt.Code, l.scrypt.Data
	default:
		l.command(now, f)
	}
	l.out, l.code, l.wait, l.since = AppendFrame(l.out[:0], f), f.Code, true, now
	return l.out
}

// advance sets the SQN of a new command: 0 at a start, then 1, 2, 3, 1 …
func (l *link) advance() {
	if l.fresh {
		l.sqn, l.fresh = 0, false
		return
	}
	l.sqn = NextSQN(l.sqn)
}

// command makes f a POLL or, where a rider waits for it or after a POLL, the
// first order: what a reader has to say comes before what it is told.
func (l *link) command(now time.Time, f *Frame) {
	if l.show.leaving && len(l.orders) == 0 {
		l.orders = l.show.next(l.orders, now, false)
	}
	f.Code = CmdPOLL
	if len(l.orders) > 0 && (l.urgent || l.more || l.show.leaving) {
		l.order = true
		f.Code, f.Data = l.orders[0].code, l.orders[0].data[:l.orders[0].n]
	}
	l.more = false
	if l.channel != nil {
		l.channel.SealCommand(f)
	}
}

// goesOn reports whether an order follows the POLL that was just answered: one
// in a turn, so that nobody else waits much longer. room says that the line has
// time for what could wait.
func (l *link) goesOn(now time.Time, room bool) bool {
	if l.state != StateOnline || l.code != CmdPOLL || l.draining {
		return false // first the reader has its say
	}
	switch l.expire(now); {
	case len(l.orders) > 0:
	case !l.known:
		l.orders = append(l.orders, pendingCommand{kind: orderStatus, code: CmdLSTAT})
	default:
		l.orders = l.show.next(l.orders, now, room)
	}
	l.more = len(l.orders) > 0
	return l.more
}

// expire drops what is left of an answer that nobody may act on any more.
func (l *link) expire(now time.Time) {
	if len(l.orders) > 0 && l.orders[0].kind.ofAnswer() && !now.Before(l.until) {
		l.orders, l.urgent, l.ahead = l.orders[:0], false, 0
	}
}

// answer orders what tells the reader an answer, before anything else. Until end
// the same read again gets it again.
func (l *link) answer(now time.Time, tap gateway.Tap, a gateway.Answer, end time.Time) {
	if l.state != StateOnline {
		return
	}
	l.lastTap, l.lastAnswer, l.resynced = tap, a, false
	l.until, l.same = now.Add(min(end.Sub(now), answerLife)), end
	// An order that is out already stays where it is: its reply belongs to it.
	keep := 0
	if l.wait && l.order {
		keep = 1
	}
	l.orders = l.show.answerOrders(l.orders[:keep], tap.Purpose, a)
	l.urgent, l.ahead = len(l.orders) > keep, keep
}

// repeats reports whether a read is the last one once more: the reader does not
// know that it has arrived (IMP-24).
func (l *link) repeats(now time.Time, c gateway.Credential) bool {
	return l.resynced && c.Readable() && c == l.lastTap.Credential && now.Before(l.same)
}
