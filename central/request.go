package central

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"gateline/central/rules"
	"gateline/gateway"
)

// Service and subjects of the ops service. DESIGN.md shows a request and a
// reply of each.
const (
	ServiceName    = "gateline-ops"
	ServiceVersion = "1.0.0"

	SubjectCardBind     = "gateline.ops.card.bind"
	SubjectCardUnbind   = "gateline.ops.card.unbind"
	SubjectPersonReport = "gateline.ops.person.report"
	SubjectImport       = "gateline.ops.import"
	SubjectPolicySet    = "gateline.ops.policy.set"
	SubjectPolicyGet    = "gateline.ops.policy.get"
	SubjectStationMode  = "gateline.ops.station.mode"
	SubjectFeedRotate   = "gateline.ops.feed.rotate"
	SubjectStats        = "gateline.ops.stats"
	SubjectRulesGet     = "gateline.ops.rules.get"
)

// Largest requests in bytes.
const (
	maxSmallRequest  = 4 << 10
	maxImportRequest = 768 << 10
)

// Status is a person's status as requests carry it.
type Status struct {
	// Class is normal, popup, yellow or red; empty = no status is reported.
	Class string `json:"class,omitempty"`
	// Anchor is the anchor day, such as 2022-05-28; empty = no test on record.
	Anchor string `json:"anchor,omitempty"`
	// Minute is the minute of the anchor day at which the sample was taken, 0
	// … 1439. It is for policies that count rolling hours.
	Minute int `json:"minute,omitempty"`
	// HoldThrough is the last day on which a pending result keeps the status
	// valid (IMP-15); empty = none.
	HoldThrough string `json:"hold_through,omitempty"`
}

// StatusOf returns the status that makes a record, whatever its flags.
func StatusOf(r gateway.Record) Status {
	s := Status{Class: r.Class.String(), Minute: int(r.AnchorMinute)}
	if r.Anchor != 0 {
		s.Anchor = r.Anchor.String()
	}
	if r.HoldThrough != 0 {
		s.HoldThrough = r.HoldThrough.String()
	}
	return s
}

// Format hides the status, whatever the verb.
func (s Status) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "status:hidden") }

// Row binds a credential to a person, reports the person's status, or both.
// Every fmt verb hides it.
type Row struct {
	// Credential is in the text form of gateway.ParseCredential; empty = only
	// the status is reported.
	Credential string `json:"credential,omitempty"`
	// Person is an opaque id, 1 to 64 of A-Z, a-z, 0-9, '_', '.', '-'.
	Person string `json:"person"`
	Status
}

// Format hides the row, whatever the verb.
func (r Row) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "row:hidden") }

// Stats are counts of the centre's state.
type Stats struct {
	Epoch           uint64 `json:"epoch"`            // of the feed
	Key             string `json:"key"`              // public, with which the feed's next entry is signed
	Ledger          uint64 `json:"ledger"`           // messages in the ledger
	Credentials     int    `json:"credentials"`      // bound ones = records on a box
	Persons         int    `json:"persons"`          // with at least one credential (TIME-04)
	ScheduleVersion uint64 `json:"schedule_version"` // 0 = no policy set yet
}

type (
	bindRequest struct {
		Credential string `json:"credential"`
		Person     string `json:"person"`
	}
	unbindRequest struct {
		Credential string  `json:"credential"`
		Person     *string `json:"person,omitempty"`
	}
	reportRequest struct {
		Person string `json:"person"`
		Status
	}
	importRequest struct {
		Rows []Row `json:"rows"`
	}
	stationRequest struct {
		Station string    `json:"station"`
		Mode    string    `json:"mode"`
		From    time.Time `json:"from,omitzero"`
	}
	rotateRequest struct {
		Key string `json:"key"`
	}
	emptyRequest struct{}
)

// ModeDefault as a station's mode takes its own mode away: the document's
// applies again.
const ModeDefault = "default"

