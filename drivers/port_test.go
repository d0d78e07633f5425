package drivers_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"gateline/drivers"
	"gateline/drivers/direct"
	"gateline/drivers/serial"
	"gateline/gateway"
)

// terminal is a pseudo-terminal whose slave plays the serial device; its path
// stands behind a name that stays, as a udev rule makes one.
type terminal struct{ master, slave *os.File }

func plug(t *testing.T, name string) *terminal {
	t.Helper()
	blocking, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer blocking.Close()
	// Package pty leaves its own descriptor blocking.
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err == nil {
		err = os.Symlink(slave.Name(), name)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := &terminal{master: os.NewFile(uintptr(fd), "master"), slave: slave}
	t.Cleanup(func() { p.unplug(t, name) })
	return p
}

// unplug pulls the plug: the device hangs up and its name is gone.
func (p *terminal) unplug(t *testing.T, name string) {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	_ = p.master.Close()
	_ = p.slave.Close()
}

// conn is where a gate stands.
type conn interface {
	Read([]byte) (int, error)
	Write([]byte) (int, error)
	SetReadDeadline(time.Time) error
}

// tap lets a gate ask over c until it has its answer.
func tap(t *testing.T, c conn, g *direct.Gate, credential gateway.Credential) gateway.Answer {
	t.Helper()
	number := g.Tap(time.Now(), gateway.PurposeEntry, credential)
	var buf [256]byte
	var in []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		result, send, wake := g.Step(time.Now(), in)
		if result != nil && result.Number == number {
			if result.Answered {
				return result.Answer
			}
			number = g.Tap(time.Now(), gateway.PurposeEntry, credential) // a slow machine
			continue
		}
		if len(send) > 0 {
			if _, err := c.Write(send); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.SetReadDeadline(wake); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(buf[:])
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		in = buf[:n]
	}
	t.Fatal("no answer")
	return gateway.Answer{}
}

// directLine is a line with one gate of address 7 that speaks direct.
func directLine(t *testing.T, open func(context.Context) (drivers.Port, error), log *logBuffer) (*drivers.Line, *desk) {
	t.Helper()
	gate := &drivers.Gate{Name: "N1", Address: 7}
	table, err := drivers.NewGateTable(gate)
	if err != nil {
		t.Fatal(err)
	}
	counters, station := new(drivers.Counters), new(desk)
	return drivers.NewLine(drivers.LineConfig{
		Name: "north", Open: open, Gates: table, Counters: counters, Station: station, Log: log.logger(), Now: time.Now,
		Session: direct.NewBox(direct.BoxConfig{Gates: table, Counters: counters}),
	}), station
}

func card(t *testing.T) gateway.Credential {
	t.Helper()
	c, err := gateway.ParseCredential("tunion:3104770012345678901")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Over a real tty: a tap is answered, the plug is pulled, another device of the
// same name comes, and taps are answered again.
func TestSerialLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "gate-north")
	first := plug(t, name)
	log := new(logBuffer)
	line, station := directLine(t, func(context.Context) (drivers.Port, error) {
		return serial.Open(serial.Config{Device: name, Baud: 115200})
	}, log)
	if err := line.Open(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := run(t, line)
	gate := direct.NewGate(time.Now(), 7, nil, 0)
	if a := tap(t, first.master, gate, card(t)); a.Verdict != gateway.VerdictPass || !a.Open {
		t.Errorf("answered %+v", a)
	}
	if _, err := first.master.Write([]byte("\x00garbage\x00half")); err != nil {
		t.Fatal(err)
	}
	tap(t, first.master, gate, card(t))
	if line.Counters().Noise.Load() == 0 || line.Gates().At(7).Heard().IsZero() {
		t.Error("garbage is not counted, or the gate not heard")
	}
	first.unplug(t, name)
	until(t, "the loss is noticed", func() bool { return !line.Up() })
	until(t, "it has been tried again", func() bool { return len(log.lines("cannot be opened")) > 0 })
	second := plug(t, name)
	until(t, "the line is up again", line.Up)
	tap(t, second.master, gate, card(t))
	r.stop()
	if taps, _ := station.counts(); taps < 3 {
		t.Errorf("%d taps", taps)
	}
	if len(log.lines("line lost")) != 1 || len(log.lines("line is up")) != 1 || len(log.lines("3104770")) != 0 {
		t.Errorf("the log is %q", log.lines(""))
	}
}

// Over TCP to a device server that cuts the connection, and with a box clock
// that is not the machine's.
func TestTCPLine(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	accept := func() net.Conn {
		c, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	log := new(logBuffer)
	gate := &drivers.Gate{Name: "N1", Address: 7}
	table, err := drivers.NewGateTable(gate)
	if err != nil {
		t.Fatal(err)
	}
	counters := new(drivers.Counters)
	line := drivers.NewLine(drivers.LineConfig{
		Name: "north", Open: drivers.DialTCP(server.Addr().String()), IdleLimit: drivers.TCPIdleLimit,
		Gates: table, Counters: counters, Station: new(desk), Log: log.logger(),
		Now:     func() time.Time { return time.Now().AddDate(-4, 0, 0) },
		Session: direct.NewBox(direct.BoxConfig{Gates: table, Counters: counters}),
	})
	r := run(t, line)
	device := direct.NewGate(time.Now(), 7, nil, 0)
	c := accept()
	tap(t, c, device, card(t))
	_ = c.Close()
	tap(t, accept(), device, card(t))
	r.stop()
	if counters.PortErrors.Load() != 1 || len(log.lines("line lost")) != 1 {
		t.Errorf("%d losses, log %q", counters.PortErrors.Load(), log.lines(""))
	}
}

func TestDialTCPErrors(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := server.Addr().String()
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = drivers.DialTCP(address)(t.Context())
	if err == nil || !strings.Contains(err.Error(), address) || !strings.Contains(err.Error(), "raw TCP server mode") {
		t.Errorf("nobody there: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := drivers.DialTCP(address)(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}
