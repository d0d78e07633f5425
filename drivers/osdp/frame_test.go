package osdp

import (
	"bytes"
	"errors"
	"testing"
)

func TestParseFrameRefusals(t *testing.T) {
	seal := func(hex string) []byte {
		b := unhex(t, hex)
		return append(b, checksum(b))
	}
	for _, c := range []struct {
		name string
		raw  []byte
		want error
	}{
		{"nothing", nil, ErrLength},
		{"no SOM", seal("52 01 07 00 00 60"), ErrLength},
		{"shorter than it says", seal("53 01 08 00 00 60"), ErrLength},
		{"no code", seal("53 01 06 00 00"), ErrLength},
		{"check", []byte{0x53, 0x01, 0x07, 0x00, 0x00, 0x60, 0x46}, ErrCheck},
		{"CRC that does not fit", []byte{0x53, 0x01, 0x07, 0x00, 0x04, 0x60, 0x41}, ErrLength},
		{"block of length 0", seal("53 01 09 00 08 00 15 60"), ErrBlock},
		{"block longer than the frame", seal("53 01 09 00 08 04 15 60"), ErrBlock},
		{"block without a code behind it", seal("53 01 09 00 08 03 11 60"), ErrBlock},
		{"block of an unknown type", seal("53 01 09 00 08 02 19 60"), ErrBlock},
		{"block of type 0", seal("53 01 09 00 08 02 00 60"), ErrBlock},
		{"no room for the MAC", seal("53 01 0C 00 08 02 15 60 01 02 03"), ErrLength},
	} {
		if _, err := ParseFrame(c.raw); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	if f, err := ParseFrame(seal("53 85 07 00 F2 40")); err != nil || f.SQN != 2 || f.CRC || f.Address != 5 || !f.Reply {
		t.Errorf("with the upper control bits set: %v, %v", f, err)
	}
	if f, _ := ParseFrame(seal("53 05 09 00 0B 02 19 60")); f.Address != 5 || f.SQN != 3 {
		t.Errorf("the head of a frame with a wrong block: %v", f)
	}
}

func TestTooLongAFramePanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a frame above MaxFrame was built")
		}
	}()
	AppendFrame(nil, &Frame{Data: make([]byte, MaxFrame)})
}

func FuzzFrame(f *testing.F) {
	for _, v := range plainVectors() {
		f.Add(unhex(f, v.wire))
	}
	for _, v := range sessionVectors() {
		f.Add(unhex(f, v.wire))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) < headSize+1 {
			return
		}
		raw = bytes.Clone(raw)
		raw[4] &= ctrlSQN | ctrlCRC | ctrlBlock // the others are ignored, so they do not come back
		fixCheck(raw)
		frame, err := ParseFrame(raw)
		if err != nil {
			return
		}
		if again := AppendFrame(nil, &frame); !bytes.Equal(again[1:], raw) {
			t.Fatalf("% X encodes again to % X", raw, again[1:])
		}
		if frame.Block.Secured() {
			return
		}
		again, known, err := payloadAgain(&frame)
		if known && err == nil && !bytes.Equal(again, frame.Data) && !ambiguous(&frame) {
			t.Fatalf("%v: data % X encodes again to % X", &frame, frame.Data, again)
		}
	})
}

// fixCheck makes length and check of raw right, so that the fuzzer gets
// behind them.
func fixCheck(raw []byte) {
	n := len(raw)
	raw[0], raw[2], raw[3] = som, byte(n), byte(n>>8)
	if raw[4]&ctrlCRC == 0 {
		raw[n-1] = 0
		raw[n-1] = checksum(raw)
		return
	}
	crc := crc16(raw[:n-crcSize])
	raw[n-2], raw[n-1] = byte(crc), byte(crc>>8)
}

// ambiguous reports whether f is of those whose data has two forms: an LED
// with a temporary state for no time.
func ambiguous(f *Frame) bool {
	leds, _ := ParseLED(nil, f.Data)
	for _, l := range leds {
		if f.Code == CmdLED && l.Temp == TempSet && l.TempTime < Tick {
			return true
		}
	}
	return false
}
