package setup

import (
	"context"
	"fmt"
	"strings"

	"gateline/drivers/osdp"
)

// AskConfig says what to ask of which reader.
type AskConfig struct {
	Place Place
	// Key is the reader's; nil = it is asked in clear.
	Key     *osdp.Key
	Command byte
	Data    []byte
}

// MaxAsked is the longest data of a command in bytes; many readers take only
// about a hundred.
const MaxAsked = 1024

// Ask gives a reader one command and returns the code and the clear data of its
// reply. A NAK is a *RefusalError. KEYSET is not asked here.
func Ask(ctx context.Context, bus *Bus, c AskConfig) (code byte, data []byte, err error) {
	switch {
	case c.Command == osdp.CmdKEYSET:
		return 0, nil, fmt.Errorf("a key is set by Commission and Rekey only")
	case len(c.Data) > MaxAsked:
		return 0, nil, fmt.Errorf("%d bytes of data; give at most %d", len(c.Data), MaxAsked)
	}
	if err := bus.At(ctx, c.Place.Baud); err != nil {
		return 0, nil, err
	}
	t := newTalk(bus, c.Place.Address)
	if c.Key != nil {
		if err := t.open(ctx, *c.Key); err != nil {
			return 0, nil, fmt.Errorf("open a session with the reader at %v: %w; gateline osdp scan says which key it has", c.Place, err)
		}
	}
	r, err := t.ask(ctx, c.Command, c.Data)
	return r.code, r.data, err
}

// IDText is who a reader says it is, in one line.
func IDText(id osdp.PDID) string {
	return fmt.Sprintf("maker %s, model %d version %d, serial %d, firmware %s", OUIText(id.OUI), id.Model, id.Version, id.Serial, FirmwareText(id.Firmware))
}

// OUIText is a maker's number as the IEEE's lists write it.
func OUIText(oui [3]byte) string { return fmt.Sprintf("%02X-%02X-%02X", oui[0], oui[1], oui[2]) }

// FirmwareText is a firmware's version.
func FirmwareText(f [3]byte) string { return fmt.Sprintf("%d.%d.%d", f[0], f[1], f[2]) }

// HasText is what a reader says it has, in one line.
func HasText(c *osdp.Capabilities) string {
	var list []string
	count := func(n byte, noun, more string) {
		if n == 1 {
			list = append(list, "1 "+noun+more)
		} else if n > 1 {
			list = append(list, fmt.Sprintf("%d %ss%s", n, noun, more))
		}
	}
	timed := func(yes bool) string {
		if yes {
			return " (timed)"
		}
		return ""
	}
	count(c.Outputs, "output", timed(c.TimedOutput()))
	count(c.LEDs, "LED", timed(c.TimedLED()))
	if c.Sound() {
		list = append(list, "buzzer")
	}
	if c.Text() {
		list = append(list, "text")
	}
	count(c.Inputs, "input", "")
	if len(list) == 0 {
		return "nothing to show"
	}
	return strings.Join(list, ", ")
}

// ReplyText is what a reader replied, for a technician. What may be a card or
// typed keys is not shown.
func ReplyText(code byte, data []byte) string {
	name := osdp.ReplyName(code)
	var text string
	err := error(nil)
	switch code {
	case osdp.ReplyACK:
		return "ACK: done"
	case osdp.ReplyPDID:
		var id osdp.PDID
		if id, err = osdp.ParsePDID(data); err == nil {
			text = IDText(id)
		}
	case osdp.ReplyPDCAP:
		var c osdp.Capabilities
		if c, err = osdp.ParsePDCAP(data); err == nil {
			text = capabilitiesText(&c)
		}
	case osdp.ReplyLSTATR:
		var s osdp.LocalStatus
		if s, err = osdp.ParseLocalStatus(data); err == nil {
			text = "case " + choose(s.Tamper, "OPEN (tamper)", "closed") + ", power " + choose(s.Power, "TROUBLE", "good")
		}
	case osdp.ReplyISTATR, osdp.ReplyOSTATR, osdp.ReplyRSTATR:
		var states []byte
		if states, err = osdp.ParseStates(data); err == nil {
			text = statesText(code, states)
		}
	case osdp.ReplyMFGREP, osdp.ReplyMFGSTATR, osdp.ReplyMFGERRR:
		var m osdp.Mfg
		if m, err = osdp.ParseMfg(data); err == nil {
			text = fmt.Sprintf("maker %s, data % X", OUIText(m.OUI), m.Data)
		}
	default:
		text = fmt.Sprintf("%d bytes of data, not shown", len(data))
	}
	if err != nil {
		text = "cannot be understood: " + err.Error()
	}
	return name + ": " + text
}

func capabilitiesText(c *osdp.Capabilities) string {
	return fmt.Sprintf("%s; CRC %s, Secure Channel %s, default key %s, frames up to %d bytes, OSDP version %d",
		HasText(c), choose(c.CRC, "yes", "no"), choose(c.AES, "yes", "no"), choose(c.DefaultKey, "IN FORCE", "not in force"), c.RxBuffer, c.Version)
}

func statesText(code byte, states []byte) string {
	var list []string
	for i, s := range states {
		switch {
		case code == osdp.ReplyISTATR:
			list = append(list, fmt.Sprintf("input %d %s", i, stateName(s, "inactive", "active")))
		case code == osdp.ReplyOSTATR:
			list = append(list, fmt.Sprintf("output %d %s", i, stateName(s, "off", "on")))
		default:
			list = append(list, fmt.Sprintf("reader %d %s", i, stateName(s, "normal", "not connected", "TAMPER")))
		}
	}
	return strings.Join(list, ", ")
}

func stateName(state byte, names ...string) string {
	if int(state) < len(names) {
		return names[state]
	}
	return fmt.Sprintf("state %d", state)
}

func choose(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}
