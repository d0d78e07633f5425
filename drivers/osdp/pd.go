package osdp

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// Silence is how long the other end may say nothing before it counts as
	// gone, and with it the session.
	Silence = 8 * time.Second
	// ReplyTime is how long a PD may take for its reply.
	ReplyTime = 200 * time.Millisecond

	defaultBaud = 9600
)

// PDConfig describes a PD.
type PDConfig struct {
	Address byte
	Baud    uint32 // 0 = 9600
	// Key is the PD's own key; nil = install mode: the default key opens a
	// session until KEYSET has set another.
	Key           *Key
	RequireSecure bool // nothing but ID, CAP and the handshake in clear
	ID            PDID
	// Capabilities is what PDCAP says and what the PD does; a buffer size of 0
	// stands for MinRxBuffer.
	Capabilities Capabilities
	// Rand gives RND.B; nil = crypto/rand.
	Rand io.Reader
	// Maker answers MFG: data of an MFGREP, or none for an ACK; ok = false is a
	// NAK. Nil = every MFG is a NAK.
	Maker  func(Mfg) (reply []byte, ok bool)
	Quirks Quirks
}

// Quirks are habits in which PDs in the field differ.
type Quirks struct {
	AlwaysCRC       bool // replies with CRC to a command with a checksum
	SequenceNAKHeld bool // a NAKSequence counts as the reply to the SQN it carries
	StatusInClear   bool // in a session LSTAT, ISTAT, OSTAT and RSTAT are answered in clear under block 15
	KeepOnKeySet    bool // the session goes on after KEYSET
	KeySetClearACK  bool // the ACK to KEYSET is in clear
	BusyOwnSQN      bool // BUSY with the command's SQN instead of 0
	Finish12        bool // RMAC_I under block type 12
	ClearNAK        bool // NAK in clear within a session
	OutStatus       bool // OUT is answered with OSTATR
	SumOnly         bool // a frame with CRC is noise to it
	PowerReport     bool // LSTATR with power trouble at the first POLL after power-up
}

// LibOSDP returns the habits of libosdp 3.2.0's PD.
func LibOSDP() Quirks {
	return Quirks{AlwaysCRC: true, SequenceNAKHeld: true, StatusInClear: true}
}

// PD is a reader's end of a line for the simulator and the tests: it does no
// I/O, reads no clock and answers at once, so that turnaround is the caller's
// to add. Not safe for concurrent use.
type PD struct {
	cfg     PDConfig
	address byte
	baud    uint32
	key     Key
	keyed   bool

	scan      Scanner
	lastIn    time.Time // when bytes came last
	lastHeard time.Time // when a frame for this PD came last

	// The last command, and its reply without mark: what a repeat gets.
	started bool // there is one since power-up
	sqn     byte
	command []byte
	made    []byte // backs reply
	reply   []byte
	nakHeld bool // the reply goes to whatever comes with sqn

	hand    *PDHandshake
	channel *Channel
	busy    int

	events  events
	status  LocalStatus
	inputs  []byte
	outputs []output
	shown   []Show

	data []byte // of the reply being made
	outs []Out
	leds []LED
	buzz []Buz
	send []byte
}

// NewPD returns a PD that has just been switched on.
func NewPD(cfg PDConfig) *PD {
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Baud == 0 {
		cfg.Baud = defaultBaud
	}
	if cfg.Capabilities.RxBuffer == 0 {
		cfg.Capabilities.RxBuffer = MinRxBuffer
	}
	p := &PD{
		cfg: cfg, address: cfg.Address, baud: cfg.Baud,
		inputs:  make([]byte, cfg.Capabilities.Inputs),
		outputs: make([]output, cfg.Capabilities.Outputs),
	}
	// On a busy line there is no pause to end a damaged frame, only what its
	// length can be at most. So a frame above the buffer is noise here; a PD
	// that answers it with NAKLength has to hear it to its end.
	p.scan.Max = cfg.Capabilities.RxBuffer
	if cfg.Key != nil {
		p.key, p.keyed = *cfg.Key, true
	}
	p.PowerCycle(time.Time{})
	return p
}

// Format hides the PD's keys and what it holds, whatever the verb.
func (p PD) Format(f fmt.State, _ rune) { _, _ = fmt.Fprintf(f, "PD %d", p.address) }

// Address is the PD's address; COMSET changes it.
func (p *PD) Address() byte { return p.address }

// Baud is the PD's speed; COMSET changes it. After each Step the caller sees
// here whether it must speak to the PD at another one.
func (p *PD) Baud() uint32 { return p.baud }

// InSession reports whether a Secure Channel stands.
func (p *PD) InSession() bool { return p.channel != nil }

// Installed returns the PD's own key; ok is false in install mode.
func (p *PD) Installed() (key Key, ok bool) { return p.key, p.keyed }

