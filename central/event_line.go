package central

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"

	"gateline/central/rules"
	"gateline/gateway"
)

// The letter that begins an event's line.
const (
	kindBound      = 'B'
	kindMarked     = 'M'
	kindEnded      = 'U'
	kindRenumbered = 'N'
	kindMoved      = 'V'
	kindSeen       = 'L'
	kindCaseOpened = 'O'
	kindCaseClosed = 'C'
	kindReported   = 'S'
	kindMerged     = 'J'
	kindForgotten  = 'X'
	kindHelpedEver = 'H'
	kindSettled    = 'R'
	kindSchedule   = 'P'
	kindErased     = 'E'
)

// empty stands for a text that has no characters, and for nobody.
const empty = "-"

// line is an event's line being written: a letter, then fields, one blank before
// each.
type line struct{ b []byte }

func (l *line) kind(k byte)       { l.b = append(l.b, k) }
func (l *line) number(n uint64)   { l.b = strconv.AppendUint(append(l.b, ' '), n, 10) }
func (l *line) bytes(raw []byte)  { l.b = hex.AppendEncode(append(l.b, ' '), raw) }
func (l *line) flag(on bool)      { l.number(map[bool]uint64{true: 1}[on]) }
func (l *line) card(c rules.Card) { l.token(c.Token); l.number(uint64(c.Kind)) }

func (l *line) text(s string) {
	if s == "" {
		s = empty
	}
	l.b = append(append(l.b, ' '), s...)
}

func (l *line) token(t gateway.Token) {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(t))
	l.bytes(raw[:])
}

func (l *line) person(p rules.Person) {
	if p == (rules.Person{}) {
		l.text("")
		return
	}
	l.bytes(p[:])
}

func (l *line) record(r gateway.Record) {
	var raw [gateway.RecordSize]byte
	l.bytes(gateway.AppendRecord(raw[:0], r))
}

func (l *line) binding(b rules.Binding) {
	l.card(b.Card)
	l.person(b.Person)
	l.text(string(b.Medium))
	l.text(string(b.Source))
	l.flag(b.Slot)
	l.flag(b.Lamp)
	l.number(uint64(b.Since))
	l.number(uint64(b.Consent))
	l.person(b.Helper)
	l.number(uint64(b.Listing.List))
	l.number(uint64(b.Listing.Run))
	l.number(uint64(b.Listing.ValidTo))
	l.person(b.Listing.Guardian)
}

func (l *line) event(e rules.Event) error {
	switch e := e.(type) {
	case rules.Bound:
		l.kind(kindBound)
		l.binding(e.Binding)
	case rules.Marked:
		l.kind(kindMarked)
		l.binding(e.Binding)
	case rules.Ended:
		l.kind(kindEnded)
		l.token(e.Token)
	case rules.Renumbered:
		l.kind(kindRenumbered)
		l.token(e.Old)
		l.card(e.New)
	case rules.Moved:
		l.kind(kindMoved)
		l.token(e.Token)
		l.person(e.To)
	case rules.Seen:
		l.kind(kindSeen)
		l.number(uint64(e.Run))
		for _, t := range e.Tokens {
			l.token(t)
		}
	case rules.CaseOpened:
		l.kind(kindCaseOpened)
		l.text(string(e.Case.Reason))
		l.binding(e.Case.Want)
	case rules.CaseClosed:
		l.kind(kindCaseClosed)
		l.token(e.Token)
	default:
		return l.personEvent(e)
	}
	return nil
}

func (l *line) personEvent(e rules.Event) error {
	switch e := e.(type) {
	case rules.Reported:
		l.kind(kindReported)
		l.person(e.Person)
		l.record(e.Record)
		l.number(e.Revision)
	case rules.Merged:
		l.kind(kindMerged)
		l.person(e.From)
		l.person(e.Into)
	case rules.Forgotten:
		l.kind(kindForgotten)
		l.person(e.Person)
	case rules.HelpedEver:
		l.kind(kindHelpedEver)
		l.person(e.Person)
		l.number(uint64(e.Times))
	case rules.Settled:
		l.kind(kindSettled)
		l.bytes(e.Request[:])
		l.bytes(e.Print[:])
		o := e.Outcome
		l.text(string(o.Result))
		l.text(string(o.Code))
		for _, n := range []uint16{o.Bound, o.Ended, o.Conflicts, o.Rejected} {
			l.number(uint64(n))
		}
		l.flag(o.More)
	default:
		return fmt.Errorf("write an event of type %T into the ledger: this program does not know it; report it", e)
	}
	return nil
}
