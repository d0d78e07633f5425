package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"gateline/drivers/osdp"
)

// Bounds of a conversation.
const (
	// replyTries is how often a command is sent, the same bytes each time.
	replyTries = 3
	// busyPause is when a command that met BUSY is sent again, maxBusy how
	// often: 3 s in all.
	busyPause = 60 * time.Millisecond
	maxBusy   = 50
	// maxRestarts is how often a command is given anew to a reader that has lost
	// count or session.
	maxRestarts = 2
)

// SilentError says that a reader did not answer a command.
type SilentError struct {
	Address byte
	// Damaged: something answered that cannot be read.
	Damaged bool
}

// Error implements error.
func (e *SilentError) Error() string {
	if e.Damaged {
		return fmt.Sprintf("%s: %s; let one reader alone answer, and check wiring and termination", addressName(e.Address), DamagedText)
	}
	return fmt.Sprintf("%s does not answer; check its power, wiring, address and speed (gateline osdp scan)", addressName(e.Address))
}

// DamagedText is what an answer that cannot be read may come from.
const DamagedText = "something answers, damaged: two readers with this address, noise, or another speed"

// RefusalError says that a reader refused a command.
type RefusalError struct {
	Command byte
	Code    osdp.NAKCode
}

// Error implements error.
func (e *RefusalError) Error() string {
	return fmt.Sprintf("the reader refuses %s: %v (NAK %02X)", osdp.CommandName(e.Command), e.Code, byte(e.Code))
}

// lostError says that the reader has lost count or session.
type lostError struct{ cause error }

func (e *lostError) Error() string {
	return "the reader starts over again and again: " + e.cause.Error() + "; check its power"
}
func (e *lostError) Unwrap() error { return e.cause }

// keyError says that no session came about under a key.
type keyError struct {
	// refusal is the reader's reason; 0 = it proved another key, or would not
	// believe ours.
	refusal osdp.NAKCode
	// foreign: what it answered is no part of a handshake.
	foreign bool
}

func (e *keyError) Error() string {
	switch {
	case e.foreign:
		return "the reader answers the handshake with something else"
	case e.refusal != 0:
		return fmt.Sprintf("the reader refuses a session under this key: %v (NAK %02X)", e.refusal, byte(e.refusal))
	}
	return "the reader has another key"
}

func addressName(address byte) string {
	if address == osdp.ConfigAddress {
		return "the only reader (address 127)"
	}
	return fmt.Sprintf("reader %d", address)
}

// talk is a conversation with one reader.
type talk struct {
	bus     *Bus
	address byte
	wait    time.Duration // for the first byte of a reply
	tries   int

	begun   bool // the next command counts on, else it starts over at 0
	sqn     byte
	channel *osdp.Channel // nil = in clear
	key     osdp.Key      // of the channel
}

func newTalk(bus *Bus, address byte) *talk {
	return &talk{bus: bus, address: address, wait: osdp.ReplyTime, tries: replyTries}
}

// restart makes the next command one in clear with sequence number 0.
func (t *talk) restart() { t.begun, t.channel = false, nil }

// reply is an answer in clear.
type reply struct {
	code byte
	data []byte
	more int // bytes that came behind it
}

// ask gives one command, in the session where there is one, and returns the
// reply. A reader that has lost count or session is given it anew. The error
// is a *SilentError, a *RefusalError, a lineError, or says what else is wrong
// with the reader.
func (t *talk) ask(ctx context.Context, code byte, data []byte) (reply, error) {
	for round := 0; ; round++ {
		r, err := t.once(ctx, code, data)
		var lost *lostError
		if !errors.As(err, &lost) || round == maxRestarts {
			return r, err
		}
		if t.channel == nil {
			t.restart()
		} else if err := t.open(ctx, t.key); err != nil {
			return reply{}, fmt.Errorf("the session was lost (%w) and cannot be made again: %w", lost.cause, err)
		}
	}
}

// once is ask for a reader that loses nothing.
func (t *talk) once(ctx context.Context, code byte, data []byte) (reply, error) {
	f := osdp.Frame{Code: code, Data: append([]byte(nil), data...)}
	h, err := t.send(ctx, &f)
	if err != nil {
		return reply{}, err
	}
	r, sealed := &h.frame, h.frame.Block != 0
	if t.channel == nil && sealed {
		return reply{}, &lostError{errors.New("it answers in a session that is over")}
	}
	if sealed {
		if err := t.channel.OpenReply(r, h.raw); err != nil {
			return reply{}, &lostError{err}
		}
	}
	if r.Code == osdp.ReplyNAK {
		return reply{}, t.refusal(code, r)
	}
	// Some readers acknowledge a new key in clear; the handshake that follows
	// shows whether it was they.
	if t.channel != nil && !sealed && !(code == osdp.CmdKEYSET && r.Code == osdp.ReplyACK) {
		return reply{}, &lostError{errors.New("it answers outside the session")}
	}
	return reply{r.Code, r.Data, h.more}, nil
}

