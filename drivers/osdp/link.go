package osdp

import (
	"time"

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
	// maxOrders is how many commands may wait for one reader: those of two
	// answers and the lane. An answer that comes to more replaces the older one.
	maxOrders = 12
	// busyPause is when a command that met BUSY is sent again.
	busyPause = 60 * time.Millisecond
	// handshakeTries in a row may fail before the next waits handshakePause, so
	// that a reader with a wrong key does not take the line's time.
	handshakeTries = 3
	handshakePause = 5 * time.Second
)

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
	signals *Signals
	random  func() [8]byte

	state State
	sqn   byte   // of the command that is out, or of the last one
	fresh bool   // the next command starts over at 0
	out   []byte // the command that is out, as sent; a retry is these bytes
	code  byte   // its code
	wait  bool   // it has not been answered yet

	handshake *CPHandshake
	scrypt    Frame
	channel   *Channel
	failures  int       // handshakes in a row
	notBefore time.Time // of the next handshake, or of a retry after BUSY

	id   PDID
	caps Capabilities

	orders  []pendingCommand
	urgent  bool // an answer is among the orders
	lane    gateway.Lane
	shown   gateway.Lane
	showing bool      // shown is what the reader was told
	restore time.Time // when to switch off or show again what the reader cannot time itself; zero = nothing
	release bool      // the output is to be switched off then

	frame Frame // scratch
}

func newLink(address byte, key *Key, signals *Signals, random func() [8]byte) *link {
	l := &link{address: address, key: key, signals: signals, random: random}
	l.restart()
	return l
}

// restart forgets the session and everything the reader was told: the next
// command is ID with SQN 0. Orders that wait are dropped; they are for a rider
// who is gone.
func (l *link) restart() {
	l.state, l.fresh, l.wait = StateProbe, true, false
	l.handshake, l.channel = nil, nil
	l.orders, l.urgent, l.showing = l.orders[:0], false, false
	l.restore, l.release = time.Time{}, false
	l.caps = DefaultCapabilities()
}

// again makes a new session with a reader that is known.
func (l *link) again() {
	if l.key == nil || l.state < StateChallenge {
		l.restart()
		return
	}
	l.state, l.fresh, l.wait = StateChallenge, true, false
	l.handshake, l.channel = nil, nil
}

// failed notes a handshake that came to nothing.
func (l *link) failed(now time.Time) {
	l.again()
	if l.failures++; l.failures >= handshakeTries {
		l.notBefore = now.Add(handshakePause)
	}
}

// ready reports whether the link may be given the line now, and if not, when.
func (l *link) ready(now time.Time) (bool, time.Time) { return !now.Before(l.notBefore), l.notBefore }

// next returns the bytes to send. They stay valid until the reply.
func (l *link) next(now time.Time) []byte {
	if l.wait {
		return l.out
	}
	f := &l.frame
	*f = Frame{Address: l.address, CRC: true}
	l.advance()
	f.SQN = l.sqn
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
	l.out, l.code, l.wait = AppendFrame(l.out[:0], f), f.Code, true
	return l.out
}

// advance sets the SQN of a new command: 0 at a start, then 1, 2, 3, 1 …
func (l *link) advance() {
	switch {
	case l.fresh:
		l.sqn, l.fresh = 0, false
	default:
		l.sqn = l.sqn%3 + 1
	}
}

// command makes f the first order that waits, or a POLL.
func (l *link) command(now time.Time, f *Frame) {
	l.upkeep(now)
	f.Code = CmdPOLL
	if len(l.orders) > 0 {
		f.Code, f.Data = l.orders[0].code, l.orders[0].data[:l.orders[0].n]
	}
	if l.channel != nil {
		l.channel.SealCommand(f)
	}
}

// upkeep orders what is due without a tap: the lane's state, and the end of
// what the reader cannot end itself.
func (l *link) upkeep(now time.Time) {
	if !l.restore.IsZero() && !now.Before(l.restore) {
		if l.release {
			var b [maxOrder]byte
			l.orders = append(l.orders, pendingCommand{})
			l.orders[len(l.orders)-1].set(CmdOUT, AppendOut(b[:0], Out{Control: OutOff}))
		}
		l.restore, l.release, l.showing = time.Time{}, false, false
	}
	if len(l.orders) == 0 && (!l.showing || l.shown != l.lane) {
		l.orders = l.signals.laneOrders(l.orders, &l.caps, l.lane)
		l.shown, l.showing = l.lane, true
	}
}