// decodeRequest reads one JSON object strictly. The refusal never quotes what
// was sent: it might be a number.
func decodeRequest(data []byte, limit int, fields string, into any) *Refusal {
	if len(data) > limit {
		return refuse(CodeMalformed, "the request has %d bytes, at most %d", len(data), limit)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return refuse(CodeMalformed, "there is text after the JSON object")
		}
		return nil
	case errors.As(err, &syntax), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return refuse(CodeMalformed, "the request is not a JSON object, or is cut off; its fields: %s", fields)
	case errors.As(err, &kind) && kind.Field == "":
		return refuse(CodeMalformed, "the request is not a JSON object; its fields: %s", fields)
	case errors.As(err, &kind):
		return refuse(CodeMalformed, "field %q has a value of the wrong type", kind.Field[strings.LastIndexByte(kind.Field, '.')+1:])
	}
	return refuse(CodeMalformed, "there is an unknown field or a value that cannot be read; the fields: %s", fields)
}

// byOps makes commands one request of the operator's own staff, who vouch for
// identity and consent.
func byOps(commands []rules.Command, refusal *Refusal) (command, *Refusal) {
	switch {
	case refusal != nil:
		return nil, refusal
	case len(commands) == 1:
		return registryCommand{Channel: rules.ChannelOps, Command: commands[0]}, nil
	}
	return registryCommand{Channel: rules.ChannelOps, Command: rules.Several(commands)}, nil
}

func parseBind(d *door, data []byte) (command, *Refusal) {
	var q bindRequest
	if refusal := decodeRequest(data, maxSmallRequest, "credential, person", &q); refusal != nil {
		return nil, refusal
	}
	return byOps(d.rows([]Row{{Credential: q.Credential, Person: q.Person}}, needBind))
}

func parseReport(d *door, data []byte) (command, *Refusal) {
	var q reportRequest
	if refusal := decodeRequest(data, maxSmallRequest, "person, class, anchor, minute, hold_through", &q); refusal != nil {
		return nil, refusal
	}
	return byOps(d.rows([]Row{{Person: q.Person, Status: q.Status}}, needReport))
}

func parseImport(d *door, data []byte) (command, *Refusal) {
	var q importRequest
	if refusal := decodeRequest(data, maxImportRequest, "rows; of a row: credential, person, class, anchor, minute, hold_through", &q); refusal != nil {
		return nil, refusal
	}
	if len(q.Rows) == 0 || len(q.Rows) > gateway.MaxChanges {
		return nil, refuse(CodeMalformed, "%d rows, not 1 … %d; split the import", len(q.Rows), gateway.MaxChanges)
	}
	return byOps(d.rows(q.Rows, needEither))
}

func parseUnbind(d *door, data []byte) (command, *Refusal) {
	var q unbindRequest
	if refusal := decodeRequest(data, maxSmallRequest, "credential, person", &q); refusal != nil {
		return nil, refusal
	}
	card, refusal := d.card(q.Credential)
	if refusal != nil {
		return nil, refusal
	}
	c := rules.Unbind{Token: card.Token, Identified: true}
	if q.Person != nil {
		if c.By, refusal = d.person(*q.Person); refusal != nil {
			return nil, refusal
		}
	}
	return byOps([]rules.Command{c}, nil)
}

func parsePolicy(_ *door, data []byte) (command, *Refusal) {
	p, err := gateway.DecodePolicy(data)
	if err != nil {
		return nil, refuse(CodeBadPolicy, "%s", hideNumbers(err.Error()))
	}
	return policyCommand{policy: p}, nil
}

func parseStation(_ *door, data []byte) (command, *Refusal) {
	var q stationRequest
	if refusal := decodeRequest(data, maxSmallRequest, "station, mode, from (an instant such as 2022-06-06T00:00:00+08:00)", &q); refusal != nil {
		return nil, refusal
	}
	if err := gateway.ValidStation(q.Station); err != nil {
		return nil, refuse(CodeMalformed, "station: %v", err)
	}
	c := stationCommand{station: q.Station, from: q.From}
	if q.Mode != ModeDefault && c.mode.UnmarshalText([]byte(q.Mode)) != nil {
		return nil, refuse(CodeMalformed, "mode: not one of off, observe, advisory, enforce, %s", ModeDefault)
	}
	return c, nil
}

