package serial

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// result is what a Read or Write returned.
type result struct {
	n   int
	err error
}

// within returns what f returns, and fails the test if that takes long.
func within(t *testing.T, what string, f func() result) result {
	t.Helper()
	done := start(f)
	return await(t, what, done)
}

func start(f func() result) <-chan result {
	done := make(chan result, 1)
	go func() { done <- f() }()
	return done
}

func await(t *testing.T, what string, done <-chan result) result {
	t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(patience):
		t.Fatalf("%s did not return within %v", what, patience)
		return result{}
	}
}

func TestEveryByteValuePassesUnchanged(t *testing.T) {
	master, slave := newPTY(t)
	port := openPort(t, slave.Name())
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for _, way := range []struct {
		name string
		from io.Writer
		to   io.Reader
	}{{"out", port, master}, {"in", master, port}} {
		t.Run(way.name, func(t *testing.T) {
			got := make([]byte, len(all))
			if _, err := way.from.Write(all); err != nil {
				t.Fatal(err)
			}
			r := within(t, "the read", func() result {
				n, err := io.ReadFull(way.to, got)
				return result{n, err}
			})
			if r.err != nil || !bytes.Equal(got, all) {
				t.Fatalf("got %d bytes, %v: % x", r.n, r.err, got[:r.n])
			}
		})
	}
}

// TestMuchPassesThroughASmallBuffer fills the kernel's buffer again and again,
// so that a wake-up lost between driver and poller would show as a stall.
func TestMuchPassesThroughASmallBuffer(t *testing.T) {
	master, slave := newPTY(t)
	port := openPort(t, slave.Name())
	sent := make([]byte, 512<<10)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(sent)
	written := start(func() result {
		n, err := port.Write(sent)
		return result{n, err}
	})
	got := make([]byte, len(sent))
	read := within(t, "the peer's read", func() result {
		n, err := io.ReadFull(master, got)
		return result{n, err}
	})
	if r := await(t, "Write", written); r.err != nil || r.n != len(sent) {
		t.Fatalf("wrote %d of %d bytes: %v", r.n, len(sent), r.err)
	}
	if read.err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("the bytes changed on the way: %d, %v", read.n, read.err)
	}
}

func TestReadDeadline(t *testing.T) {
	master, slave := newPTY(t)
	port := openPort(t, slave.Name())
	const wait = 30 * time.Millisecond
	begin := time.Now()
	if err := port.SetReadDeadline(begin.Add(wait)); err != nil {
		t.Fatal(err)
	}
	r := within(t, "Read", func() result {
		n, err := port.Read(make([]byte, 8))
		return result{n, err}
	})
	if took := time.Since(begin); r.n != 0 || !errors.Is(r.err, os.ErrDeadlineExceeded) || took < wait {
		t.Fatalf("Read returned %d, %v after %v", r.n, r.err, took)
	}
	// The port is as good as before.
	if err := port.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := master.Write([]byte{0x42}); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 8)
	r = within(t, "Read", func() result {
		n, err := port.Read(buffer)
		return result{n, err}
	})
	if r.n != 1 || r.err != nil || buffer[0] != 0x42 {
		t.Fatalf("after a timeout Read returned %d, %v", r.n, r.err)
	}
}

func TestWriteDeadlineWhenThePeerDoesNotRead(t *testing.T) {
	master, slave := newPTY(t)
	port := openPort(t, slave.Name())
	if err := port.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	much := bytes.Repeat([]byte{0x55}, 1<<20)
	r := within(t, "Write", func() result {
		n, err := port.Write(much)
		return result{n, err}
	})
	if !errors.Is(r.err, os.ErrDeadlineExceeded) || r.n <= 0 || r.n >= len(much) {
		t.Fatalf("Write took %d of %d bytes: %v", r.n, len(much), r.err)
	}
	// What it said it took is there, neither more nor less.
	got := within(t, "the peer's read", func() result {
		n, err := io.ReadFull(master, make([]byte, r.n))
		return result{n, err}
	})
	if got.err != nil {
		t.Fatal(got.err)
	}
	if err := master.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := master.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d bytes more than Write counted (%v)", n, err)
	}
}

func TestCloseFreesAPendingCall(t *testing.T) {
	calls := map[string]func(*Port) result{
		"Read": func(p *Port) result {
			n, err := p.Read(make([]byte, 8))
			return result{n, err}
		},
		"Write": func(p *Port) result {
			n, err := p.Write(make([]byte, 1<<20))
			return result{n, err}
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			master, slave := newPTY(t)
			port := openPort(t, slave.Name())
			begun := make(chan struct{})
			pending := start(func() result {
				close(begun)
				return call(port)
			})
			<-begun
			if name == "Write" {
				// The buffer holds something: the call is under way.
				if _, err := master.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			}
			closed := within(t, "Close", func() result { return result{0, port.Close()} })
			if closed.err != nil {
				t.Fatal(closed.err)
			}
			if r := await(t, name, pending); !errors.Is(r.err, os.ErrClosed) {
				t.Fatalf("%s returned %d, %v", name, r.n, r.err)
			}
			if err := port.Close(); err != nil {
				t.Fatalf("the second Close: %v", err)
			}
			if _, err := port.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
				t.Fatalf("Read after Close: %v", err)
			}
			if _, ok := port.Errors(); ok {
				t.Fatal("a closed port has counters")
			}
		})
	}
}

func TestHangUpIsGoneAndNotATimeout(t *testing.T) {
	master, slave := newPTY(t)
	port := openPort(t, slave.Name())
	pending := start(func() result {
		n, err := port.Read(make([]byte, 8))
		return result{n, err}
	})
	if err := master.Close(); err != nil {
		t.Fatal(err)
	}
	if r := await(t, "Read", pending); !errors.Is(r.err, ErrGone) {
		t.Fatalf("the pending Read returned %d, %v", r.n, r.err)
	}
	if _, err := port.Read(make([]byte, 8)); !errors.Is(err, ErrGone) {
		t.Fatalf("a later Read: %v", err)
	}
	if _, err := port.Write([]byte{1}); !errors.Is(err, ErrGone) {
		t.Fatalf("a later Write: %v", err)
	}
	if err := port.Close(); err != nil {
		t.Fatalf("Close of a port that is gone: %v", err)
	}
}

// TestForeignSettingsAreAnErrorAndNoSpin has another program set the line so
// that a read returns nothing, which a plain loop would take for a timeout.
func TestForeignSettingsAreAnErrorAndNoSpin(t *testing.T) {
	_, slave := newPTY(t)
	port := openPort(t, slave.Name())
	setVMIN(t, slave, 0)
	r := within(t, "Read", func() result {
		n, err := port.Read(make([]byte, 8))
		return result{n, err}
	})
	if r.err == nil || errors.Is(r.err, ErrGone) || errors.Is(r.err, io.EOF) {
		t.Fatalf("Read returned %d, %v", r.n, r.err)
	}
}

func BenchmarkRoundTrip(b *testing.B) {
	master, slave := newPTY(b)
	port, err := Open(Config{Device: slave.Name(), Baud: 115200})
	if err != nil {
		b.Fatal(err)
	}
	echoed := start(func() result {
		_, err := io.Copy(master, master)
		return result{0, err}
	})
	frame, got := make([]byte, 20), make([]byte, 20)
	b.ReportAllocs()
	for b.Loop() {
		if err := port.SetReadDeadline(time.Now().Add(patience)); err != nil {
			b.Fatal(err)
		}
		if _, err := port.Write(frame); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(port, got); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(port.Close(), slave.Close(), master.Close()); err != nil {
		b.Fatal(err)
	}
	<-echoed
}
