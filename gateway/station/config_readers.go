package station

import (
	"math"
	"strings"

	"gateline/drivers/osdp"
	"gateline/drivers/serial"
	"gateline/internal/tomlconf"
)

const maxReadRules = 8

// parseReaders reads what only a line of OSDP readers has.
func parseReaders(t tomlconf.Table, l *LineConfig) {
	l.Secure = true
	t.Bool("secure", &l.Secure)
	if !osdp.ValidBaud(uint32(l.Serial.Baud)) {
		t.Fault("baud", "%d is not a speed of OSDP: 9600, 19200, 38400, 57600, 115200, 230400", l.Serial.Baud)
	}
	if l.Serial.Parity != serial.ParityNone {
		t.Fault("parity", "OSDP has none")
	}
	parseReads(t, l)
	parseShow(t.Table("show"), l)
}

func parseReads(t tomlconf.Table, l *LineConfig) {
	l.Reads = osdp.DefaultReadMap()
	rules := t.Tables("read", maxReadRules)
	if len(rules) == 0 {
		return
	}
	l.Reads = nil
	for _, tr := range rules {
		var rule osdp.ReadRule
		tr.Int("bits", &rule.Bits, 0, osdp.MaxReadBits)
		tr.Text("as", &rule.As)
		tr.Bool("formatted", &rule.Formatted)
		tr.End()
		l.Reads = append(l.Reads, rule)
	}
	if err := l.Reads.Validate(); err != nil {
		for fault := range strings.Lines(err.Error()) {
			t.Fault("read", "%s", strings.TrimSpace(fault))
		}
	}
}

// parseShow reads what the readers of a line show.
func parseShow(t tomlconf.Table, l *LineConfig) {
	s := osdp.DefaultSignals()
	l.Signals = &s
	octet(t, "output", &s.Output, math.MaxUint8)
	octet(t, "led", &s.LED, math.MaxUint8)
	t.Duration("pulse", &s.Pulse, osdp.Tick, osdp.MaxPulse)
	t.Duration("for", &s.For, osdp.MinFor, osdp.MaxFor)
	for _, signal := range []struct {
		key  string
		into *osdp.Signal
	}{{"pass", &s.Pass}, {"refuse", &s.Refuse}, {"manual", &s.Manual}, {"topup", &s.TopUp}, {"closed", &s.Closed}} {
		ts := t.Table(signal.key)
		ts.Text("light", &signal.into.Light)
		octet(ts, "beeps", &signal.into.Beeps, osdp.MaxBeeps)
		ts.String("text", &signal.into.Text)
		ts.End()
	}
	for _, standing := range []struct {
		key  string
		into *osdp.Standing
	}{{"auto", &s.Auto}, {"manual_lane", &s.ManualLane}, {"open", &s.Open}, {"out_of_service", &s.OutOfService}, {"link_lost", &s.LinkLost}} {
		ts := t.Table(standing.key)
		ts.Text("light", &standing.into.Light)
		ts.String("text", &standing.into.Text)
		ts.End()
	}
	faultEach(t, s.Validate())
	t.End()
}

// signals returns what the readers of the line show.
func (l *LineConfig) signals() osdp.Signals {
	if l.Signals == nil {
		return osdp.DefaultSignals()
	}
	return *l.Signals
}

// octet takes a whole number from 0 to most.
func octet(t tomlconf.Table, key string, into *byte, most int) {
	v := int(*into)
	t.Int(key, &v, 0, most)
	*into = byte(v)
}