func parseRotate(_ *door, data []byte) (command, *Refusal) {
	var q rotateRequest
	if refusal := decodeRequest(data, maxSmallRequest, "key", &q); refusal != nil {
		return nil, refusal
	}
	key, err := gateway.ParseFeedKey(q.Key)
	if err != nil {
		return nil, refuse(CodeMalformed, "key: %v", err)
	}
	return rotateCommand{key: key}, nil
}

func parsePolicyGet(_ *door, data []byte) (command, *Refusal) {
	return readPolicy{}, decodeEmpty(data)
}

func parseStats(_ *door, data []byte) (command, *Refusal) {
	return readStats{}, decodeEmpty(data)
}

func decodeEmpty(data []byte) *Refusal {
	if len(data) == 0 {
		return nil
	}
	return decodeRequest(data, maxSmallRequest, "none", &emptyRequest{})
}

// need says which parts a row must have.
type need uint8

const (
	needEither need = iota
	needBind
	needReport
)

// rows returns one command a row. A status comes before its binding, so that a box
// never sees a fresh binding of a person whose status it is about to learn.
func (d *door) rows(rows []Row, n need) ([]rules.Command, *Refusal) {
	commands := make([]rules.Command, 0, len(rows))
	for i := range rows {
		row, refusal := d.row(&rows[i], n)
		if refusal != nil {
			return nil, inRow(refusal, i, len(rows))
		}
		commands = append(commands, row)
	}
	return commands, nil
}

func (d *door) row(in *Row, n need) (rules.Command, *Refusal) {
	bind, report := n == needBind || in.Credential != "", n == needReport || in.Status != Status{}
	if !bind && !report {
		return nil, refuse(CodeMalformed, "a row has a credential, a class or both; this one has neither")
	}
	person, refusal := d.person(in.Person)
	if refusal != nil {
		return nil, refusal
	}
	var commands rules.Several
	if report {
		record, refusal := in.record()
		if refusal != nil {
			return nil, refusal
		}
		commands = append(commands, rules.Report{Person: person, Class: record.Class, Anchor: record.Anchor,
			Minute: record.AnchorMinute, HoldThrough: record.HoldThrough})
	}
	if bind {
		card, refusal := d.card(in.Credential)
		if refusal != nil {
			return nil, refusal
		}
		commands = append(commands, d.bind(card, person))
	}
	if len(commands) == 1 {
		return commands[0], nil
	}
	return commands, nil
}

// bind is an upgrade by the operator's own staff.
func (d *door) bind(card rules.Card, person Person) rules.Command {
	if d.medium(card) == rules.MediumRide {
		return rules.Authorise{Account: card, Person: person, Identified: true, Consent: d.consent()}
	}
	return rules.Upgrade{Card: card, Person: person, Identified: true, Consent: d.consent()}
}

// record reads a status.
func (s Status) record() (gateway.Record, *Refusal) {
	var r gateway.Record
	var err error
	if r.Class, err = gateway.ParseClass(s.Class); err != nil {
		return r, refuse(CodeMalformed, "class: not one of normal, popup, yellow, red")
	}
	var okAnchor, okHold bool
	r.Anchor, okAnchor = parseDay(s.Anchor)
	r.HoldThrough, okHold = parseDay(s.HoldThrough)
	switch {
	case !okAnchor:
		return r, refuse(CodeMalformed, "anchor: not a day such as 2022-05-28 between 1970-01-02 and 2059-09-18")
	case !okHold:
		return r, refuse(CodeMalformed, "hold_through: not a day such as 2022-05-28 between 1970-01-02 and 2059-09-18")
	case s.Minute < 0 || s.Minute >= 24*60 || s.Minute > 0 && r.Anchor == 0:
		return r, refuse(CodeMalformed, "minute: not 0 … 1439 of an anchor day")
	}
	r.AnchorMinute = uint16(s.Minute)
	return r, nil
}

// parseDay reads a calendar day; an empty text is none.
func parseDay(text string) (gateway.Day, bool) {
	if text == "" {
		return 0, true
	}
	t, err := time.ParseInLocation(time.DateOnly, text, gateway.Zone)
	if err != nil {
		return 0, false
	}
	day := gateway.DayOf(t)
	return day, day != 0
}
