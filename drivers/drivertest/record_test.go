package drivertest_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"gateline/drivers/drivertest"
)

const head = "gateline line record 1; credentials in clear: test cards only\n"

func parse(t *testing.T, text string) drivertest.Record {
	t.Helper()
	r, err := drivertest.ParseRecord(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRecordIsParsedStrictly(t *testing.T) {
	good := head + "0.000000 > 01\n0.000001 < FF00\n12.500000 .\ncut\n"
	r := parse(t, good)
	if len(r.Chunks) != 3 || !r.Cut || r.Chunks[0].Way != drivertest.Written || r.Chunks[1].Way != drivertest.Read || r.Chunks[2].Way != drivertest.Waited || r.Chunks[2].At != 12500*time.Millisecond {
		t.Errorf("read as %v", r)
	}
	if text := fmt.Sprintf("%v %+v %s %x", r, r, r.Chunks, r.Chunks[1]); strings.Contains(strings.ToLower(text), "ff") {
		t.Error("a record shows its bytes:", text)
	}
	if again, err := r.AppendText(nil); err != nil || string(again) != good {
		t.Errorf("written again as %q, %v", again, err)
	}
	for name, c := range map[string]struct{ text, says string }{
		"empty":            {"", "whole"},
		"another head":     {"gateline line record 2\nend\n", "whole"},
		"no end":           {head + "0.000000 > 01\n", "whole"},
		"half a line":      {head + "0.000000 > 01\nend", "whole"},
		"one field":        {head + "0.000000\nend\n", "line 2: it is not"},
		"no bytes":         {head + "0.000000 >\nend\n", "line 2: 0 bytes"},
		"bytes of nothing": {head + "0.000000 . 01\nend\n", "line 2: bytes where"},
		"no decimals":      {head + "0.000000 > 01\n1 > 01\nend\n", "line 3: the time"},
		"leading zero":     {head + "00.000000 > 01\nend\n", "line 2: the time"},
		"a sign":           {head + "0.+00000 > 01\nend\n", "line 2: the time"},
		"a day":            {head + "86400.000001 > 01\nend\n", "more than a day"},
		"backwards":        {head + "2.000000 > 01\n1.000000 > 01\nend\n", "line 3: it is earlier"},
		"no direction":     {head + "0.000000 = 01\nend\n", "line 2: the direction"},
		"lower case":       {head + "0.000000 > ab\nend\n", "upper-case"},
		"half a byte":      {head + "0.000000 > 012\nend\n", "hexadecimal"},
		"nothing":          {head + "0.000000 > \nend\n", "hexadecimal"},
		"too much at once": {head + "0.000000 > " + strings.Repeat("00", drivertest.MaxChunk+1) + "\nend\n", "line 2: 513 bytes"},
		"too many bytes": {head + strings.Repeat("0.000000 > "+strings.Repeat("00", drivertest.MaxChunk)+"\n", drivertest.MaxBytes/drivertest.MaxChunk+1) + "end\n",
			"more than 1048576 bytes"},
		"too many chunks": {head + strings.Repeat("0.000000 > 00\n", drivertest.MaxChunks+1) + "end\n", "65537 chunks"},
		"too long":        {head + strings.Repeat("x", 5<<20), "longer than"},
	} {
		if _, err := drivertest.ParseRecord(strings.NewReader(c.text)); !errors.Is(err, drivertest.ErrRecord) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is accepted is written again as it was.
func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(head + "0.000000 > 01\n0.000001 < FF00\nend\n"))
	f.Add([]byte(head + "1.000000 .\ncut\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := drivertest.ParseRecord(bytes.NewReader(text))
		if err != nil {
			return
		}
		if again, err := r.AppendText(nil); err != nil || !bytes.Equal(again, text) {
			t.Errorf("%q is written again as %q, %v", text, again, err)
		}
	})
}

// pipe is a port that reads what it is given and takes all.
type pipe struct{ io.Reader }

func (pipe) Write(b []byte) (int, error)      { return len(b), nil }
func (pipe) Close() error                     { return nil }
func (pipe) SetReadDeadline(time.Time) error  { return nil }
func (pipe) SetWriteDeadline(time.Time) error { return nil }

func TestRecorderIsBounded(t *testing.T) {
	now := time.Unix(100, 0)
	clock := func() time.Time { now = now.Add(time.Millisecond); return now }
	r := drivertest.NewRecorder(pipe{bytes.NewReader(make([]byte, 600))}, clock, 1000)
	var buf [600]byte
	if n, err := r.Read(buf[:]); n != 600 || err != nil {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if n, err := r.Read(buf[:]); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	if got := r.Record(); got.Cut || len(got.Chunks) != 2 || len(got.Chunks[0].Data) != drivertest.MaxChunk || got.Chunks[1].At != time.Millisecond {
		t.Errorf("noted %v", got)
	}
	for range 5 {
		if n, err := r.Write(make([]byte, 300)); n != 300 || err != nil {
			t.Fatalf("%d bytes, %v", n, err)
		}
	}
	got := r.Record()
	text, err := got.AppendText(nil)
	if err != nil || !got.Cut || len(got.Chunks) != 3 || !strings.HasSuffix(string(text), "\ncut\n") {
		t.Errorf("noted %v, %v", got, err)
	}
	if again := parse(t, string(text)); len(again.Chunks) != 3 {
		t.Errorf("read again as %v", again)
	}
}

func playback(t *testing.T, lines string) (*drivertest.Playback, *drivertest.Clock, time.Time) {
	t.Helper()
	start := time.Unix(100, 0)
	clock := drivertest.NewClock(start)
	return drivertest.NewPlayback(parse(t, head+lines+"end\n"), clock), clock, start
}

func TestPlaybackGoesByTheRecord(t *testing.T) {
	p, clock, start := playback(t, "0.010000 > 0102\n0.014000 .\n0.030000 < AABBCC\n0.900000 .\n1.000000 > 03\n1.100000 .\n")
	for _, part := range [][]byte{{1}, {2}} {
		if n, err := p.Write(part); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if now := clock.Now().Sub(start); now > time.Millisecond {
		t.Errorf("after the first write it is %v", now)
	}
	// Patience ends where it did then, and no earlier than it does now.
	if err := p.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var b [2]byte
	if n, err := p.Read(b[:]); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d, %v", n, err)
	}
	if now := clock.Now().Sub(start); now < 14*time.Millisecond || now > 16*time.Millisecond {
		t.Errorf("after waiting it is %v", now)
	}
	if err := p.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if n, err := p.Read(b[:]); n != 2 || err != nil || b != [2]byte{0xaa, 0xbb} {
		t.Fatalf("%d, %v, % x", n, err, b)
	}
	if now := clock.Now().Sub(start); now < 30*time.Millisecond || now > 31*time.Millisecond {
		t.Errorf("after the read it is %v", now)
	}
	if n, err := p.Read(b[:]); n != 1 || err != nil || b[0] != 0xcc {
		t.Fatalf("%d, %v, % x", n, err, b)
	}
	select {
	case <-p.Done():
		t.Fatal("done too early")
	default:
	}
	if _, err := p.Write([]byte{3, 4, 5}); err != nil { // what comes after the end is not judged
		t.Fatal(err)
	}
	<-p.Done()
	if err := p.Err(); err != nil {
		t.Error(err)
	}
	// At the end a read waits for a deadline or Close.
	for _, free := range []struct {
		by   func() error
		with error
	}{
		{func() error { return p.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		{p.Close, os.ErrClosed},
	} {
		if err := p.SetReadDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		read := make(chan error)
		go func() { _, err := p.Read(b[:]); read <- err }()
		if err := free.by(); err != nil {
			t.Error(err)
		}
		if err := <-read; !errors.Is(err, free.with) {
			t.Errorf("a read that waits at the end is freed with %v", err)
		}
	}
}

func TestPlaybackFindsDifferences(t *testing.T) {
	write := func(b ...byte) func(*drivertest.Playback) error {
		return func(p *drivertest.Playback) error { _, err := p.Write(b); return err }
	}
	read := func(p *drivertest.Playback) error { _, err := p.Read(make([]byte, 10)); return err }
	late := func(p *drivertest.Playback) (err error) {
		for range 3 {
			if err = p.SetReadDeadline(time.Now().Add(8 * time.Second)); err == nil {
				err = read(p)
			}
		}
		return err
	}
	for name, c := range map[string]struct {
		lines string
		do    func(*drivertest.Playback) error
		says  string
	}{
		"another byte": {"0.000000 > 3104770012345678901F\n", write(0x31, 4, 0x77, 0, 0x12, 0x35, 0x56, 0x78, 0x90, 0x1f), "line 2, byte 5, at 0s: the box writes 77 00 12 35 56 78 90, it wrote 77 00 12 34 56 78 90"},
		"too much":     {"0.000000 > 0102\n0.500000 < 03\n", write(1, 2, 9), "line 3, byte 0, at 500ms: the box writes 1 bytes more before it reads: 01 02 09"},
		"too little":   {"0.000000 > 0102\n", read, "line 2, byte 0, at 0s: the box waits without a limit"},
		"too late":     {"1.000000 > 0102\n", late, "has not written 2 bytes yet"},
	} {
		p, _, _ := playback(t, c.lines)
		err := c.do(p)
		if !errors.Is(err, drivertest.ErrPlayback) || !strings.Contains(err.Error(), c.says) || p.Err() == nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		<-p.Done()
		if again := read(p); !errors.Is(again, drivertest.ErrPlayback) {
			t.Errorf("%s: a later read says %v", name, again)
		}
	}
}
