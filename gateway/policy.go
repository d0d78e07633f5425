package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Mode says what a station does with a verdict. The zero Mode is not a mode:
// a policy without one does not validate.
type Mode uint8

const (
	// ModeOff lets everybody pass and checks nothing (row 3).
	ModeOff Mode = 1
	// ModeObserve lets everybody pass and counts what it would have said.
	ModeObserve Mode = 2
	// ModeAdvisory shows the verdict and opens the door whatever it is.
	ModeAdvisory Mode = 3
	// ModeEnforce opens the door on a pass only.
	ModeEnforce Mode = 4
)

var modeNames = []string{ModeOff: "off", ModeObserve: "observe", ModeAdvisory: "advisory", ModeEnforce: "enforce"}

// Unit says how the age of a test is counted (GATE-03, OQ-03).
type Unit uint8

const (
	// UnitCalendarDay counts calendar days from the anchor day.
	UnitCalendarDay Unit = 1
	// UnitRollingHour counts hours, 24 for each day of the window, from the
	// minute of the sample.
	UnitRollingHour Unit = 2
)

var unitNames = []string{UnitCalendarDay: "calendar_day", UnitRollingHour: "rolling_hour"}

// AfterSunset says what a gate answers once the policy has ended (IMP-11). The
// zero value sends riders to the manual lane.
type AfterSunset uint8

const (
	AfterSunsetManual AfterSunset = 0
	AfterSunsetPass   AfterSunset = 1
)

var afterSunsetNames = []string{AfterSunsetManual: "manual", AfterSunsetPass: "pass"}

// Switch is a station's or a gate's local override (IMP-22, GATE-09).
type Switch uint8

const (
	SwitchAuto   Switch = 0
	SwitchManual Switch = 1
	SwitchOpen   Switch = 2
)

var switchNames = []string{SwitchAuto: "auto", SwitchManual: "manual", SwitchOpen: "open"}

func nameOf(names []string, v uint8) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return fmt.Sprintf("invalid(%d)", v)
}

func valueOf(names []string, what string, text []byte) (uint8, error) {
	var known []string
	for v, name := range names {
		if name == "" {
			continue
		}
		if name == string(text) {
			return uint8(v), nil
		}
		known = append(known, name)
	}
	return 0, fmt.Errorf("%s %.40q is not one of %v", what, text, known)
}

// String returns the mode's name in a policy document.
func (m Mode) String() string { return nameOf(modeNames, uint8(m)) }

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Mode) UnmarshalText(text []byte) error {
	v, err := valueOf(modeNames, "mode", text)
	*m = Mode(v)
	return err
}

// String returns the unit's name in a policy document.
func (u Unit) String() string { return nameOf(unitNames, uint8(u)) }

// MarshalText implements encoding.TextMarshaler.
func (u Unit) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (u *Unit) UnmarshalText(text []byte) error {
	v, err := valueOf(unitNames, "unit", text)
	*u = Unit(v)
	return err
}

// String returns the name used in a policy document.
func (a AfterSunset) String() string { return nameOf(afterSunsetNames, uint8(a)) }

// MarshalText implements encoding.TextMarshaler.
func (a AfterSunset) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *AfterSunset) UnmarshalText(text []byte) error {
	v, err := valueOf(afterSunsetNames, "after_sunset", text)
	*a = AfterSunset(v)
	return err
}

// String returns the switch's name.
func (s Switch) String() string { return nameOf(switchNames, uint8(s)) }

// MarshalText implements encoding.TextMarshaler.
func (s Switch) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Switch) UnmarshalText(text []byte) error {
	v, err := valueOf(switchNames, "switch", text)
	*s = Switch(v)
	return err
}

// Duration is a time.Duration written as "15m" or "24h" in documents.
type Duration time.Duration

// String returns the duration as time.Duration prints it.
func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%.40q is not a duration such as 15m or 24h", text)
	}
	*d = Duration(v)
	return nil
}

// Text is one message to riders in both languages.
type Text struct {
	ZH string `json:"zh"`
	EN string `json:"en"`
}

