package osdp

import (
	"fmt"
	"time"
)

const (
	// MaxEvents is how many reports a PD keeps for the CP's POLLs; of more, the
	// oldest is lost.
	MaxEvents = 16
	// MaxReadAge is how long a card read or keys wait for the CP: somebody who
	// has gone on must not open the gate for the next one.
	MaxReadAge = 2 * time.Second
	// MaxReport is the longest data of a report in bytes.
	MaxReport = 512
)

// Present lays a card on the reader. The read waits until the CP has
// acknowledged it, at most MaxReadAge.
func (p *PD) Present(now time.Time, read Read) {
	p.Report(now, ReplyRAW, AppendRead(nil, &read))
}

// KeyPress types on the keypad; keys are as in Keypad, '*' and '#' among them.
func (p *PD) KeyPress(now time.Time, keys string) {
	k := Keypad{Keys: []byte(keys)}
	for i, c := range k.Keys {
		switch c {
		case '*':
			k.Keys[i] = KeyClear
		case '#':
			k.Keys[i] = KeyEnter
		}
	}
	p.Report(now, ReplyKEYPAD, AppendKeypad(nil, &k))
}

// Tamper opens or closes the PD's case.
func (p *PD) Tamper(now time.Time, open bool) {
	p.status.Tamper = open
	p.Report(now, ReplyLSTATR, AppendLocalStatus(nil, p.status))
}

// Input sets an input, which must be one of the PD's.
func (p *PD) Input(now time.Time, number int, state byte) {
	p.inputs[number] = state
	p.Report(now, ReplyISTATR, append([]byte(nil), p.inputs...))
}

// Report queues any reply as a report for a POLL. The PD keeps data. More than
// MaxReport bytes are the caller's fault and panic.
func (p *PD) Report(now time.Time, code byte, data []byte) {
	if len(data) > MaxReport {
		panic(fmt.Sprintf("osdp: a report of %d bytes; the longest has %d", len(data), MaxReport))
	}
	p.events.add(event{at: now, code: code, data: data})
}

type event struct {
	at   time.Time
	code byte
	data []byte
}

func (e *event) stale(now time.Time) bool {
	return (e.code == ReplyRAW || e.code == ReplyFMT || e.code == ReplyKEYPAD) && now.Sub(e.at) > MaxReadAge
}

// events holds reports, oldest first.
type events struct {
	list []event
	held bool // the first has been sent and is not acknowledged yet
}

func (q *events) add(e event) {
	if len(q.list) == MaxEvents {
		q.drop()
	}
	q.list = append(q.list, e)
}

func (q *events) drop() {
	n := copy(q.list, q.list[1:])
	q.list[n] = event{} // forget the card
	q.list, q.held = q.list[:n], false
}

// next returns the report to send and holds it until it is acknowledged.
func (q *events) next(now time.Time) (code byte, data []byte, ok bool) {
	for len(q.list) > 0 && q.list[0].stale(now) {
		q.drop()
	}
	if len(q.list) == 0 {
		return 0, nil, false
	}
	q.held = true
	return q.list[0].code, q.list[0].data, true
}

// acknowledge forgets the report that was sent last.
func (q *events) acknowledge() {
	if q.held {
		q.drop()
	}
}

// release keeps the report that was sent last for the next POLL.
func (q *events) release() { q.held = false }
