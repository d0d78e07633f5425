package osdp

import "time"

// maxMaker is the longest reply to MFG that a PD gives.
const maxMaker = 1024

// obey does what a command says and makes r its reply, still in clear. after
// is what is to be done once the reply is sent, nil = nothing.
func (p *PD) obey(now time.Time, f, r *Frame) (after func()) {
	r.Code, r.Data = ReplyACK, nil
	var err error
	switch f.Code {
	case CmdPOLL:
		err = nothing(f.Data)
		if code, data, ok := p.events.next(now); ok && err == nil {
			p.data = append(p.data[:0], data...)
			r.Code, r.Data = code, p.data
		}
	case CmdID:
		err = ParseRequest(f.Data)
		p.report(r, ReplyPDID, AppendPDID(p.data[:0], p.cfg.ID))
	case CmdCAP:
		err = ParseRequest(f.Data)
		says := p.cfg.Capabilities
		says.DefaultKey = !p.keyed
		p.report(r, ReplyPDCAP, AppendPDCAP(p.data[:0], &says))
	case CmdLSTAT, CmdISTAT, CmdOSTAT, CmdRSTAT:
		err = nothing(f.Data)
		p.tellStatus(now, f.Code, r)
	case CmdOUT, CmdLED, CmdBUZ, CmdTEXT:
		err = p.show(now, f, r)
	case CmdCOMSET:
		after, err = p.comSet(f, r)
	case CmdKEYSET:
		after, err = p.keySet(f)
	case CmdACURXSIZE:
		_, err = ParseRxSize(f.Data)
	case CmdKEEPACTIVE:
		_, err = ParseKeepActive(f.Data)
	case CmdABORT:
		err = nothing(f.Data)
	case CmdMFG:
		err = p.maker(f, r)
	case CmdCHLNG, CmdSCRYPT: // without their security block
		p.refuse(r, NAKBlock)
	default:
		p.refuse(r, NAKUnknown)
	}
	if err != nil {
		p.refuseFor(r, err)
	}
	return after
}

// nothing checks that a command has no data.
func nothing(data []byte) error { return exactly(data, "command", 0) }

// report makes r a reply with data, which stands in p.data.
func (p *PD) report(r *Frame, code byte, data []byte) {
	p.data = data
	r.Code, r.Data = code, data
}

// tellStatus answers a question for a status. Of what the PD does not have
// there is none.
func (p *PD) tellStatus(now time.Time, code byte, r *Frame) {
	b := p.data[:0]
	switch code {
	case CmdLSTAT:
		p.report(r, ReplyLSTATR, AppendLocalStatus(b, p.status))
		return
	case CmdISTAT:
		p.report(r, ReplyISTATR, append(b, p.inputs...))
	case CmdOSTAT:
		for i := range p.outputs {
			on := byte(0)
			if p.outputs[i].on(now) {
				on = 1
			}
			b = append(b, on)
		}
		p.report(r, ReplyOSTATR, b)
	case CmdRSTAT:
		for range p.cfg.Capabilities.Readers {
			b = append(b, ReaderNormal)
		}
		p.report(r, ReplyRSTATR, b)
	}
	if len(r.Data) == 0 {
		p.refuse(r, NAKUnknown)
	}
}

// comSet answers with what the PD will use; it changes after the reply.
func (p *PD) comSet(f, r *Frame) (after func(), err error) {
	want, err := ParseCom(f.Data)
	if err != nil {
		return nil, err
	}
	will := Com{Address: p.address, Baud: p.baud}
	if ValidBaud(want.Baud) {
		will = want
		after = func() {
			p.address, p.baud, p.started = will.Address, will.Baud, false
			p.endSession()
		}
	}
	p.report(r, ReplyCOM, AppendCom(p.data[:0], will))
	return after, nil
}

// keySet takes the key at once; the session ends after the reply.
func (p *PD) keySet(f *Frame) (after func(), err error) {
	key, err := ParseKeySet(f.Data)
	if err != nil {
		return nil, err
	}
	p.key, p.keyed = key, true
	if p.cfg.Quirks.KeepOnKeySet {
		return nil, nil
	}
	return p.endSession, nil
}

func (p *PD) maker(f, r *Frame) error {
	m, err := ParseMfg(f.Data)
	if err != nil {
		return err
	}
	if p.cfg.Maker == nil {
		p.refuse(r, NAKUnknown)
		return nil
	}
	switch data, ok := p.cfg.Maker(m); {
	case !ok || len(data) > maxMaker:
		p.refuse(r, NAKUnspecified)
	case len(data) > 0:
		p.report(r, ReplyMFGREP, append(p.data[:0], data...))
	}
	return nil
}