// Texts are the messages a gate may show (section "What a gate shows" of
// docs/decision.md). None of them gives a reason (PRV-05).
type Texts struct {
	Refuse   Text `json:"refuse"`
	NotFound Text `json:"not_found"`
	Manual   Text `json:"manual"`
	TopUp    Text `json:"top_up"`
}

// DefaultTexts returns the public wording (GATE-04, T201).
func DefaultTexts() Texts {
	return Texts{
		Refuse:   Text{ZH: "健康码异常", EN: "Health code abnormal"},
		NotFound: Text{ZH: "未查询到健康码信息", EN: "No health code information found"},
		Manual:   Text{ZH: "请走人工通道", EN: "Please use the staffed lane"},
		TopUp:    Text{ZH: "该卡尚未升级,请先完成一卡通升级再充值", EN: "Card not upgraded: please upgrade it before topping up"},
	}
}

// Policy is one document of rules with the instant from which it applies.
// Judge reads it; it holds no pointer into anything that changes.
type Policy struct {
	// Effective is the instant from which the document applies. It may lie in
	// the future: the document is then pre-staged (IMP-08).
	Effective time.Time `json:"effective"`
	// Mode applies to every station that Stations does not name (GATE-11).
	Mode     Mode            `json:"mode"`
	Stations map[string]Mode `json:"stations,omitempty"`
	// Window is the largest allowed age of a test in days: 2 for "48 hours".
	Window uint8 `json:"window"`
	Unit   Unit  `json:"unit"`
	// FreshLimit is the greatest age of the watermark with which a box may
	// still refuse; StalePassLimit the greatest with which it may still pass.
	FreshLimit     Duration `json:"fresh_limit"`
	StalePassLimit Duration `json:"stale_pass_limit"`
	// RedNeedsPassable lets a red record fall to the manual lane once the
	// watermark is older than StalePassLimit (row 8). Default: it stays a
	// refusal.
	RedNeedsPassable bool `json:"red_needs_passable,omitempty"`
	// TopUpFrom is the instant from which a top-up needs an upgraded card
	// (TOP-01); zero = never.
	TopUpFrom time.Time `json:"top_up_from,omitzero"`
	// VerdictTTL is how long an answer is good for, in steps of 100 ms
	// (GATE-07, IMP-24).
	VerdictTTL Duration `json:"verdict_ttl"`
	// Expires is the instant from which the document no longer allows a
	// verdict (row 6); zero = never.
	Expires time.Time `json:"expires,omitzero"`
	// Sunset is the instant at which the purpose ends (IMP-11); zero = not
	// decided yet. AfterSunset is what gates answer from then on.
	Sunset      time.Time   `json:"sunset,omitzero"`
	AfterSunset AfterSunset `json:"after_sunset"`
	Texts       Texts       `json:"texts"`
}

// DefaultPolicy returns the documented defaults: 48 hours counted in calendar
// days, enforced, from the given instant.
func DefaultPolicy(effective time.Time) Policy {
	return Policy{
		Effective:      effective,
		Mode:           ModeEnforce,
		Window:         2,
		Unit:           UnitCalendarDay,
		FreshLimit:     Duration(15 * time.Minute),
		StalePassLimit: Duration(24 * time.Hour),
		VerdictTTL:     Duration(DefaultVerdictTTL),
		AfterSunset:    AfterSunsetPass,
		Texts:          DefaultTexts(),
	}
}

// Limits of a policy document.
const (
	MaxWindow   = 30
	MaxStations = 2000
	// MaxPolicies is the number of documents in one schedule.
	MaxPolicies = 8
	// DefaultVerdictTTL also holds where there is no policy; VerdictTTLStep is
	// the unit in which it goes over a wire.
	DefaultVerdictTTL = 3 * time.Second
	VerdictTTLStep    = 100 * time.Millisecond
	// MaxScheduleSize is the largest encoded schedule in bytes.
	MaxScheduleSize = 256 << 10

	keepSuperseded  = time.Hour
	maxTextBytes    = 200
	maxStationBytes = 64
)