// Busy answers the next n new commands with BUSY.
func (p *PD) Busy(n int) { p.busy = n }

// PowerCycle switches the PD off and on. Address, speed and key stay; what was
// waiting is lost, and outputs fall off.
func (p *PD) PowerCycle(now time.Time) {
	p.scan.Reset()
	p.endSession()
	p.started, p.nakHeld, p.busy = false, false, 0
	p.events = events{}
	clear(p.outputs)
	if p.cfg.Quirks.PowerReport {
		p.Report(now, ReplyLSTATR, AppendLocalStatus(nil, LocalStatus{Tamper: p.status.Tamper, Power: true}))
	}
}

func (p *PD) endSession() { p.hand, p.channel = nil, nil }

// Step takes what the PD heard on the line since the last call and returns
// what it answers, valid until the next call; empty = nothing. A command that
// stood behind noise is found by a call without bytes once the line has been
// idle for InterByte.
func (p *PD) Step(now time.Time, in []byte) (send []byte) {
	p.send = p.send[:0]
	if p.started && now.Sub(p.lastHeard) >= Silence {
		p.endSession()
	}
	if idle := now.Sub(p.lastIn); p.scan.Pending() && idle >= InterByte {
		if len(in) > 0 || idle >= ReplyTime {
			p.scan.Reset() // an answer would come too late
		} else {
			p.scan.Gap()
		}
	}
	if len(in) > 0 {
		p.lastIn = now
	}
	for {
		raw, rest, _ := p.scan.Next(in)
		if raw == nil {
			return p.send
		}
		in = rest
		p.receive(now, raw)
	}
}

// receive handles a frame whose check is right.
func (p *PD) receive(now time.Time, raw []byte) {
	f, err := ParseFrame(raw)
	if f.Reply || f.Address != p.address && f.Address != ConfigAddress || f.CRC && p.cfg.Quirks.SumOnly {
		return
	}
	p.lastHeard = now
	r := Frame{Address: f.Address, Reply: true, SQN: f.SQN, CRC: f.CRC || p.cfg.Quirks.AlwaysCRC}
	switch p.judge(&f, raw) {
	case orderRepeat:
		p.transmit(p.reply)
		return
	case orderWrong:
		p.refuseSequence(&r)
		return
	}
	if p.busy > 0 {
		p.busy--
		if !p.cfg.Quirks.BusyOwnSQN {
			r.SQN = 0
		}
		r.Code = ReplyBUSY
		p.transmit(AppendFrame(nil, &r)[1:])
		return
	}
	if f.SQN == 0 {
		p.endSession()
		p.events.release()
	} else {
		p.events.acknowledge()
	}
	p.started, p.sqn, p.nakHeld = true, f.SQN, false
	p.command = append(p.command[:0], raw...)
	after := p.answer(now, &f, &r, raw, err)
	p.made = AppendFrame(p.made[:0], &r)
	p.reply = p.made[1:]
	p.transmit(p.reply)
	if after != nil {
		after()
	}
}

// order is what a command's sequence number makes of it.
type order int

const (
	orderNew order = iota
	orderRepeat
	orderWrong
)

func (p *PD) judge(f *Frame, raw []byte) order {
	switch {
	case f.SQN == 0:
		return orderNew
	case !p.started:
		return orderWrong
	case f.SQN == p.sqn && (p.nakHeld || bytes.Equal(raw, p.command)):
		return orderRepeat
	case f.SQN == NextSQN(p.sqn):
		return orderNew
	}
	return orderWrong
}

// refuseSequence answers a wrong SQN, with the one that was expected.
func (p *PD) refuseSequence(r *Frame) {
	r.SQN = 0
	if p.started {
		r.SQN = NextSQN(p.sqn)
	}
	p.refuse(r, NAKSequence)
	raw := AppendFrame(nil, r)[1:]
	if p.started && p.cfg.Quirks.SequenceNAKHeld {
		p.sqn, p.nakHeld = r.SQN, true
		p.reply = raw
	}
	p.transmit(raw)
}

// transmit sends a frame, with a mark before it exactly where the command had
// one.
func (p *PD) transmit(raw []byte) {
	if p.scan.Marked() {
		p.send = append(p.send, markByte)
	}
	p.send = append(p.send, raw...)
}

// refuse makes r a NAK in clear.
func (p *PD) refuse(r *Frame, code NAKCode) {
	p.data = AppendNAK(p.data[:0], &NAK{Code: code})
	r.Code, r.Data, r.Block, r.BlockData = ReplyNAK, p.data, 0, nil
}

// refuseFor makes r the NAK for an error of a payload.
func (p *PD) refuseFor(r *Frame, err error) {
	if errors.Is(err, ErrRecord) {
		p.refuse(r, NAKRecord)
		return
	}
	p.refuse(r, NAKLength)
}
