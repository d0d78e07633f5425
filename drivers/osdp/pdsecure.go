package osdp

import (
	"errors"
	"io"
	"time"
)

// answer makes r the reply to a new command and returns what is to be done
// once it is sent, if anything.
func (p *PD) answer(now time.Time, f, r *Frame, raw []byte, err error) (after func()) {
	switch {
	case errors.Is(err, ErrBlock):
		p.refuse(r, NAKBlock)
	case err != nil:
		p.refuse(r, NAKLength)
	case f.Block == 0:
		if !p.allowsClear(f.Code) {
			p.refuse(r, NAKSecurity)
			return nil
		}
		return p.obey(now, f, r)
	case f.Block == SCS11 && f.Code == CmdCHLNG:
		p.challenged(f, r)
	case f.Block == SCS13 && f.Code == CmdSCRYPT:
		p.confirm(f, r)
	case f.Block >= SCS15:
		return p.answerSecured(now, f, r, raw)
	default:
		p.refuse(r, NAKBlock)
	}
	return nil
}

// allowsClear reports whether a command may come outside a session.
func (p *PD) allowsClear(code byte) bool {
	switch code {
	case CmdID, CmdCAP:
		return true
	case CmdKEYSET:
		return false
	}
	return p.channel == nil && !p.cfg.RequireSecure
}

// challenged begins a handshake: under the default key only where the PD has
// none of its own, under its own only where it has one.
func (p *PD) challenged(f, r *Frame) {
	p.endSession()
	byDefault, key := DefaultAsked(f), p.key
	if byDefault == p.keyed {
		p.refuse(r, NAKSecurity)
		return
	}
	if byDefault {
		key = DefaultKey()
	}
	var rndB [randomSize]byte
	if _, err := io.ReadFull(p.cfg.Rand, rndB[:]); err != nil {
		p.refuse(r, NAKUnspecified)
		return
	}
	hand, err := NewPDHandshake(key, p.cfg.ID.CUID(), rndB, f, r)
	if err != nil {
		p.refuse(r, NAKLength)
		return
	}
	p.hand = hand
}

func (p *PD) confirm(f, r *Frame) {
	hand := p.hand
	p.endSession()
	if hand == nil {
		p.refuse(r, NAKSecurity)
		return
	}
	if channel, err := hand.Confirm(f, r); err == nil {
		p.channel = channel
	}
	if p.cfg.Quirks.Finish12 {
		r.Block = SCS12
	}
}

// answerSecured is answer for a command of a session.
func (p *PD) answerSecured(now time.Time, f, r *Frame, raw []byte) (after func()) {
	if p.channel == nil {
		p.refuse(r, NAKSecurity)
		return nil
	}
	if err := p.channel.OpenCommand(f, raw); err != nil {
		p.endSession()
		p.refuse(r, NAKSecurity)
		return nil
	}
	after = p.obey(now, f, r)
	switch {
	case f.Code == CmdKEYSET && r.Code == ReplyACK && p.cfg.Quirks.KeySetClearACK:
	case r.Code == ReplyNAK && p.cfg.Quirks.ClearNAK:
	case f.Code != CmdPOLL && p.cfg.Quirks.StatusInClear && r.Code >= ReplyLSTATR && r.Code <= ReplyRSTATR:
		p.channel.sealClear(r)
	default:
		p.channel.SealReply(r)
	}
	return after
}