// ErrPolicy is wrapped by every error about a policy document.
var ErrPolicy = errors.New("bad policy")

// Validate reports every fault of the document at once.
func (p *Policy) Validate() error {
	var faults []error
	fault := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(!p.Effective.IsZero(), "effective: missing, give an instant such as 2022-06-01T00:00:00+08:00")
	fault(p.Mode >= ModeOff && p.Mode <= ModeEnforce, "mode: missing")
	fault(len(p.Stations) <= MaxStations, "stations: %d entries, at most %d", len(p.Stations), MaxStations)
	for name, mode := range p.Stations {
		fault(ValidStation(name) == nil && mode >= ModeOff && mode <= ModeEnforce, "stations: %.70q is not a station name with a mode", name)
	}
	fault(p.Window >= 1 && p.Window <= MaxWindow, "window: %d days, not 1 … %d", p.Window, MaxWindow)
	fault(p.Unit == UnitCalendarDay || p.Unit == UnitRollingHour, "unit: missing, give calendar_day or rolling_hour")
	fault(p.FreshLimit > 0, "fresh_limit: %v is not positive", p.FreshLimit)
	fault(p.StalePassLimit >= p.FreshLimit, "stale_pass_limit: %v is below fresh_limit %v", p.StalePassLimit, p.FreshLimit)
	fault(p.VerdictTTL >= Duration(time.Second) && p.VerdictTTL <= Duration(20*time.Second) && p.VerdictTTL%Duration(VerdictTTLStep) == 0, "verdict_ttl: %v is not between 1s and 20s in steps of 100ms", p.VerdictTTL)
	fault(p.AfterSunset <= AfterSunsetPass, "after_sunset: not one of pass, manual")
	fault(p.Expires.IsZero() || p.Expires.After(p.Effective), "expires: not after effective")
	fault(p.Sunset.IsZero() || p.Sunset.After(p.Effective), "sunset: not after effective")
	for _, t := range []Text{p.Texts.Refuse, p.Texts.NotFound, p.Texts.Manual, p.Texts.TopUp} {
		fault(t.ZH != "" && t.EN != "" && len(t.ZH) <= maxTextBytes && len(t.EN) <= maxTextBytes,
			"texts: every text needs zh and en of at most %d bytes", maxTextBytes)
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrPolicy, errors.Join(faults...))
}

// ValidStation reports what is wrong with a station's name: 1 to 64 of
// a-z, 0-9 and '-'.
func ValidStation(name string) error {
	if name == "" || len(name) > maxStationBytes {
		return fmt.Errorf("a station's name has 1 to %d characters", maxStationBytes)
	}
	for _, r := range name {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return fmt.Errorf("a station's name is made of a-z, 0-9 and '-'")
		}
	}
	return nil
}

// Ended reports whether the purpose of the document has ended at an instant (IMP-11).
func (p *Policy) Ended(at time.Time) bool { return !p.Sunset.IsZero() && !at.Before(p.Sunset) }

// OffEverywhere reports whether the document checks nobody at any station.
func (p *Policy) OffEverywhere() bool {
	for _, mode := range p.Stations {
		if mode != ModeOff {
			return false
		}
	}
	return p.Mode == ModeOff
}

// TopUpLifted reports whether a top-up needs no upgraded card at an instant, because
// what it needed one for is over (IMP-10): after sunset, or where the document is in
// mode off and every record was erased under it, by an order of the instant erased
// (zero = there was none). Mode off alone lifts nothing: a station may not have begun
// yet.
func (p *Policy) TopUpLifted(at, erased time.Time) bool {
	return p.Ended(at) || p.Mode == ModeOff && !erased.IsZero() && !erased.Before(p.Effective)
}

// Schedule is all the policy documents a box holds: the one in force and those
// pre-staged, in the order of their effective instants. It is replaced whole.
type Schedule struct {
	// Version grows with every published schedule.
	Version  uint64   `json:"version"`
	Policies []Policy `json:"policies"`
}

