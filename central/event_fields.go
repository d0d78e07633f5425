package central

import (
	"bytes"
	"encoding/binary"
	"math"
	"strconv"

	"gateline/central/rules"
	"gateline/gateway"
)

// fields is an event's line being read, after its letter and blank. What is
// wrong makes it bad, and every later field then is the zero value.
type fields struct {
	rest []byte
	bad  bool
	done bool // rest has been taken whole
}

// end reports whether every field was read, all were right and none is left.
func (f *fields) end() bool { return !f.bad && f.done }

func (f *fields) next() []byte {
	if f.done {
		f.bad = true
	}
	field, rest, found := bytes.Cut(f.rest, []byte{' '})
	f.rest, f.done = rest, !found
	if len(field) == 0 {
		f.bad = true
	}
	return field
}

func (f *fields) number(most uint64) uint64 {
	text := f.next()
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || n > most || len(text) > 1 && text[0] == '0' || text[0] == '+' {
		f.bad = true
		return 0
	}
	return n
}

func (f *fields) flag() bool { return f.number(1) == 1 }

func (f *fields) text() string {
	text := f.next()
	if string(text) == empty {
		return ""
	}
	return string(text)
}

func (f *fields) bytes(dst []byte) {
	if !decodeHex(dst, f.next()) {
		f.bad = true
	}
}

func (f *fields) token() gateway.Token {
	var raw [8]byte
	f.bytes(raw[:])
	return gateway.Token(binary.BigEndian.Uint64(raw[:]))
}

func (f *fields) card() rules.Card {
	return rules.Card{Token: f.token(), Kind: rules.KindCode(f.number(math.MaxUint8))}
}

func (f *fields) person() (p rules.Person) {
	text := f.next()
	if string(text) == empty {
		return p
	}
	if !decodeHex(p[:], text) || p == (rules.Person{}) {
		f.bad = true
	}
	return p
}

func (f *fields) record() gateway.Record {
	var raw [gateway.RecordSize]byte
	text := f.next()
	n := len(text) / 2
	if n > len(raw) || !decodeHex(raw[:n], text) {
		f.bad = true
		return gateway.Record{}
	}
	r, err := gateway.DecodeRecord(raw[:n])
	if err != nil {
		f.bad = true
	}
	return r
}

func (f *fields) binding() rules.Binding {
	return rules.Binding{
		Card: f.card(), Person: f.person(),
		Medium: rules.Medium(f.text()), Source: rules.Source(f.text()), Slot: f.flag(), Lamp: f.flag(),
		Since: int64(f.number(math.MaxUint32)), Consent: uint16(f.number(math.MaxUint16)), Helper: f.person(),
		Listing: rules.Listing{List: uint8(f.number(math.MaxUint8)), Run: uint32(f.number(math.MaxUint32)),
			ValidTo: gateway.Day(f.number(math.MaxInt16)), Guardian: f.person()},
	}
}

// event reads the fields that belong to a letter; nil = there is no such letter.
func (f *fields) event(kind byte) rules.Event {
	switch kind {
	case kindBound:
		return rules.Bound{Binding: f.binding()}
	case kindMarked:
		return rules.Marked{Binding: f.binding()}
	case kindEnded:
		return rules.Ended{Token: f.token()}
	case kindRenumbered:
		return rules.Renumbered{Old: f.token(), New: f.card()}
	case kindMoved:
		return rules.Moved{Token: f.token(), To: f.person()}
	case kindSeen:
		e := rules.Seen{Run: uint32(f.number(math.MaxUint32))}
		for !f.done && !f.bad {
			e.Tokens = append(e.Tokens, f.token())
		}
		return e
	case kindCaseOpened:
		return rules.CaseOpened{Case: rules.Case{Reason: rules.CaseReason(f.text()), Want: f.binding()}}
	case kindCaseClosed:
		return rules.CaseClosed{Token: f.token()}
	case kindReported:
		return rules.Reported{Person: f.person(), Record: f.record(), Revision: f.number(math.MaxUint64)}
	case kindMerged:
		return rules.Merged{From: f.person(), Into: f.person()}
	case kindForgotten:
		return rules.Forgotten{Person: f.person()}
	case kindHelpedEver:
		return rules.HelpedEver{Person: f.person(), Times: uint16(f.number(math.MaxUint16))}
	case kindSettled:
		return f.settled()
	}
	return nil
}

func (f *fields) settled() rules.Event {
	var e rules.Settled
	f.bytes(e.Request[:])
	f.bytes(e.Print[:])
	o := &e.Outcome
	o.Result, o.Code = rules.Result(f.text()), rules.Code(f.text())
	for _, n := range []*uint16{&o.Bound, &o.Ended, &o.Conflicts, &o.Rejected} {
		*n = uint16(f.number(math.MaxUint16))
	}
	o.More = f.flag()
	return e
}
