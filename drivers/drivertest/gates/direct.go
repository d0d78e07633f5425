// Package gates has the project's own protocols as drivertest wants them: both
// ends of direct and of OSDP. It is for tests only.
package gates

import (
	"time"

	"gateline/drivers"
	"gateline/drivers/direct"
	"gateline/drivers/drivertest"
	"gateline/gateway"
)

// baud is the speed of all lines here.
const baud = 115200

// Direct is the direct protocol, proven or not.
func Direct(proven bool) drivertest.Protocol {
	p := drivertest.Protocol{Name: "direct", Baud: baud}
	if proven {
		p.Name = "direct, proven"
	}
	p.Box = func(c drivertest.BoxConfig) (drivers.Session, error) {
		b := direct.BoxConfig{Gates: c.Gates, Counters: c.Counters}
		if proven {
			b.Keys = map[uint8][direct.KeySize]byte{}
			for _, g := range c.Gates.All() {
				b.Keys[g.Address] = directKey(g.Address)
			}
		}
		return direct.NewBox(b), nil
	}
	p.Gate = func(c drivertest.GateConfig) drivertest.Gate {
		g := &directGate{address: c.Address}
		if proven {
			key := directKey(c.Address)
			g.key = &key
		}
		g.Restart(c.Now)
		return g
	}
	return p
}

func directKey(address uint8) [direct.KeySize]byte {
	return [direct.KeySize]byte{address, 3, 141, 59, 26, 53, 58, 97}
}

// reserve is how many counters a gate sets aside at a time, so that it never
// uses one twice over a power cut.
const reserve = 1 << 16

// directGate is a direct.Gate and what its maker builds around it.
type directGate struct {
	address uint8
	key     *[direct.KeySize]byte
	counter uint32
	gate    *direct.Gate

	purpose gateway.Purpose
	signs   []drivertest.Sign
	public  []string
}

func (g *directGate) Restart(now time.Time) {
	g.gate = direct.NewGate(now, g.address, g.key, g.counter)
	g.counter += reserve
}

func (g *directGate) Present(now time.Time, c gateway.Credential) {
	g.purpose = gateway.PurposeEntry
	g.gate.Tap(now, g.purpose, c)
}

func (g *directGate) Lane(now time.Time) gateway.Lane { return g.gate.Lane(now) }

func (g *directGate) Step(now time.Time, in []byte) (send []byte, wake time.Time) {
	result, send, wake := g.gate.Step(now, in)
	if result != nil && result.Answered {
		g.obey(result.Answer)
	}
	return send, wake
}

// obey does what docs/protocol.md asks of a gate for a verdict.
func (g *directGate) obey(a gateway.Answer) {
	if a.Open {
		g.signs = append(g.signs, drivertest.Sign{Door: true})
		g.public = append(g.public, "the door opens")
	}
	g.signs = append(g.signs, drivertest.Sign{Verdict: a.Verdict})
	texts := gateway.DefaultTexts()
	switch {
	case a.Verdict == gateway.VerdictPass:
	case a.Verdict == gateway.VerdictRefuse:
		g.public = append(g.public, texts.Refuse.EN)
	case a.Reason == gateway.R26:
		g.public = append(g.public, texts.Manual.EN)
	case g.purpose == gateway.PurposeTopUp:
		g.public = append(g.public, texts.TopUp.EN)
	default:
		g.public = append(g.public, texts.NotFound.EN)
	}
}

func (g *directGate) Signs() (signs []drivertest.Sign) {
	signs, g.signs = g.signs, nil
	return signs
}

func (g *directGate) Public() (public []string) {
	public, g.public = g.public, nil
	return public
}