// At returns the document in force at now: the last whose effective instant is
// not after now; nil if there is none. It is safe on a nil Schedule.
func (s *Schedule) At(now time.Time) *Policy {
	if s == nil {
		return nil
	}
	for i := len(s.Policies) - 1; i >= 0; i-- {
		if !s.Policies[i].Effective.After(now) {
			return &s.Policies[i]
		}
	}
	return nil
}

// ForStation returns a copy in which every document's Mode is the station's
// own and Stations is empty. It is safe on a nil Schedule.
func (s *Schedule) ForStation(station string) *Schedule {
	if s == nil {
		return nil
	}
	own := &Schedule{Version: s.Version, Policies: slices.Clone(s.Policies)}
	for i := range own.Policies {
		p := &own.Policies[i]
		if mode, ok := p.Stations[station]; ok {
			p.Mode = mode
		}
		p.Stations = nil
	}
	return own
}

// Put adds a document, replacing one with the same effective instant. A
// document that another has superseded stays for keepSuperseded, room
// permitting, for the boxes whose clocks are behind. It returns a new schedule
// of the next version, or an error that wraps ErrPolicy.
func (s *Schedule) Put(p Policy, now time.Time) (*Schedule, error) {
	next := &Schedule{Version: 1}
	if s != nil {
		next.Version = s.Version + 1
		for _, old := range s.Policies {
			if !old.Effective.Equal(p.Effective) {
				next.Policies = append(next.Policies, old)
			}
		}
	}
	next.Policies = append(next.Policies, p)
	slices.SortFunc(next.Policies, func(a, b Policy) int { return a.Effective.Compare(b.Effective) })
	for len(next.Policies) > 1 {
		since := now.Sub(next.Policies[1].Effective)
		if since < 0 || since < keepSuperseded && len(next.Policies) <= MaxPolicies {
			break
		}
		next.Policies = next.Policies[1:]
	}
	return next, next.Validate()
}

// Validate reports every fault of the schedule at once.
func (s *Schedule) Validate() error {
	if len(s.Policies) == 0 || len(s.Policies) > MaxPolicies {
		return fmt.Errorf("%w: %d documents, not 1 … %d; wait until a pre-staged one is in force", ErrPolicy, len(s.Policies), MaxPolicies)
	}
	var faults []error
	for i := range s.Policies {
		if err := s.Policies[i].Validate(); err != nil {
			faults = append(faults, fmt.Errorf("document %d: %w", i+1, err))
		}
		if i > 0 && !s.Policies[i].Effective.After(s.Policies[i-1].Effective) {
			faults = append(faults, fmt.Errorf("%w: document %d is not after the one before", ErrPolicy, i+1))
		}
	}
	return errors.Join(faults...)
}

// EncodeSchedule returns the document as JSON.
func EncodeSchedule(s *Schedule) ([]byte, error) {
	b, err := json.Marshal(s)
	if err == nil && len(b) > MaxScheduleSize {
		err = fmt.Errorf("%w: %d bytes, at most %d", ErrPolicy, len(b), MaxScheduleSize)
	}
	return b, err
}

// DecodeSchedule reads what EncodeSchedule wrote, refuses unknown keys and
// validates. The error wraps ErrPolicy.
func DecodeSchedule(b []byte) (*Schedule, error) {
	s := new(Schedule)
	if err := decodeStrict(b, s); err != nil {
		return nil, err
	}
	return s, s.Validate()
}

// DecodePolicy reads one document as a person writes it: JSON, unknown keys
// refused, every key that is missing taken from DefaultPolicy. The error wraps
// ErrPolicy.
func DecodePolicy(b []byte) (Policy, error) {
	p := DefaultPolicy(time.Time{})
	if err := decodeStrict(b, &p); err != nil {
		return Policy{}, err
	}
	return p, p.Validate()
}

func decodeStrict(b []byte, v any) error {
	if len(b) > MaxScheduleSize {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrPolicy, len(b), MaxScheduleSize)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: there is text after the document", ErrPolicy)
	}
	return nil
}
