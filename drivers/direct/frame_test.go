package direct

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

func credential(t testing.TB, text string) gateway.Credential {
	t.Helper()
	c, err := gateway.ParseCredential(text)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decodeWire runs wire bytes through the scanner and parses the first frame.
func decodeWire(t testing.TB, wire []byte) (parsed, error) {
	t.Helper()
	var s scanner
	block, _, tooLong := s.next(bytes.Clone(wire))
	if tooLong || block == nil {
		return parsed{}, errNoise
	}
	return parse(block)
}

var workedKey = [KeySize]byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}

// workedFrames are the worked frames of docs/protocol.md.
func workedFrames(t testing.TB) []struct {
	name  string
	frame Frame
} {
	return []struct {
		name  string
		frame Frame
	}{
		{"tap of a card at an entry", Frame{Kind: KindTap, Address: 1, Number: 7, Credential: credential(t, "tunion:3104770012345678901")}},
		{"its verdict, a pass", Frame{Kind: KindVerdict, Address: 1, Number: 7, Verdict: gateway.VerdictPass, Open: true, TTL: 3 * time.Second}},
		{"tap of a ride-code account", Frame{Kind: KindTap, Address: 2, Number: 258, Credential: credential(t, "ride:1001000000000042")}},
		{"its verdict, the manual lane", Frame{Kind: KindVerdict, Address: 2, Number: 258, Verdict: gateway.VerdictManual, Reason: gateway.R20, TTL: 3 * time.Second}},
		{"top-up with a legacy chip", Frame{Kind: KindTap, Address: 3, Number: 1, Purpose: gateway.PurposeTopUp, Credential: credential(t, "chip:0123456789ABCDEF")}},
		{"unreadable medium", Frame{Kind: KindTap, Address: 1, Number: 8}},
		{"heartbeat", Frame{Kind: KindHeartbeat, Address: 1, Number: 9}},
		{"its answer, automatic lane", Frame{Kind: KindLane, Address: 1, Number: 9, Lane: gateway.LaneAuto}},
		{"proven tap", Frame{Kind: KindTap, Address: 1, Number: 7, Credential: credential(t, "tunion:3104770012345678901"), Proven: true, Counter: 1025}},
		{"its proven verdict, a refusal", Frame{Kind: KindVerdict, Address: 1, Number: 7, Verdict: gateway.VerdictRefuse, Reason: gateway.R10, TTL: 3 * time.Second, Proven: true, Counter: 1025}},
	}
}

// The specification's worked frames are what the code sends, byte for byte.
func TestWorkedFrames(t *testing.T) {
	spec, err := os.ReadFile("../../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	mac := newProver(workedKey)
	for _, w := range workedFrames(t) {
		wire := appendFrame(nil, &w.frame, mac)
		line := strings.ToUpper(strings.TrimSpace(hex.EncodeToString(wire)))
		var spaced []string
		for i := 0; i < len(line); i += 2 {
			spaced = append(spaced, line[i:i+2])
		}
		text := strings.Join(spaced, " ")
		if !bytes.Contains(spec, []byte("`"+text+"`")) {
			t.Errorf("docs/protocol.md has no frame for %s: `%s`", w.name, text)
		}
		got, err := decodeWire(t, wire)
		if err != nil || got.Frame != w.frame {
			t.Errorf("%s decodes to %+v, err %v", w.name, got.Frame, err)
		}
		if w.frame.Proven && !mac.proves(got.signed, got.tag) {
			t.Errorf("%s: the tag does not prove it", w.name)
		}
	}
}

func TestCOBS(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		body := make([]byte, r.IntN(255))
		for i := range body {
			if r.IntN(3) != 0 {
				body[i] = byte(r.IntN(256))
			}
		}
		coded := append([]byte{0}, body...)
		encodeCOBS(coded)
		if bytes.IndexByte(coded, 0) >= 0 || len(coded) != len(body)+1 {
			t.Fatalf("%x is coded as %x", body, coded)
		}
		got, ok := decodeCOBS(coded)
		if !ok || !bytes.Equal(got, body) {
			t.Fatalf("%x comes back as %x, %v", body, got, ok)
		}
	}
	for _, bad := range []string{"", "03", "0301", "02ff05"} {
		if body, ok := decodeCOBS(unhex(t, bad)); ok {
			t.Errorf("%s decodes to %x", bad, body)
		}
	}
}

// No single damaged byte of a frame leaves another frame.
func TestDamageIsNoticed(t *testing.T) {
	mac := newProver(workedKey)
	for _, w := range workedFrames(t) {
		wire := appendFrame(nil, &w.frame, mac)
		for i := range wire {
			for flip := 1; flip < 256; flip++ {
				damaged := bytes.Clone(wire)
				damaged[i] ^= byte(flip)
				if got, err := decodeWire(t, damaged); err == nil && got.Frame != w.frame {
					t.Fatalf("%s with byte %d damaged is taken for %+v", w.name, i, got.Frame)
				}
			}
		}
	}
}

