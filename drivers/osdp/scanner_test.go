package osdp

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
)

// scanAll feeds in to s in pieces of size bytes and returns the frames found.
func scanAll(s *Scanner, in []byte, size int) (frames [][]byte, noise Noise) {
	for {
		piece := in[:min(size, len(in))]
		in = in[len(piece):]
		for {
			frame, rest, n := s.Next(piece)
			noise.Add(n)
			if frame == nil {
				break
			}
			frames, piece = append(frames, bytes.Clone(frame)), rest
		}
		if len(in) == 0 {
			return frames, noise
		}
	}
}

func TestScanner(t *testing.T) {
	poll := AppendFrame(nil, &Frame{Address: 1, CRC: true, Code: CmdPOLL})
	ack := AppendFrame(nil, &Frame{Address: 1, Reply: true, Code: ReplyACK})
	// A read whose data holds a whole frame.
	nested := AppendFrame(nil, &Frame{Address: 1, Reply: true, CRC: true, Code: ReplyMFGREP, Data: poll})
	damaged := bytes.Clone(nested)
	damaged[len(damaged)-1] ^= 1
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, c := range []struct {
		name   string
		in     []byte
		frames [][]byte
		noise  Noise
	}{
		{"one", poll, [][]byte{poll[1:]}, Noise{}},
		{"no mark", poll[1:], [][]byte{poll[1:]}, Noise{}},
		{"many marks", join([]byte{0xff, 0xff, 0xff}, poll), [][]byte{poll[1:]}, Noise{}},
		{"two", join(poll, ack), [][]byte{poll[1:], ack[1:]}, Noise{}},
		{"a frame in a frame", nested, [][]byte{nested[1:]}, Noise{}},
		{"a frame in a damaged frame", join(damaged, ack), [][]byte{poll[1:], ack[1:]}, Noise{Skipped: 8, Damaged: 1}},
		{"garbage", join([]byte{0, 1, 2, 0xfe}, ack), [][]byte{ack[1:]}, Noise{Skipped: 4}},
		{"SOMs", join([]byte{0x53, 0x53, 0x53}, ack), [][]byte{ack[1:]}, Noise{Skipped: 3}},
		{"too short", join([]byte{0x53, 0x01, 0x06, 0x00, 0x00, 0x60}, ack), [][]byte{ack[1:]}, Noise{Skipped: 6}},
		{"too long", join([]byte{0x53, 0x01, 0xa1, 0x05, 0x00, 0x60}, ack), [][]byte{ack[1:]}, Noise{Skipped: 6}},
	} {
		for _, size := range []int{1, 2, 3, 7, 1000} {
			var s Scanner
			frames, noise := scanAll(&s, c.in, size)
			if len(frames) != len(c.frames) || noise != c.noise {
				t.Errorf("%s in pieces of %d: %d frames, %+v; want %d, %+v", c.name, size, len(frames), noise, len(c.frames), c.noise)
				continue
			}
			for i := range frames {
				if !bytes.Equal(frames[i], c.frames[i]) {
					t.Errorf("%s in pieces of %d: frame % X, want % X", c.name, size, frames[i], c.frames[i])
				}
			}
		}
	}
}

func TestScannerMarked(t *testing.T) {
	poll := AppendFrame(nil, &Frame{Address: 1, CRC: true, Code: CmdPOLL})
	var s Scanner
	for _, c := range []struct {
		in     []byte
		marked bool
	}{{poll, true}, {poll[1:], false}, {append([]byte{0xff, 0}, poll[1:]...), false}, {append([]byte{0}, poll...), true}} {
		if frames, _ := scanAll(&s, c.in, 3); len(frames) != 1 || s.Marked() != c.marked {
			t.Errorf("% X: %d frames, marked %v, want %v", c.in, len(frames), s.Marked(), c.marked)
		}
	}
}

