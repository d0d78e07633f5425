package station

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"gateline/drivers"
)

// LinesStatus is what GET /lines on the control socket answers: how lines and
// gates are, and what they have counted since the box started. It names no
// credential and no key.
type LinesStatus struct {
	Station string `json:"station"`
	// At is the box's time. Started is that of its start: where it differs, the
	// box was started anew and its counts began at 0.
	At      time.Time `json:"at"`
	Started time.Time `json:"started"`
	// UptimeUS is how long the box has been running, in microseconds, by a clock
	// that nobody sets.
	UptimeUS int64 `json:"uptime_us"`
	// Lines are those of the configuration in its order, at most MaxLines.
	Lines []LineStatus `json:"lines"`
}

// LineStatus is one line.
type LineStatus struct {
	Name     string   `json:"name"`
	Protocol Protocol `json:"protocol"`
	// Port is the serial device, or host:port of a serial device server; Baud
	// is the speed that the configuration says.
	Port     string `json:"port"`
	Baud     int    `json:"baud"`
	Up       bool   `json:"up"` // the port is open
	BytesIn  uint64 `json:"bytes_in"`
	BytesOut uint64 `json:"bytes_out"`
	// Errors are counted by kind, as in gateline_line_errors_total.
	Errors map[string]uint64 `json:"errors"`
	// Gates are those of the configuration in its order, at most
	// MaxGatesPerLine.
	Gates []GateStatus `json:"gates"`
}

// GateStatus is one gate.
type GateStatus struct {
	Name    string `json:"name"`
	Address uint8  `json:"address"`
	// State is silent, starting, serving or refused, as drivers.GateState says.
	State string `json:"state"`
	// Troubles are some of drivers.TroubleNames.
	Troubles []string `json:"troubles"`
	// RoundTripUS is a running mean in microseconds from the first byte of a
	// question to the last of its answer; 0 = nothing yet, or a protocol in which
	// the box does not ask.
	RoundTripUS int64 `json:"round_trip_us"`
	// Heard is when a good frame last came; nil = never.
	Heard *time.Time `json:"heard"`

	// Counts as drivers.GateCounters has them.
	Taps     uint64 `json:"taps"`
	Asked    uint64 `json:"asked"`
	Missed   uint64 `json:"missed"`
	Damaged  uint64 `json:"damaged"`
	Refusals uint64 `json:"refusals"`
	Stale    uint64 `json:"stale"`
}

// linesStatus returns how the lines are at now.
func (s *Station) linesStatus(now time.Time) LinesStatus {
	status := LinesStatus{
		Station: s.cfg.Station, At: now.UTC(), Started: s.started.UTC(), UptimeUS: now.Sub(s.started).Microseconds(),
		Lines: make([]LineStatus, 0, len(s.lines)),
	}
	for i, l := range s.lines { // in the order of the configuration
		status.Lines = append(status.Lines, lineStatus(now, &s.cfg.Lines[i], l))
	}
	return status
}

func lineStatus(now time.Time, lc *LineConfig, l *drivers.Line) LineStatus {
	counters := l.Counters()
	status := LineStatus{
		Name: l.Name(), Protocol: cmp.Or(lc.Protocol, ProtocolDirect), Port: cmp.Or(lc.TCP, lc.Serial.Device), Baud: lc.Serial.Baud, Up: l.Up(),
		BytesIn: counters.BytesIn.Load(), BytesOut: counters.BytesOut.Load(), Errors: make(map[string]uint64),
		Gates: make([]GateStatus, 0, len(l.Gates().All())),
	}
	counters.Errors(func(kind string, n uint64) { status.Errors[kind] = n })
	for _, g := range l.Gates().All() {
		status.Gates = append(status.Gates, gateStatus(now, g))
	}
	return status
}

func gateStatus(now time.Time, g *drivers.Gate) GateStatus {
	c := &g.Counters
	status := GateStatus{
		Name: g.Name, Address: g.Address, State: g.State(now).String(), Troubles: g.Trouble().Names(), RoundTripUS: g.RoundTrip().Microseconds(),
		Taps: c.Taps.Load(), Asked: c.Asked.Load(), Missed: c.Missed.Load(), Damaged: c.Damaged.Load(), Refusals: c.Refusals.Load(), Stale: c.Stale.Load(),
	}
	if status.Troubles == nil {
		status.Troubles = []string{} // a list in JSON, whatever is in it
	}
	if heard := g.Heard().UTC(); !heard.IsZero() {
		status.Heard = &heard
	}
	return status
}

// Advice returns what somebody ought to do about the gate, one step for each
// thing that is not well, as "thing: what to do".
func (g *GateStatus) Advice() (steps []string) {
	switch g.State {
	case drivers.GateSilent.String():
		steps = append(steps, "silent: see to its power, cable and address, and the speed of its line")
	case drivers.GateStarting.String():
		steps = append(steps, "starting: if it stays so, switch the reader off and on")
	case drivers.GateRefused.String():
		if !slices.Contains(g.Troubles, "key") { // which says what to do
			steps = append(steps, "refused: switch the reader off and on, then see what it reports")
		}
	}
	for _, trouble := range g.Troubles {
		switch trouble {
		case "duplicate_address":
			steps = append(steps, "duplicate_address: give each reader an address of its own")
		case "tamper":
			steps = append(steps, "tamper: close the reader's case and find out who opened it")
		case "power":
			steps = append(steps, "power: see to the reader's power supply")
		case "key":
			steps = append(steps, "key: bring the key of its key_file into the reader")
		}
	}
	return steps
}

func (s *Station) serveLines(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.linesStatus(s.now())) // the client is gone where this fails
}
