package simulator

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gateline/drivers/osdp"
	"gateline/gateway"
)

// Readers on one line, in Secure Channel and in clear, through the production
// assembly: every rider gets the sign that the model allows.
func TestReaders(t *testing.T) {
	for name, secure := range map[string]bool{"secure": true, "clear": false} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig(ScenarioRush)
			cfg.Protocol, cfg.Secure = "osdp", secure
			cfg.Gates, cfg.Cards, cfg.Taps, cfg.Seed = 4, 2000, 60, 5
			report, err := Run(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			if !report.OK() || report.Answered != cfg.Taps || report.WireUS == 0 {
				t.Errorf("%+v", report)
			}
			if report.Verdicts["pass"] == 0 || report.Reasons["R00"] == 0 {
				t.Errorf("nobody passed: %v", report.Reasons)
			}
		})
	}
}

// What a reader reads comes back as the credential that was presented.
func TestReadOf(t *testing.T) {
	if r := readOf(noCredential); r.Bits != 7 {
		t.Errorf("an unreadable medium has %d bits", r.Bits)
	}
	for i := range 20 {
		r := readOf(i)
		if bytes := (r.Bits + 7) / 8; bytes != len(r.Data) {
			t.Errorf("credential %d: %d bits in %d bytes", i, r.Bits, len(r.Data))
		}
	}
}

// A wrong sign is found out though a reader shows no reason.
func TestWrongSignIsFound(t *testing.T) {
	m := newModel(newCity(100))
	m.setPolicy(1, policyFacts{effective: time.Now().Add(-time.Hour), window: 2, fresh: time.Hour, stale: 2 * time.Hour})
	m.load(0, status{anchor: gateway.DayOf(time.Now())})
	at := gateway.Position{Epoch: 1, Number: 5, Watermark: time.Now().UnixMicro()}
	tap := tapRecord{answered: true, blind: true, sent: time.Now(), received: time.Now(), before: at, after: at}
	for verdict, right := range map[gateway.Verdict]bool{gateway.VerdictPass: true, gateway.VerdictRefuse: false, gateway.VerdictManual: false} {
		tap.got = outcome{verdict: verdict, open: verdict == gateway.VerdictPass}
		if m.right(tap) != right {
			t.Errorf("%v is taken for right: %v", verdict, !right)
		}
	}
}

// Readers hear the box only at their own speed, which is what the box has given
// to its port; at another they stay silent.
func TestReadersOtherSpeed(t *testing.T) {
	l, err := newReaders(readersConfig{n: 1, baud: 115200, turnaround: time.Millisecond, r: rand.New(rand.NewPCG(1, 1)),
		position: func() gateway.Position { return gateway.Position{} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.run(ctx) }()
	defer func() {
		cancel()
		if err := errors.Join(<-ended, l.wire.close()); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	asked := uint64(0)
	ask := func(baud uint32, frame []byte) {
		t.Helper()
		setSpeed(t, l.wire.slave, baud)
		if _, err := l.wire.slave.Write(frame); err != nil {
			t.Fatal(err)
		}
		asked++
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for limit := soon(); ; <-tick.C {
			l.mu.Lock()
			heard := l.medium.counts.Questions == asked && !l.medium.busy(soon())
			l.mu.Unlock()
			if heard {
				return
			}
			if time.Now().After(limit) {
				t.Fatalf("the line never heard question %d", asked)
			}
		}
	}
	ask(9600, poll(0, 0))
	ask(115200, osdp.AppendFrame(nil, &osdp.Frame{SQN: 0, CRC: true, Code: osdp.CmdID, Data: osdp.AppendRequest(nil)}))
	var got []byte
	buf := make([]byte, 64)
	for {
		n, err := l.wire.slave.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, buf[:n]...)
		if f, ok := frameOf(got); ok {
			if f.Code != osdp.ReplyPDID {
				t.Errorf("the first thing a reader says has code %02x", f.Code)
			}
			return
		}
	}
}

func setSpeed(t *testing.T, f *os.File, baud uint32) {
	t.Helper()
	conn, err := f.SyscallConn()
	if err == nil {
		ctl := conn.Control(func(fd uintptr) {
			var s *unix.Termios
			if s, err = unix.IoctlGetTermios(int(fd), unix.TCGETS2); err != nil {
				return
			}
			s.Cflag = s.Cflag&^unix.CBAUD | unix.BOTHER
			s.Ispeed, s.Ospeed = baud, baud
			err = unix.IoctlSetTermios(int(fd), unix.TCSETS2, s)
		})
		err = errors.Join(ctl, err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// With damaged bits on the line, an echo, or readers that are dead, nothing is
// wrong or lost.
func TestNoisyLine(t *testing.T) {
	cfg := smallReaders(ScenarioNoise)
	cfg.ErrorRate, cfg.Echo = 1e-4, true
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Answered != cfg.Taps || r.Line.Damaged == 0 || r.Line.Retries == 0 || r.Returns != 0 {
		t.Errorf("%+v", r)
	}
}

func TestDeadGate(t *testing.T) {
	cfg := smallReaders(ScenarioDeadGate)
	cfg.Dead, cfg.Seed = 2, shortCut
	r, err := Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Answered+r.Abandoned != cfg.Taps || r.Line.Unanswered == 0 {
		t.Errorf("%+v", r)
	}
	if r.Returns == 0 || r.BackMS.Max <= 0 || r.FoundMS.Max <= 0 {
		t.Errorf("%d returns, found %+v, back %+v", r.Returns, r.FoundMS, r.BackMS)
	}
}

// shortCut is a seed whose plan has a reader dark soon and not for long.
const shortCut = 148

// smallReaders is a run of some seconds.
func smallReaders(scenario string) Config {
	cfg := DefaultConfig(scenario)
	cfg.Secure, cfg.Gates, cfg.Cards, cfg.Taps, cfg.Seed = true, 6, 2000, 80, 5
	return cfg
}
