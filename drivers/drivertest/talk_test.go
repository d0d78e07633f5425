package drivertest_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"gateline/drivers"
	"gateline/drivers/drivertest"
	"gateline/drivers/drivertest/gates"
	"gateline/drivers/serial"
	"gateline/gateway"
	"gateline/internal/logtest"
)

var update = flag.Bool("update", false, "write the records in testdata anew")

// patience is how long a test waits for what ought to happen at once.
const patience = 30 * time.Second

// talk is a conversation on a line.
type talk struct {
	name string
	p    drivertest.Protocol
	// gates are the addresses. A bus of several readers asks them in an order
	// that hangs on microseconds, and those a record does not hold: one there.
	gates []uint8
}

func talks() []talk {
	return []talk{
		{"direct", gates.Direct(false), []uint8{1, 5}},
		{"direct-proven", gates.Direct(true), []uint8{1, 5}},
		{"osdp-clear", gates.OSDP(false), []uint8{5}},
		{"osdp-secure", gates.OSDP(true), []uint8{5}},
	}
}

// turn is one tap of a talk, at each gate in turn; all cards are made up.
type turn struct {
	card   string // empty = unreadable
	answer gateway.Answer
}

func turns() []turn {
	answer := func(v gateway.Verdict, r gateway.Reason, open bool) gateway.Answer {
		return gateway.Answer{Verdict: v, Reason: r, Open: open, TTL: gateway.DefaultVerdictTTL}
	}
	return []turn{
		{"tunion:3104770012345678901", answer(gateway.VerdictPass, gateway.R00, true)},
		{"ride:1001000000000042", answer(gateway.VerdictRefuse, gateway.R10, false)},
		{"", answer(gateway.VerdictManual, gateway.R25, false)},
		{"chip:0123456789ABCDEF", answer(gateway.VerdictRefuse, gateway.R13, true)},
	}
}

func (n turn) credential(t *testing.T) gateway.Credential {
	t.Helper()
	if n.card == "" {
		return gateway.Credential{}
	}
	c, err := gateway.ParseCredential(n.card)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// desk is the station of a talk: it answers by the credential and keeps what it
// was asked.
type desk struct {
	answers map[gateway.Credential]gateway.Answer

	mu    sync.Mutex // guards asked
	asked []string
}

func newDesk(t *testing.T) *desk {
	d := &desk{answers: map[gateway.Credential]gateway.Answer{}}
	for _, n := range turns() {
		d.answers[n.credential(t)] = n.answer
	}
	return d
}

func (d *desk) Decide(_ time.Time, tap gateway.Tap) gateway.Answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	a, known := d.answers[tap.Credential]
	d.asked = append(d.asked, entry(tap.Gate, tap.Credential, a, known))
	return a
}

func (*desk) Lane(time.Time, uint8) gateway.Lane { return gateway.LaneAuto }

func (*desk) Answered(time.Duration, time.Duration) {}

// entry is a line of the desk's book; the answers tell the cards apart.
func entry(gate uint8, c gateway.Credential, a gateway.Answer, known bool) string {
	return fmt.Sprintf("gate %d, %v, known %v: %v %v open %v", gate, c, known, a.Verdict, a.Reason, a.Open)
}

// check compares the book with the turns of the talk.
func (d *desk) check(t *testing.T, k talk) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	var want []string
	for i, n := range turns() {
		want = append(want, entry(k.gates[i%len(k.gates)], n.credential(t), n.answer, true))
	}
	if !slices.Equal(d.asked, want) {
		t.Errorf("the station was asked\n%q\nand ought to have been asked\n%q", d.asked, want)
	}
}

// line is the box's end of a talk over a port, with the same chance each time.
func (k talk) line(t *testing.T, open func(context.Context) (drivers.Port, error), now func() time.Time, d *desk, log *logtest.Buffer) *drivers.Line {
	t.Helper()
	var all []*drivers.Gate
	for _, a := range k.gates {
		all = append(all, &drivers.Gate{Name: fmt.Sprintf("G%d", a), Address: a})
	}
	table, err := drivers.NewGateTable(all...)
	if err != nil {
		t.Fatal(err)
	}
	counters := new(drivers.Counters)
	session, err := k.p.Box(drivertest.BoxConfig{Gates: table, Counters: counters, Baud: k.p.Baud, Now: now(), Random: rand.New(rand.NewPCG(7, 1))})
	if err != nil {
		t.Fatal(err)
	}
	return drivers.NewLine(drivers.LineConfig{
		Name: k.name, Open: open, Session: session, Gates: table, Counters: counters, Station: d,
		Log: log.Logger(), Now: now, Jitter: func() float64 { return 0.5 },
	})
}

// during runs a line while do does, and meanwhile, if not nil, again and again
// until the line has ended.
func during(t *testing.T, line *drivers.Line, do, meanwhile func()) {
	t.Helper()
	if err := line.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- line.Run(ctx) }()
	defer func() {
		cancel()
		for limit := time.Now().Add(patience); meanwhile != nil && len(ended) == 0 && time.Now().Before(limit); {
			meanwhile()
		}
		select {
		case err := <-ended:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run returned %v", err)
			}
		case <-time.After(patience):
			t.Error("Run does not return")
		}
	}()
	do()
}

// terminal returns the far end of a pseudo-terminal and the name of the near
// one, which the box opens as any device.
func terminal(t *testing.T) (far *os.File, device string) {
	t.Helper()
	blocking, near, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer blocking.Close()
	// Package pty leaves its own descriptor blocking.
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	far = os.NewFile(uintptr(fd), "far end")
	t.Cleanup(func() { _, _ = far.Close(), near.Close() })
	return far, near.Name()
}