func TestForeignMediaAreReadable(t *testing.T) {
	for name, body := range map[string]string{
		"unknown scheme":       "11 01 0700 00 09 04 1234",
		"tunion of 18 digits":  "11 01 0700 00 01 12 310477001234567890",
		"hex digit in tunion":  "11 01 0700 00 01 13 31047700123456789A0F",
		"scheme 0 with digits": "11 01 0700 00 00 02 12",
	} {
		got, err := parse(coded(unhex(t, body)))
		if err != nil || got.Credential.Readable() || got.Kind != KindTap || got.Number != 7 {
			t.Errorf("%s: %+v, err %v", name, got.Frame, err)
		}
	}
	// 20 digits with a leading zero are the same card (NUM-03).
	got, err := parse(coded(unhex(t, "11 01 0700 00 01 14 03104770012345678901")))
	if err != nil || got.Credential != credential(t, "3104770012345678901") {
		t.Errorf("20 digits: err %v", err)
	}
}

func TestMalformedFrames(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"version 2":           {"21 01 0700 00 00 00", errVersion},
		"kind 0":              {"10 01 0700", errMalformed},
		"kind 7":              {"17 01 0700", errMalformed},
		"purpose 3":           {"11 01 0700 03 00 00", errMalformed},
		"count too large":     {"11 01 0700 00 01 19 11111111111111111111111111", errMalformed},
		"count and bytes":     {"11 01 0700 00 01 13 3104", errMalformed},
		"filler not F":        {"11 01 0700 00 01 13 31047700123456789010", errMalformed},
		"tap without payload": {"11 01 0700", errMalformed},
		"verdict 3":           {"12 01 0700 03 00 00 1e", errMalformed},
		"verdict flags":       {"12 01 0700 01 00 04 1e", errMalformed},
		"heartbeat payload":   {"13 01 0700 00", errMalformed},
		"lane 3":              {"14 01 0700 03", errMalformed},
		"proof cut off":       {"19 01 0700 00 00 00", errMalformed},
	} {
		if _, err := parse(coded(unhex(t, c.body))); err != c.want {
			t.Errorf("%s: err %v, want %v", name, err, c.want)
		}
	}
}

func FuzzFrame(f *testing.F) {
	mac := newProver(workedKey)
	for _, w := range workedFrames(f) {
		f.Add(appendFrame(nil, &w.frame, mac))
	}
	f.Add(append([]byte{0, 0xff, 3, 7, 0}, appendFrame(nil, &Frame{Kind: KindHeartbeat, Address: 1}, nil)...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var s scanner
		for in := bytes.Clone(stream); len(in) > 0; {
			block, rest, tooLong := s.next(in)
			in = rest
			if block == nil || tooLong {
				continue
			}
			wire := append(append([]byte{0}, block...), 0)
			p, err := parse(block)
			if err != nil {
				continue
			}
			again := appendFrame(nil, &p.Frame, mac)
			back, err := decodeWire(t, again)
			if err != nil || back.Frame != p.Frame {
				t.Fatalf("%x means %+v, sent again it means %+v, err %v", wire, p.Frame, back.Frame, err)
			}
			// A credential may have come in another form than the canonical
			// one, and a tag be wrong; everything else is the same bytes.
			canonical := p.Kind != KindTap || p.Credential.Readable() && len(again) == len(wire)
			if canonical && (!p.Proven || mac.proves(p.signed, p.tag)) && !bytes.Equal(again, wire) {
				t.Fatalf("%x is accepted and re-encodes to %x", wire, again)
			}
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	tap := Frame{Kind: KindTap, Address: 1, Number: 7, Credential: credential(b, "tunion:3104770012345678901")}
	for name, proven := range map[string]bool{"plain": false, "proven": true} {
		mac := newProver(workedKey)
		tap.Proven = proven
		wire := appendFrame(nil, &tap, mac)
		b.Run("encode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			buf := make([]byte, 0, MaxFrame)
			for b.Loop() {
				buf = appendFrame(buf[:0], &tap, mac)
			}
		})
		b.Run("decode/"+name, func(b *testing.B) {
			b.ReportAllocs()
			var s scanner
			for b.Loop() {
				block, _, _ := s.next(wire)
				p, err := parse(block)
				if err != nil || proven && !mac.proves(p.signed, p.tag) {
					b.Fatal("not a frame")
				}
			}
		})
	}
}
