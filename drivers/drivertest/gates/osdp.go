package gates

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"

	"gateline/drivers"
	"gateline/drivers/drivertest"
	"gateline/drivers/osdp"
	"gateline/gateway"
)

// turnaround is how long a reader takes to begin its answer.
const turnaround = time.Millisecond

// OSDP is OSDP with typical readers, in Secure Channel or in clear.
func OSDP(secure bool) drivertest.Protocol {
	p := drivertest.Protocol{Name: "osdp in clear", Baud: baud, HalfDuplex: true}
	if secure {
		p.Name = "osdp in Secure Channel"
	}
	p.Box = func(c drivertest.BoxConfig) (drivers.Session, error) {
		cp := osdp.CPConfig{
			Baud: c.Baud, Gates: c.Gates, Reads: osdp.DefaultReadMap(), Counters: c.Counters,
			Random: func() (b [8]byte) { _, _ = source{c.Random}.Read(b[:]); return b },
		}
		for _, g := range c.Gates.All() {
			d := osdp.Device{Address: g.Address, Signals: signals()}
			if secure {
				key := osdpKey(g.Address)
				d.Key = &key
			}
			cp.Devices = append(cp.Devices, d)
		}
		return osdp.NewCP(cp, c.Now)
	}
	p.Gate = func(c drivertest.GateConfig) drivertest.Gate {
		pd := osdp.PDConfig{
			Address: c.Address, Baud: uint32(c.Baud), Capabilities: osdp.TypicalCapabilities(), RequireSecure: secure, Rand: source{c.Random},
		}
		if secure {
			key := osdpKey(c.Address)
			pd.Key = &key
		}
		return &osdpGate{pd: osdp.NewPD(pd)}
	}
	return p
}

func osdpKey(address uint8) osdp.Key { return osdp.Key{address, 9, 7, 3, 200, 3 * address} }

// source is a seeded source of bytes.
type source struct{ r *rand.Rand }

func (s source) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s.r.Uint32())
	}
	return len(b), nil
}

// signals are the usual ones, with colours for the lane that no answer has: so
// a lamp tells what it means.
func signals() osdp.Signals {
	s := osdp.DefaultSignals()
	s.Auto.Light, s.ManualLane.Light, s.Open.Light = osdp.Light{Color: osdp.Blue}, osdp.Light{Color: osdp.Magenta}, osdp.Light{Color: osdp.Cyan}
	return s
}

// osdpGate is a reader of a gate: a PD whose answers take their time.
type osdpGate struct {
	pd     *osdp.PD
	reply  []byte
	due    time.Time // of the reply
	heard  time.Time
	signs  []drivertest.Sign
	public []string

	// What the LED shows: for a time, and else.
	brief, steady osdp.Color
	until         time.Time
}

func (g *osdpGate) Restart(now time.Time) {
	g.pd.PowerCycle(now)
	g.reply, g.until, g.steady = nil, time.Time{}, osdp.Black
}

func (g *osdpGate) Present(now time.Time, c gateway.Credential) { g.pd.Present(now, readOf(c)) }

// readOf is what a reader makes of a credential: the digits of a card with the
// leading zero of its chip, two to a byte; those of a ride-code account as they
// are; seven bits of nothing where it cannot be read.
func readOf(c gateway.Credential) osdp.Read {
	digits := c.AppendNumber(nil)
	switch c.Scheme() {
	case gateway.SchemeNone:
		return osdp.Read{Bits: 7, Data: []byte{0}}
	case gateway.SchemeRide:
		return osdp.Read{Bits: 8 * len(digits), Data: digits}
	case gateway.SchemeTUnion:
		digits = append([]byte{'0'}, digits...)
	}
	packed, err := hex.DecodeString(string(digits))
	if err != nil {
		panic("gates: a credential's digits are not hexadecimal") // its constructor saw to it
	}
	return osdp.Read{Bits: 4 * len(digits), Data: packed}
}

func (g *osdpGate) Step(now time.Time, in []byte) (send []byte, wake time.Time) {
	if len(in) > 0 {
		g.heard = now
	}
	if reply := g.pd.Step(now, in); len(reply) > 0 {
		g.reply, g.due = append(g.reply[:0:0], reply...), now.Add(turnaround)
	}
	for _, s := range g.pd.Shown() {
		g.show(s)
	}
	if len(g.reply) > 0 && !now.Before(g.due) {
		send, g.reply = g.reply, nil
	}
	switch {
	case len(g.reply) > 0:
		wake = g.due
	case now.Sub(g.heard) < osdp.InterByte: // a command may stand behind noise
		wake = g.heard.Add(osdp.InterByte)
	}
	return send, wake
}

// show notes what the reader was told to show. What stands between taps, the
// door of an open lane among it, belongs to no answer.
func (g *osdpGate) show(s osdp.Show) {
	switch {
	case s.Code == osdp.CmdOUT && s.Out.Control == osdp.OutPulseOn:
		g.signs = append(g.signs, drivertest.Sign{Door: true})
		g.public = append(g.public, "the door opens")
	case s.Code == osdp.CmdBUZ:
		g.public = append(g.public, fmt.Sprintf("%d beeps", s.Buz.Count))
	case s.Code == osdp.CmdTEXT && s.Text.Mode >= osdp.TextTemporary:
		g.public = append(g.public, s.Text.Characters)
	case s.Code == osdp.CmdLED:
		g.light(s)
	}
}

func (g *osdpGate) light(s osdp.Show) {
	if s.LED.Perm == osdp.PermSet {
		g.steady = s.LED.PermBlink.OnColor
	}
	switch s.LED.Temp {
	case osdp.TempCancel:
		g.until = time.Time{}
	case osdp.TempSet:
		g.brief, g.until = s.LED.TempBlink.OnColor, s.At.Add(s.LED.TempTime)
		if verdict, ok := verdictOf(g.brief); ok {
			g.signs = append(g.signs, drivertest.Sign{Verdict: verdict})
			g.public = append(g.public, fmt.Sprintf("light %d", g.brief))
		}
	}
}

// verdictOf returns the verdict that a colour shows, if it shows one.
func verdictOf(c osdp.Color) (v gateway.Verdict, ok bool) {
	switch s := signals(); c {
	case s.Pass.Light.Color:
		return gateway.VerdictPass, true
	case s.Refuse.Light.Color:
		return gateway.VerdictRefuse, true
	case s.Manual.Light.Color:
		return gateway.VerdictManual, true
	}
	return v, false
}

func (g *osdpGate) Signs() (signs []drivertest.Sign) {
	signs, g.signs = g.signs, nil
	return signs
}

func (g *osdpGate) Public() (public []string) {
	public, g.public = g.public, nil
	return public
}

// Lane is what the light says between answers; a reader that was told nothing
// is one of the manual lane.
func (g *osdpGate) Lane(now time.Time) gateway.Lane {
	color := g.steady
	if _, answers := verdictOf(g.brief); now.Before(g.until) && !answers {
		color = g.brief
	}
	switch s := signals(); color {
	case s.Auto.Light.Color:
		return gateway.LaneAuto
	case s.Open.Light.Color:
		return gateway.LaneOpen
	}
	return gateway.LaneManual
}
