package setup

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gateline/drivers"
	"gateline/drivers/osdp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2022, 5, 30, 8, 0, 0, 0, time.UTC)

// seeded reads from a seeded source; a test repeats itself.
type seeded struct{ r *rand.Rand }

func newSeeded(seed uint64) seeded { return seeded{rand.New(rand.NewPCG(seed, 7))} }

func (s seeded) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(s.r.Uint32())
	}
	return len(b), nil
}

// errCut is the box's power going.
var errCut = errors.New("cut")

// moment is where in an exchange something happens.
type moment int

const (
	beforeReader moment = iota // a command is on its way
	afterReader                // the reader has done it, its reply is on its way
)

// wire is a half-duplex line in virtual time with readers on it. Time passes
// only while somebody reads.
type wire struct {
	t       testing.TB
	now     time.Time
	readers []*reader
	echo    bool
	// on is told each command of the box; lose = it, or its reply, is lost.
	on func(m moment, f osdp.Frame) (lose bool)

	open  *wirePort
	heard []byte // everything that went over the line, both ways
	sent  [][]byte
}

// reader is a PD on the wire.
type reader struct {
	*osdp.PD
	turn   time.Duration // until it answers
	after  time.Time     // it has power from then on
	mangle func([]byte) []byte
}

func newWire(t testing.TB, readers ...*reader) *wire {
	return &wire{t: t, now: start, readers: readers}
}

func (w *wire) bus() *Bus { return w.busOf(newSeeded(1)) }

func (w *wire) busOf(random seeded) *Bus {
	b := NewBus(Config{Open: w.openAt, Now: func() time.Time { return w.now }, Random: random})
	w.t.Cleanup(func() { _ = b.Close() })
	return b
}

func (w *wire) openAt(_ context.Context, baud int) (drivers.Port, error) {
	if w.open != nil {
		return nil, errors.New("the port is open already")
	}
	w.open = &wirePort{wire: w, baud: baud}
	return w.open, nil
}

// arrival is bytes that are whole at the box at an instant.
type arrival struct {
	at    time.Time
	bytes []byte
}

type wirePort struct {
	wire     *wire
	baud     int
	deadline time.Time
	queue    []arrival
	cut      bool
}

func (p *wirePort) SetReadDeadline(t time.Time) error { p.deadline = t; return nil }
func (p *wirePort) SetWriteDeadline(time.Time) error  { return nil }
func (p *wirePort) Close() error                      { p.wire.open = nil; return nil }

// Read returns at most three bytes at once: frames come in pieces.
func (p *wirePort) Read(b []byte) (int, error) {
	if p.cut {
		return 0, errCut
	}
	if len(p.queue) == 0 || p.queue[0].at.After(p.deadline) {
		if p.deadline.After(p.wire.now) {
			p.wire.now = p.deadline
		}
		return 0, os.ErrDeadlineExceeded
	}
	first := &p.queue[0]
	if first.at.After(p.wire.now) {
		p.wire.now = first.at
	}
	n := copy(b[:min(3, len(b))], first.bytes)
	if first.bytes = first.bytes[n:]; len(first.bytes) == 0 {
		p.queue = p.queue[1:]
	}
	return n, nil
}

func (p *wirePort) char(n int) time.Duration {
	return time.Duration(n) * 10 * time.Second / time.Duration(p.baud)
}

func (p *wirePort) Write(b []byte) (int, error) {
	w := p.wire
	if p.cut {
		return 0, errCut
	}
	w.heard = append(w.heard, b...)
	w.sent = append(w.sent, bytes.Clone(b))
	f, err := osdp.ParseFrame(bytes.TrimLeft(b, "\xff"))
	if err != nil {
		w.t.Errorf("the box sends % X: %v", b, err)
	}
	whole := w.now.Add(p.char(len(b)))
	if w.echo {
		p.queue = append(p.queue, arrival{whole, bytes.Clone(b)})
	}
	if w.on != nil && w.on(beforeReader, f) {
		return len(b), nil
	}
	for _, a := range p.answers(whole, b) {
		if w.on != nil && w.on(afterReader, f) {
			continue
		}
		p.queue = append(p.queue, a)
		w.heard = append(w.heard, a.bytes...)
	}
	slices.SortStableFunc(p.queue, func(a, b arrival) int { return a.at.Compare(b.at) })
	return len(b), nil
}

