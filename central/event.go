package central

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"gateline/gateway"
)

// eventKind is the first byte of an event's line in the ledger.
type eventKind byte

const (
	eventBind     eventKind = 'B'
	eventUnbind   eventKind = 'U'
	eventStatus   eventKind = 'S'
	eventSchedule eventKind = 'P'
)

// event is something that happened: what the ledger keeps and the state is
// made of.
type event struct {
	kind     eventKind
	token    gateway.Token     // bind, unbind
	person   Person            // bind, status
	record   gateway.Record    // status
	schedule *gateway.Schedule // schedule, complete
}

// ErrLedger is wrapped by errors about what stands in the ledger. Such an
// error shows no token, person or record.
var ErrLedger = errors.New("bad ledger message")

// ledgerMagic starts every ledger message; the number is the version of its
// format, which DESIGN.md describes.
const ledgerMagic = "gateline-ledger 1"

const (
	tokenHex  = 16
	personHex = 32
)

// appendHeader starts a ledger message: magic, the centre's time in Unix
// microseconds, key check.
func appendHeader(b []byte, unixMicro int64, check keyCheck) []byte {
	return fmt.Appendf(b, "%s %d %s\n", ledgerMagic, unixMicro, check.hex())
}

// appendEvent appends an event's line.
func appendEvent(b []byte, e *event) ([]byte, error) {
	b = append(b, byte(e.kind), ' ')
	switch e.kind {
	case eventBind:
		b = appendToken(b, e.token)
		b = append(b, ' ')
		b = hex.AppendEncode(b, e.person[:])
	case eventUnbind:
		b = appendToken(b, e.token)
	case eventStatus:
		b = hex.AppendEncode(b, e.person[:])
		b = append(b, ' ')
		var record [gateway.RecordSize]byte
		b = hex.AppendEncode(b, gateway.AppendRecord(record[:0], e.record))
	case eventSchedule:
		document, err := gateway.EncodeSchedule(e.schedule)
		if err != nil {
			return b, fmt.Errorf("encode the schedule of a ledger event: %w", err)
		}
		b = append(b, document...)
	}
	return append(b, '\n'), nil
}

func appendToken(b []byte, t gateway.Token) []byte {
	var raw [8]byte
	for i := range raw {
		raw[i] = byte(t >> (56 - 8*i))
	}
	return hex.AppendEncode(b, raw[:])
}

// ledgerMessage is a decoded ledger message.
type ledgerMessage struct {
	unixMicro int64
	check     keyCheck
	events    []event
}

// decodeMessage accepts exactly what appendHeader and appendEvent write. The
// error wraps ErrLedger and names the line.
func decodeMessage(b []byte) (ledgerMessage, error) {
	var m ledgerMessage
	line, rest, ok := bytes.Cut(b, []byte{'\n'})
	if !ok || !m.decodeHeader(line) {
		return m, fmt.Errorf("%w: line 1 is not the header of a version this program knows; start the program that wrote the ledger, or a newer one", ErrLedger)
	}
	for n := 2; len(rest) > 0; n++ {
		if line, rest, ok = bytes.Cut(rest, []byte{'\n'}); !ok {
			return m, fmt.Errorf("%w: line %d is cut off", ErrLedger, n)
		}
		e, ok := decodeEvent(line)
		if !ok {
			return m, fmt.Errorf("%w: line %d", ErrLedger, n)
		}
		m.events = append(m.events, e)
	}
	return m, nil
}

func (m *ledgerMessage) decodeHeader(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte(ledgerMagic+" "))
	if !ok {
		return false
	}
	micro, check, ok := bytes.Cut(rest, []byte{' '})
	if !ok || !decodeHex(m.check[:], check) {
		return false
	}
	var err error
	m.unixMicro, err = strconv.ParseInt(string(micro), 10, 64)
	return err == nil && strconv.FormatInt(m.unixMicro, 10) == string(micro)
}

func decodeEvent(line []byte) (event, bool) {
	if len(line) < 3 || line[1] != ' ' {
		return event{}, false
	}
	e := event{kind: eventKind(line[0])}
	body := line[2:]
	switch e.kind {
	case eventBind:
		ok := len(body) == tokenHex+1+personHex && body[tokenHex] == ' ' &&
			decodeToken(&e.token, body[:tokenHex]) && decodeHex(e.person[:], body[tokenHex+1:])
		return e, ok
	case eventUnbind:
		return e, decodeToken(&e.token, body)
	case eventStatus:
		ok := len(body) > personHex && body[personHex] == ' ' &&
			decodeHex(e.person[:], body[:personHex]) && decodeRecord(&e.record, body[personHex+1:])
		return e, ok
	case eventSchedule:
		var err error
		if e.schedule, err = gateway.DecodeSchedule(body); err != nil {
			return event{}, false
		}
		again, err := gateway.EncodeSchedule(e.schedule)
		return e, err == nil && bytes.Equal(again, body)
	}
	return event{}, false
}

func decodeToken(t *gateway.Token, text []byte) bool {
	var raw [8]byte
	if !decodeHex(raw[:], text) {
		return false
	}
	for _, b := range raw {
		*t = *t<<8 | gateway.Token(b)
	}
	return true
}

func decodeRecord(r *gateway.Record, text []byte) bool {
	var raw [gateway.RecordSize]byte
	n := len(text) / 2
	if n > len(raw) || !decodeHex(raw[:n], text) {
		return false
	}
	var err error
	*r, err = gateway.DecodeRecord(raw[:n])
	return err == nil
}

// decodeHex fills dst from lower-case hexadecimal digits, exactly.
func decodeHex(dst, text []byte) bool {
	if len(text) != hex.EncodedLen(len(dst)) || bytes.ContainsAny(text, "ABCDEF") {
		return false
	}
	_, err := hex.Decode(dst, text)
	return err == nil
}
