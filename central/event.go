package central

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"gateline/central/rules"
	"gateline/gateway"
)

// event is something that happened: what the ledger keeps and the state is made
// of. It is one of the registry's, or else a new schedule, complete, or else the end:
// everything of the registry is erased, by an order of that instant in Unix microseconds,
// and the schedule stays (IMP-10).
type event struct {
	registry rules.Event
	schedule *gateway.Schedule
	erased   int64
}

// ErrLedger is wrapped by errors about what stands in the ledger. Such an
// error shows no token, person or record.
var ErrLedger = errors.New("bad ledger message")

// ledgerMagic starts every ledger message; the number is the version of its
// format, which DESIGN.md describes.
const ledgerMagic = "gateline-ledger 2"

// appendHeader starts a ledger message: magic, the centre's time in Unix
// microseconds, key check; and, in a message of a snapshot, the number of the
// snapshot's last message, else 0.
func appendHeader(b []byte, unixMicro int64, check keyCheck, snapshotEnd uint64) []byte {
	b = fmt.Appendf(b, "%s %d %s", ledgerMagic, unixMicro, check.hex())
	if snapshotEnd > 0 {
		b = strconv.AppendUint(append(b, ' '), snapshotEnd, 10)
	}
	return append(b, '\n')
}

// appendEvent appends an event's line.
func appendEvent(b []byte, e *event) ([]byte, error) {
	if e.registry != nil {
		l := line{b: b}
		if err := l.event(e.registry); err != nil {
			return b, err
		}
		return append(l.b, '\n'), nil
	}
	if e.erased != 0 {
		return appendErased(b, e.erased)
	}
	document, err := gateway.EncodeSchedule(e.schedule)
	if err != nil {
		return b, fmt.Errorf("encode the schedule of a ledger event: %w", err)
	}
	b = append(b, kindSchedule, ' ')
	b = append(b, document...)
	return append(b, '\n'), nil
}

// ledgerMessage is a decoded ledger message.
type ledgerMessage struct {
	unixMicro int64
	check     keyCheck
	// snapshotEnd is the number of the last message of the snapshot that this one is
	// part of; 0 = it is part of none.
	snapshotEnd uint64
	events      []event
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
		if len(m.events) > 1 && (e.erased != 0 || m.events[0].erased != 0) {
			return m, fmt.Errorf("%w: line %d: an end has a message of its own", ErrLedger, n)
		}
	}
	return m, nil
}

func (m *ledgerMessage) decodeHeader(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte(ledgerMagic+" "))
	if !ok {
		return false
	}
	micro, check, ok := bytes.Cut(rest, []byte{' '})
	if !ok {
		return false
	}
	check, end, snapshot := bytes.Cut(check, []byte{' '})
	if !decodeHex(m.check[:], check) {
		return false
	}
	var err error
	if m.unixMicro, err = strconv.ParseInt(string(micro), 10, 64); err != nil || strconv.FormatInt(m.unixMicro, 10) != string(micro) {
		return false
	}
	if !snapshot {
		return true
	}
	m.snapshotEnd, err = strconv.ParseUint(string(end), 10, 64)
	return err == nil && m.snapshotEnd > 0 && strconv.FormatUint(m.snapshotEnd, 10) == string(end)
}

func decodeEvent(text []byte) (event, bool) {
	if len(text) < 2 || text[1] != ' ' {
		return event{}, false
	}
	if text[0] == kindSchedule {
		schedule, err := gateway.DecodeSchedule(text[2:])
		if err != nil {
			return event{}, false
		}
		again, err := gateway.EncodeSchedule(schedule)
		return event{schedule: schedule}, err == nil && bytes.Equal(again, text[2:])
	}
	if text[0] == kindErased {
		return readErased(text[2:])
	}
	f := fields{rest: text[2:]}
	e := f.event(text[0])
	return event{registry: e}, e != nil && f.end()
}

// decodeHex fills dst from lower-case hexadecimal digits, exactly.
func decodeHex(dst, text []byte) bool {
	if len(text) != hex.EncodedLen(len(dst)) || bytes.ContainsAny(text, "ABCDEF") {
		return false
	}
	_, err := hex.Decode(dst, text)
	return err == nil
}