// answer orders what tells the reader an answer, before anything else.
func (l *link) answer(now time.Time, purpose gateway.Purpose, a gateway.Answer) {
	if l.state != StateOnline {
		return
	}
	var room [maxOrders]pendingCommand
	orders := l.signals.answerOrders(room[:0], &l.caps, purpose, a)
	// An order that is out already stays where it is: its reply belongs to it.
	keep := 0
	if l.wait && len(l.orders) > 0 && l.code == l.orders[0].code {
		keep = 1
	}
	l.orders = append(l.orders[:keep], orders...)
	l.urgent = len(orders) > 0
	if !l.caps.TimedOutput() && a.Open || !l.caps.TimedLED() {
		l.restore, l.release = now.Add(max(l.signals.Pass.Pulse, l.signals.For)), !l.caps.TimedOutput() && a.Open && l.caps.Outputs > 0
	}
}

// take handles a frame from the reader's address. raw is the whole frame.
func (l *link) take(now time.Time, f *Frame, raw []byte) (out outcome, read *Read) {
	if !l.wait {
		return outcomeNone, nil
	}
	if f.Code == ReplyBUSY && f.Block == 0 {
		l.notBefore = now.Add(busyPause)
		return outcomeBusy, nil
	}
	if f.SQN != l.sqn {
		if f.SQN == 0 { // the reader has restarted
			l.again()
			return outcomeGood, nil
		}
		return outcomeNone, nil // a late answer to something older
	}
	if l.channel != nil {
		if f.Block == 0 {
			return l.inClear(f), nil
		}
		if err := l.channel.OpenReply(f, raw); err != nil {
			l.again()
			return outcomeGood, nil
		}
	}
	l.wait = false
	return l.reply(now, f)
}

// inClear handles a reply outside the session: only a refusal is legal, and the
// end of the session where it says so.
func (l *link) inClear(f *Frame) outcome {
	if f.Code == ReplyNAK {
		if n, err := ParseNAK(f.Data); err == nil && n.Code != NAKBlock && n.Code != NAKSecurity && n.Code != NAKSequence {
			l.wait = false
			l.done()
			return outcomeGood
		}
	}
	l.again()
	return outcomeGood
}

// reply handles the good reply to the command that was out.
func (l *link) reply(now time.Time, f *Frame) (outcome, *Read) {
	if f.Code == ReplyNAK {
		l.refused(now, f)
		return outcomeGood, nil
	}
	switch l.state {
	case StateProbe:
		if id, err := ParsePDID(f.Data); f.Code == ReplyPDID && err == nil {
			l.id, l.state = id, StateIdentified
		} else {
			l.restart()
		}
	case StateIdentified:
		if c, err := ParsePDCAP(f.Data); f.Code == ReplyPDCAP && err == nil {
			l.caps = c
		}
		l.state = StateOnline
		if l.key != nil {
			l.state, l.fresh = StateChallenge, true
		}
	case StateChallenge:
		if l.handshake.Accept(f, &l.scrypt) != nil {
			l.failed(now)
		} else {
			l.state = StateConfirm
		}
	case StateConfirm:
		channel, err := l.handshake.Finish(f)
		if err != nil {
			l.failed(now)
			break
		}
		l.channel, l.state, l.failures = channel, StateOnline, 0
	case StateOnline:
		if l.code != CmdPOLL {
			l.done()
			return outcomeGood, nil
		}
		return l.report(f)
	}
	return outcomeGood, nil
}

// refused handles a NAK to the command that was out.
func (l *link) refused(now time.Time, f *Frame) {
	n, err := ParseNAK(f.Data)
	switch {
	case err == nil && n.Code == NAKSequence:
		l.again()
	case l.state == StateChallenge || l.state == StateConfirm:
		l.failed(now)
	case err == nil && (n.Code == NAKSecurity || n.Code == NAKBlock):
		// Without a key of ours there is nothing to be made of it: it stays
		// where it is and is asked again.
		l.again()
	case l.state == StateProbe:
		l.restart()
	case l.state == StateIdentified:
		l.state = StateOnline // it has no PDCAP: the least is assumed
		if l.key != nil {
			l.state, l.fresh = StateChallenge, true
		}
	default:
		l.done() // an order it cannot do is not asked for again
	}
}

// done drops the order that was out.
func (l *link) done() {
	if len(l.orders) > 0 && l.code == l.orders[0].code {
		l.orders = append(l.orders[:0], l.orders[1:]...)
	}
	// Only what the rider waits for is urgent: the gate, else the first sign.
	l.urgent = false
}

// report handles the reply to a POLL.
func (l *link) report(f *Frame) (outcome, *Read) {
	switch f.Code {
	case ReplyACK:
		return outcomeGood, nil
	case ReplyRAW:
		if r, err := ParseRead(f.Data); err == nil {
			return outcomeEvent, &r
		}
		return outcomeEvent, &Read{} // something was presented, nobody knows what (R25)
	case ReplyFMT:
		if r, err := ParseFormatted(f.Data); err == nil && !r.Backward {
			return outcomeEvent, &Read{Bits: 8 * len(r.Characters), Data: r.Characters}
		}
		return outcomeEvent, &Read{}
	}
	return outcomeGood, nil
}