// answers returns what the readers of this speed answer; two at one instant
// spoil each other.
func (p *wirePort) answers(whole time.Time, b []byte) (all []arrival) {
	for _, r := range p.wire.readers {
		if int(r.Baud()) != p.baud || whole.Before(r.after) {
			continue
		}
		answer := bytes.Clone(r.Step(whole, b))
		if len(answer) == 0 {
			continue
		}
		if r.mangle != nil {
			answer = r.mangle(answer)
		}
		at := whole.Add(r.turn).Add(p.char(len(answer)))
		if i := slices.IndexFunc(all, func(a arrival) bool { return a.at.Equal(at) }); i >= 0 {
			for k := range all[i].bytes {
				all[i].bytes[k] &= answer[k%len(answer)] ^ 0x10
			}
			continue
		}
		all = append(all, arrival{at, answer})
	}
	return all
}

// commands returns the codes of what the box sent.
func (w *wire) commands() (codes []byte) {
	for _, b := range w.sent {
		f, _ := osdp.ParseFrame(bytes.TrimLeft(b, "\xff"))
		codes = append(codes, f.Code)
	}
	return codes
}

// underDefault reports whether a challenge, and whether a KEYSET went out under
// the default key.
func (w *wire) underDefault() (challenge, keySet bool) {
	byDefault := false
	for _, b := range w.sent {
		f, _ := osdp.ParseFrame(bytes.TrimLeft(b, "\xff"))
		switch f.Code {
		case osdp.CmdCHLNG:
			byDefault = osdp.DefaultAsked(&f)
			challenge = challenge || byDefault
		case osdp.CmdKEYSET:
			keySet = keySet || byDefault
		}
	}
	return challenge, keySet
}

var testID = osdp.PDID{OUI: [3]byte{0x00, 0x0e, 0xe3}, Model: 16, Version: 2, Serial: 4711, Firmware: [3]byte{1, 2, 3}}

// newReader is a reader of the typical kind; key nil = install mode.
func newReader(address byte, baud uint32, key *osdp.Key, quirks osdp.Quirks) *reader {
	id := testID
	id.Serial += uint32(address)
	return &reader{turn: 3 * time.Millisecond, PD: osdp.NewPD(osdp.PDConfig{
		Address: address, Baud: baud, Key: key, ID: id, Capabilities: osdp.TypicalCapabilities(), RequireSecure: true,
		Rand: newSeeded(uint64(address) + 100), Quirks: quirks,
		Maker: func(m osdp.Mfg) ([]byte, bool) {
			if len(m.Data) == 0 {
				return nil, false
			}
			return osdp.AppendMfg(nil, &m), true
		},
	})}
}

func testKey(seed uint64) *osdp.Key {
	key, err := freshKey(newSeeded(seed))
	if err != nil {
		panic(err) // cannot be: the source is not weak
	}
	return &key
}

// allQuirks are the habits that tools must live with, each alone and all at once.
func allQuirks() map[string]osdp.Quirks {
	return map[string]osdp.Quirks{
		"none":        {},
		"libosdp":     osdp.LibOSDP(),
		"always CRC":  {AlwaysCRC: true},
		"NAK held":    {SequenceNAKHeld: true},
		"keeps":       {KeepOnKeySet: true},
		"clear ACK":   {KeySetClearACK: true},
		"keeps clear": {KeepOnKeySet: true, KeySetClearACK: true},
		"busy own":    {BusyOwnSQN: true},
		"finish 12":   {Finish12: true},
		"clear NAK":   {ClearNAK: true},
		"power":       {PowerReport: true},
		"all": {
			AlwaysCRC: true, SequenceNAKHeld: true, StatusInClear: true, KeepOnKeySet: true, KeySetClearACK: true,
			BusyOwnSQN: true, Finish12: true, ClearNAK: true, OutStatus: true, PowerReport: true,
		},
	}
}