// record holds the talk over a pseudo-terminal.
func (k talk) record(t *testing.T) drivertest.Record {
	t.Helper()
	far, device := terminal(t)
	var recorder *drivertest.Recorder
	d, log := newDesk(t), new(logtest.Buffer)
	line := k.line(t, func(context.Context) (drivers.Port, error) {
		port, err := serial.Open(serial.Config{Device: device, Baud: k.p.Baud})
		if err != nil {
			return nil, err
		}
		recorder = drivertest.NewRecorder(port, time.Now, drivertest.MaxBytes)
		return recorder, nil
	}, time.Now, d, log)
	var r drivertest.Record
	f := newFarEnd(t, k, far)
	during(t, line, func() {
		f.play()
		r = recorder.Record()
	}, func() { f.step() })
	d.check(t, k)
	if log.String() != "" {
		t.Errorf("the line logs %s", log.String())
	}
	return r
}

// farEnd is the gates of a talk, in real time.
type farEnd struct {
	t     *testing.T
	port  *os.File
	gates []drivertest.Gate
	buf   [512]byte
}

func newFarEnd(t *testing.T, k talk, port *os.File) *farEnd {
	f := &farEnd{t: t, port: port}
	for _, a := range k.gates {
		c := drivertest.GateConfig{Address: a, Baud: k.p.Baud, Now: time.Now(), Random: rand.New(rand.NewPCG(9, uint64(a)))}
		f.gates = append(f.gates, k.p.Gate(c))
	}
	return f
}

// step lets the gates hear and say what there is, and returns how many signs
// they gave.
func (f *farEnd) step() (signs int) {
	f.t.Helper()
	if err := f.port.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
		f.t.Fatal(err)
	}
	n, err := f.port.Read(f.buf[:])
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		f.t.Fatal(err)
	}
	now := time.Now()
	for _, g := range f.gates {
		send, _ := g.Step(now, f.buf[:n])
		if _, err := f.port.Write(send); err != nil {
			f.t.Fatal(err)
		}
		signs += len(g.Signs())
	}
	return signs
}

// play lets the riders come, each when the one before has his answer.
func (f *farEnd) play() {
	f.t.Helper()
	limit := time.Now().Add(patience)
	step := func() int {
		if time.Now().After(limit) {
			f.t.Fatal("the riders wait too long")
		}
		return f.step()
	}
	for slices.ContainsFunc(f.gates, func(g drivertest.Gate) bool { return g.Lane(time.Now()) != gateway.LaneAuto }) {
		step()
	}
	for i, n := range turns() {
		waits := 1 // signs
		if n.answer.Open {
			waits = 2
		}
		for f.gates[i%len(f.gates)].Present(time.Now(), n.credential(f.t)); waits > 0; {
			waits -= step()
		}
	}
}

// playBack plays a record back to a line and checks that it is asked and answers
// as it did then.
func (k talk) playBack(t *testing.T, r drivertest.Record) error {
	t.Helper()
	clock := drivertest.NewClock(time.Date(2022, 5, 30, 8, 0, 0, 0, gateway.Zone))
	d, log := newDesk(t), new(logtest.Buffer)
	var port *drivertest.Playback
	line := k.line(t, func(context.Context) (drivers.Port, error) {
		if port != nil {
			return nil, errors.New("a record is played once")
		}
		port = drivertest.NewPlayback(r, clock)
		return port, nil
	}, clock.Now, d, log)
	during(t, line, func() {
		select {
		case <-port.Done():
		case <-time.After(patience):
			t.Error("the record does not come to its end")
		}
	}, nil)
	if err := port.Err(); err != nil {
		return err
	}
	d.check(t, k)
	return nil
}

func (k talk) path() string { return filepath.Join("testdata", k.name+".record") }

// A conversation over a real terminal can be recorded, and its record played
// back. With -update it becomes the one in testdata.
func TestRecord(t *testing.T) {
	for _, k := range talks() {
		t.Run(k.name, func(t *testing.T) {
			r := k.record(t)
			text, err := r.AppendText(nil)
			if err != nil {
				t.Fatal(err)
			}
			again := parse(t, string(text))
			if err := k.playBack(t, again); err != nil {
				t.Error(err)
			}
			t.Logf("%d chunks, %v", len(r.Chunks), r.Chunks[len(r.Chunks)-1].At)
			if *update && !t.Failed() {
				if err := os.WriteFile(k.path(), text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// The box says today what it said when the records in testdata were made.
func TestPlayback(t *testing.T) {
	for _, k := range talks() {
		t.Run(k.name, func(t *testing.T) {
			text, err := os.ReadFile(k.path())
			if err != nil {
				t.Fatal(err)
			}
			if err := k.playBack(t, parse(t, string(text))); err != nil {
				t.Errorf("%s: %v; if the box is meant to say something else now: go test ./drivers/drivertest -run Record -update", k.path(), err)
			}
		})
	}
}

// A record of another conversation is not taken for this one.
func TestPlaybackOfAnotherTalk(t *testing.T) {
	for _, k := range talks() {
		text, err := os.ReadFile(k.path())
		if err != nil {
			t.Fatal(err)
		}
		r := parse(t, string(text))
		last := slices.IndexFunc(r.Chunks, func(c drivertest.Chunk) bool {
			return c.Way == drivertest.Written && c.At > r.Chunks[len(r.Chunks)-1].At/2
		})
		r.Chunks[last].Data[len(r.Chunks[last].Data)-1] ^= 1
		if err := k.playBack(t, r); !errors.Is(err, drivertest.ErrPlayback) {
			t.Errorf("%s: a byte of the box's differs, and playing it back says %v", k.name, err)
		}
	}
}
