package osdp

import (
	"time"

	"gateline/drivers"
)

// take handles a frame from the reader's address. raw is the whole frame.
func (l *link) take(now time.Time, f *Frame, raw []byte) (out outcome, read *Read) {
	if !l.wait {
		return outcomeNone, nil
	}
	// A command that arrived damaged has not been obeyed, and its number is as
	// doubtful as the rest of it.
	if f.Block == 0 && f.Code == ReplyBUSY || isNAK(f, NAKCheck) {
		l.notBefore = now.Add(busyPause)
		return outcomeBusy, nil
	}
	if f.SQN != l.sqn {
		// SQN 0: the reader has restarted. A refused SQN comes with the one that
		// the reader expects, and would come again for every retry.
		if f.SQN == 0 || isNAK(f, NAKSequence) {
			l.again()
			return outcomeGood, nil
		}
		return outcomeNone, nil // a late answer to something older
	}
	if l.channel != nil {
		if f.Block == 0 {
			return l.inClear(now, f), nil
		}
		if err := l.channel.OpenReply(f, raw); err != nil {
			l.failed(now)
			return outcomeGood, nil
		}
	}
	l.wait = false
	return l.reply(now, f)
}

func isNAK(f *Frame, code NAKCode) bool {
	if f.Code != ReplyNAK || f.Block != 0 {
		return false // most replies: an error for each would be an allocation
	}
	n, err := ParseNAK(f.Data)
	return err == nil && n.Code == code
}

// inClear handles a reply outside the session: only a refusal is legal, and the
// end of the session where it says so.
func (l *link) inClear(now time.Time, f *Frame) outcome {
	if f.Code == ReplyNAK {
		if n, err := ParseNAK(f.Data); err == nil && n.Code != NAKBlock && n.Code != NAKSecurity && n.Code != NAKSequence {
			l.wait = false
			l.done(now, false)
			return outcomeGood
		}
	}
	l.failed(now)
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
			l.sum = l.sum && !c.CRC
		}
		l.identified(now)
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
		l.channel, l.opened = channel, now
		l.online(now)
	case StateOnline:
		l.inService(now)
		// A report that was lost again and again is of a read as old, and so may
		// be what waits behind it.
		late := now.Sub(l.since) >= MaxReadAge
		l.draining = l.draining || late
		if l.order {
			l.status(f)
			l.done(now, true)
			return outcomeGood, nil
		}
		out, read := l.report(f)
		l.draining = l.draining || late
		return out, read
	}
	return outcomeGood, nil
}

// identified goes on once the reader has said what it can do, or that it cannot
// say: the least is assumed then.
func (l *link) identified(now time.Time) {
	if l.key != nil {
		l.state, l.fresh = StateChallenge, true
		return
	}
	l.online(now)
}

func (l *link) online(now time.Time) {
	l.state = StateOnline
	l.draining = l.draining || l.served.IsZero() || now.Sub(l.served) >= MaxReadAge
}

// inService notes a good reply in service, which is what ends a row of failures.
func (l *link) inService(now time.Time) {
	l.served, l.failures = now, 0
	l.gate.SetTrouble(drivers.TroubleKey, false)
}

// refused handles a NAK to the command that was out.
func (l *link) refused(now time.Time, f *Frame) {
	l.gate.Counters.Refusals.Add(1)
	n, err := ParseNAK(f.Data)
	switch {
	case err == nil && n.Code == NAKSequence:
		l.again()
	case l.state == StateChallenge || l.state == StateConfirm:
		l.failed(now)
	case err == nil && (n.Code == NAKSecurity || n.Code == NAKBlock):
		l.failed(now) // in clear: without a key of ours nothing is to be made of it
	case l.state == StateProbe:
		l.restart()
	case l.state == StateIdentified:
		l.identified(now)
	default:
		l.inService(now)
		l.done(now, false)
	}
}

// done ends the order that was out.
func (l *link) done(now time.Time, obeyed bool) {
	if !l.order || len(l.orders) == 0 {
		return
	}
	l.order = false
	if l.orders[0].kind == orderStatus {
		l.known = true // also where it does not know the question
	}
	l.show.done(now, &l.orders[0], obeyed)
	l.orders = append(l.orders[:0], l.orders[1:]...)
	switch {
	case l.ahead > 0:
		l.ahead--
	case obeyed || len(l.orders) == 0:
		// Only what the rider waits for is urgent: the gate, else the first sign.
		l.urgent = false
	}
}

// status notes what a reader says of itself, asked or not.
func (l *link) status(f *Frame) {
	if f.Code != ReplyLSTATR {
		return
	}
	if s, err := ParseLocalStatus(f.Data); err == nil {
		l.gate.SetTrouble(drivers.TroubleTamper, s.Tamper)
		l.gate.SetTrouble(drivers.TroublePower, s.Power)
	}
}

// report handles the reply to a POLL.
func (l *link) report(f *Frame) (outcome, *Read) {
	l.read = Read{}
	presented := false
	switch f.Code {
	case ReplyRAW:
		presented = true // where it cannot be parsed, nobody knows what (R25)
		if r, err := ParseRead(f.Data); err == nil {
			l.read = r
		}
	case ReplyFMT:
		presented = true
		if r, err := ParseFormatted(f.Data); err == nil {
			l.read = r.read()
		}
	default:
		l.status(f)
	}
	switch {
	case !presented:
		// With an ACK it has nothing more to say; a status may stand before a read.
		if l.statuses++; f.Code == ReplyACK || l.statuses > maxStatuses {
			l.draining, l.statuses = false, 0
		}
		return outcomeGood, nil
	case l.draining:
		l.gate.Counters.Stale.Add(1)
		return outcomeEvent, nil
	}
	return outcomeEvent, &l.read
}