// TestScannerGap is a false start that claims more than will ever come: the
// frame behind it is found once the line is idle, and what follows the idle
// line is not lost either.
func TestScannerGap(t *testing.T) {
	poll := AppendFrame(nil, &Frame{Address: 1, CRC: true, Code: CmdPOLL})
	false1 := []byte{0x53, 0x01, 0x00, 0x05, 0x00}
	var s Scanner
	if frames, _ := scanAll(&s, append(bytes.Clone(false1), poll...), 4); len(frames) != 0 || !s.Pending() {
		t.Fatalf("%d frames before the gap, pending %v", len(frames), s.Pending())
	}
	s.Gap()
	frames, noise := scanAll(&s, append(bytes.Clone(false1), poll...), 2)
	if len(frames) != 1 || !bytes.Equal(frames[0], poll[1:]) {
		t.Fatalf("%d frames after the gap", len(frames))
	}
	if want := (Noise{Skipped: 5}); noise != want {
		t.Errorf("after the gap %+v, want %+v", noise, want)
	}
	s.Gap()
	if frames, _ = scanAll(&s, nil, 1); len(frames) != 1 || s.Pending() {
		t.Errorf("%d frames after the second gap, pending %v", len(frames), s.Pending())
	}
}

func TestScannerMax(t *testing.T) {
	poll := AppendFrame(nil, &Frame{Address: 1, CRC: true, Code: CmdPOLL})
	s := Scanner{Max: MinRxBuffer}
	if frames, _ := scanAll(&s, append([]byte{0x53, 0x01, 0x81, 0x00, 0x00}, poll...), 100); len(frames) != 1 {
		t.Errorf("%d frames behind the start of one above the maximum", len(frames))
	}
	s.Next([]byte{0x53, 0x01})
	s.Reset()
	if s.Pending() {
		t.Error("pending after Reset")
	}
}

// TestScannerKeepsUp feeds noise without end: nothing grows, and after each
// idle line the next frame is found.
func TestScannerKeepsUp(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	poll := AppendFrame(nil, &Frame{Address: 1, CRC: true, Code: CmdPOLL})
	var s Scanner
	noise := make([]byte, 3000)
	for round := range 300 {
		for i := range noise {
			noise[i] = byte(random.Uint32())
			if random.IntN(8) == 0 {
				noise[i] = som
			}
		}
		scanAll(&s, noise[:random.IntN(len(noise))], 64)
		s.Gap()
		frames, _ := scanAll(&s, poll, 64)
		if len(frames) == 0 || !bytes.Equal(frames[len(frames)-1], poll[1:]) {
			t.Fatalf("round %d: the frame after the idle line is lost", round)
		}
	}
}

func FuzzScanner(f *testing.F) {
	good := AppendFrame(nil, &Frame{Address: 1, Reply: true, CRC: true, Code: ReplyRAW, Data: AppendRead(nil, &Read{Bits: 80, Data: eightyBits})})
	f.Add([]byte{}, uint8(1))
	f.Add(good[:9], uint8(3))
	f.Add([]byte{0x53, 0x01, 0x00, 0x05, 0x00, 0x53, 0x81, 0x10, 0x00, 0x04}, uint8(200))
	f.Add(bytes.Repeat([]byte{0x53, 0x53, 0x08, 0x00, 0x00}, 40), uint8(7))
	f.Fuzz(func(t *testing.T, garbage []byte, size uint8) {
		piece := int(size) + 1
		// Directly behind the garbage: found at the latest when the line is
		// idle, unless something that is a frame reaches into it.
		var s Scanner
		frames, noise := scanAll(&s, append(bytes.Clone(garbage), good...), piece)
		s.Gap()
		late, n := scanAll(&s, nil, 1)
		noise.Add(n)
		frames = append(frames, late...)
		total, found := 0, false
		for _, frame := range frames {
			if _, err := ParseFrame(frame); errors.Is(err, ErrCheck) {
				t.Fatalf("a frame with a wrong check: % X", frame)
			}
			total += len(frame)
			found = found || bytes.Equal(frame, good[1:])
		}
		marks := bytes.Count(garbage, []byte{markByte}) + 1
		if all := total + noise.Skipped; all > len(garbage)+len(good) || all+marks < len(garbage)+len(good) {
			t.Fatalf("%d bytes in frames and %d skipped of %d", total, noise.Skipped, len(garbage)+len(good))
		}
		for _, frame := range frames {
			found = found || !bytes.Contains(garbage, frame)
		}
		if !found {
			t.Fatalf("behind % X the good frame is lost", garbage)
		}
		if s.Pending() {
			t.Fatal("something waits after the gap")
		}
		// After an idle line: always.
		scanAll(&s, garbage, piece)
		s.Gap()
		frames, _ = scanAll(&s, good, piece)
		if len(frames) == 0 || !bytes.Equal(frames[len(frames)-1], good[1:]) {
			t.Fatalf("after % X and an idle line the good frame is lost", garbage)
		}
	})
}