// refusal is the error for a NAK: a *RefusalError, as a loss where it means that
// the reader knows of no session.
func (t *talk) refusal(command byte, r *osdp.Frame) error {
	nak, err := osdp.ParseNAK(r.Data)
	if err != nil {
		nak.Code = osdp.NAKUnspecified
	}
	refused := &RefusalError{command, nak.Code}
	if t.channel != nil && r.Block == 0 && (nak.Code == osdp.NAKBlock || nak.Code == osdp.NAKSecurity) {
		return &lostError{refused}
	}
	return refused
}

// send numbers and seals a command, and sends the same bytes until the reader
// replies. The reply has the command's number and is not opened yet.
func (t *talk) send(ctx context.Context, f *osdp.Frame) (heard, error) {
	f.Address, f.CRC, f.SQN = t.address, true, 0
	if t.begun {
		f.SQN = osdp.NextSQN(t.sqn)
	}
	t.begun, t.sqn = true, f.SQN
	if t.channel != nil {
		t.channel.SealCommand(f)
	}
	raw := osdp.AppendFrame(nil, f)
	silent := &SilentError{Address: t.address}
	for try, busy := 0, 0; try < t.tries; {
		h, err := t.bus.exchange(ctx, raw, t.address, t.wait)
		switch {
		case err != nil:
			return h, err
		case !h.ok:
			silent.Damaged = silent.Damaged || h.damaged()
			try++
		case h.frame.Code == osdp.ReplyBUSY && h.frame.Block == 0:
			if busy++; busy > maxBusy {
				return h, fmt.Errorf("%s has been busy for %v; switch it off and on", addressName(t.address), maxBusy*busyPause)
			}
			if err := t.bus.calm(ctx, busyPause); err != nil {
				return h, err
			}
		case outOfSequence(&h.frame):
			return h, &lostError{&RefusalError{f.Code, osdp.NAKSequence}}
		case h.frame.SQN == t.sqn:
			return h, nil
		case h.frame.SQN == 0:
			return h, &lostError{errors.New("it has restarted")}
		default: // a late answer to something older
			try++
		}
	}
	return heard{}, silent
}

func outOfSequence(f *osdp.Frame) bool {
	return f.Code == osdp.ReplyNAK && f.Block == 0 && len(f.Data) > 0 && osdp.NAKCode(f.Data[0]) == osdp.NAKSequence
}

// open makes a session under key, from sequence number 0 on. The error is a
// *keyError, a *SilentError, a lineError, or says what else is wrong with the
// reader.
func (t *talk) open(ctx context.Context, key osdp.Key) error {
	for round := 0; ; round++ {
		err := t.handshake(ctx, key)
		var lost *lostError
		if !errors.As(err, &lost) || round == maxRestarts {
			return err
		}
	}
}

func (t *talk) handshake(ctx context.Context, key osdp.Key) error {
	t.restart()
	var a [8]byte
	if _, err := io.ReadFull(t.bus.cfg.Random, a[:]); err != nil {
		return lineError{fmt.Errorf("draw a challenge: %w", err)}
	}
	hand := osdp.NewCPHandshake(key, a)
	var f osdp.Frame
	hand.Challenge(&f)
	h, err := t.send(ctx, &f)
	if err != nil {
		return err
	}
	f = osdp.Frame{}
	if err := hand.Accept(&h.frame, &f); err != nil {
		return keyErrorOf(&h.frame, err)
	}
	if h, err = t.send(ctx, &f); err != nil {
		return err
	}
	channel, err := hand.Finish(&h.frame)
	if err != nil {
		return keyErrorOf(&h.frame, err)
	}
	t.channel, t.key = channel, key
	return nil
}

// keyErrorOf tells why a handshake came to nothing.
func keyErrorOf(r *osdp.Frame, err error) *keyError {
	switch {
	case r.Code == osdp.ReplyNAK && len(r.Data) > 0:
		return &keyError{refusal: osdp.NAKCode(r.Data[0])}
	case errors.Is(err, osdp.ErrCryptogram) || errors.Is(err, osdp.ErrRefused):
		return &keyError{}
	}
	return &keyError{foreign: true}
}

// identify asks the reader who it is, from sequence number 0 on.
func (t *talk) identify(ctx context.Context) (id osdp.PDID, r reply, err error) {
	t.restart()
	if r, err = t.ask(ctx, osdp.CmdID, osdp.AppendRequest(nil)); err != nil {
		return id, r, err
	}
	if r.code != osdp.ReplyPDID {
		return id, r, fmt.Errorf("%s answers the question who it is with %s; it is no OSDP reader that can be set up here", addressName(t.address), osdp.ReplyName(r.code))
	}
	if id, err = osdp.ParsePDID(r.data); err != nil {
		return id, r, fmt.Errorf("%s: %w; it is no OSDP reader that can be set up here", addressName(t.address), err)
	}
	return id, r, nil
}

// doubled listens on after a good answer and reports whether a second one
// follows: two readers with one address.
func (t *talk) doubled(ctx context.Context, r reply) (bool, error) {
	h, err := t.bus.listen(ctx, t.address, t.bus.cfg.Now().Add(chunkPause))
	return h.ok || len(h.others) > 0 || h.damaged() || r.more >= leastAnswer, err
}
