package osdp

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func FuzzPayload(f *testing.F) {
	for _, v := range plainVectors() {
		f.Add(v.frame.Code, v.frame.Reply, v.data)
	}
	for code := range 256 {
		f.Add(byte(code), code%2 == 0, []byte{1, 16, 0, 0, 0, 0})
	}
	f.Fuzz(func(t *testing.T, code byte, reply bool, data []byte) {
		frame := Frame{Reply: reply, Code: code, Data: data}
		again, known, err := payloadAgain(&frame)
		switch {
		case err != nil && !errors.Is(err, ErrLength) && !errors.Is(err, ErrRecord):
			t.Fatalf("%v: an error of another kind: %v", &frame, err)
		case known && err == nil && !bytes.Equal(again, data) && !ambiguous(&frame):
			t.Fatalf("%v: data % X encodes again to % X", &frame, data, again)
		}
		// Those that have no one form back: no panic.
		if c, err := ParsePDCAP(data); err == nil {
			back, err := ParsePDCAP(AppendPDCAP(nil, &c))
			if err != nil || back != c {
				t.Fatalf("PDCAP % X: %+v, back %+v, %v", data, c, back, err)
			}
		}
		_, _ = ParseLocalStatus(data)
		_, _ = ParseStates(data)
		_, _ = ParseRxSize(data)
	})
}

func TestPDCAP(t *testing.T) {
	want := TypicalCapabilities()
	want.Inputs, want.DefaultKey, want.Transparent, want.Combined = 2, true, true, 1200
	got, err := ParsePDCAP(AppendPDCAP(nil, &want))
	if err != nil || got != want {
		t.Errorf("back %+v, %v\nwant %+v", got, err, want)
	}
	if !got.TimedLED() || !got.TimedOutput() || !got.Sound() || !got.Text() {
		t.Errorf("a typical reader lacks something: %+v", got)
	}
	for _, c := range []struct {
		name string
		data []byte
		want Capabilities
	}{
		{"unknown functions", []byte{99, 1, 1, 255, 255, 255}, DefaultCapabilities()},
		{"a buffer too small", []byte{byte(FuncRxBuffer), 10, 0}, DefaultCapabilities()},
		{"a buffer too large", []byte{byte(FuncRxBuffer), 0xff, 0xff}, Capabilities{RxBuffer: MaxFrame, Readers: 1}},
		{"LEDs on and off", []byte{byte(FuncLEDs), 1, 2}, Capabilities{RxBuffer: MinRxBuffer, Readers: 1, LEDs: 2, LEDLevel: 1}},
	} {
		if got, err := ParsePDCAP(c.data); err != nil || got != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	if _, err := ParsePDCAP([]byte{1, 2}); !errors.Is(err, ErrLength) {
		t.Errorf("two bytes: %v", err)
	}
}

func TestPayloadRefusals(t *testing.T) {
	for _, c := range []struct {
		code byte
		data string
		want error
	}{
		{CmdOUT, "", ErrLength},
		{CmdOUT, "00 05 0A", ErrLength},
		{CmdOUT, "00 07 0A 00", ErrRecord},
		{CmdLED, "00 00 02 05 00 02 00 14 00 00 00 00 00", ErrLength},
		{CmdLED, "00 00 02 00 00 02 00 14 00 00 00 00 00 00", ErrRecord},
		{CmdLED, "00 00 00 00 00 00 00 00 00 01 00 00 02 02", ErrRecord},
		{CmdLED, "00 00 03 05 00 02 00 14 00 00 00 00 00 00", ErrRecord},
		{CmdLED, "00 00 02 05 00 08 00 14 00 00 00 00 00 00", ErrRecord},
		{CmdBUZ, "00 02 00 01 01", ErrRecord},
		{CmdBUZ, "00 03 01 01 01", ErrRecord},
		{CmdBUZ, "00 02 01 01", ErrLength},
		{CmdTEXT, "00 03 03 01 01 03 47 4F", ErrLength},
		{CmdTEXT, "00 03 03 00 01 02 47 4F", ErrRecord},
		{CmdTEXT, "00 05 03 01 01 02 47 4F", ErrRecord},
		{CmdTEXT, "00 03 03 01 01 02 47 80", ErrRecord},
		{CmdCOMSET, "7F 80 25 00 00", ErrRecord},
		{CmdCOMSET, "01 80 25 00", ErrLength},
		{CmdKEYSET, "02 10 00 11 22 33 44 55 66 77 88 99 AA BB CC DD EE FF", ErrRecord},
		{CmdKEYSET, "01 10 00", ErrLength},
		{CmdMFG, "01 02", ErrLength},
	} {
		f := Frame{Code: c.code, Data: unhex(t, c.data)}
		if _, _, err := payloadAgain(&f); !errors.Is(err, c.want) {
			t.Errorf("%s %s: %v, want %v", CommandName(c.code), c.data, err, c.want)
		}
	}
	for _, c := range []struct {
		code byte
		data string
	}{
		{ReplyRAW, "00 00 50 00 01"}, {ReplyRAW, "00 00 08 04" + strings.Repeat(" 00", 129)}, {ReplyRAW, "00 00 08 00 01 02"}, {ReplyRAW, "00"},
		{ReplyFMT, "00 00 02 31"}, {ReplyKEYPAD, "00 02 31"}, {ReplyPDID, "00"}, {ReplyNAK, ""}, {ReplyCCRYPT, "00"},
	} {
		f := Frame{Reply: true, Code: c.code, Data: unhex(t, c.data)}
		if _, _, err := payloadAgain(&f); !errors.Is(err, ErrLength) {
			t.Errorf("%s %s: %v, want %v", ReplyName(c.code), c.data, err, ErrLength)
		}
	}
}

// TestFormatted has no worked frame to lean on.
func TestFormatted(t *testing.T) {
	want := Formatted{Reader: 1, Backward: true, Characters: []byte("0042")}
	data := AppendFormatted(nil, &want)
	if !bytes.Equal(data, []byte("\x01\x01\x040042")) {
		t.Errorf("encoded % X", data)
	}
	got, err := ParseFormatted(data)
	if err != nil || got.Reader != 1 || !got.Backward || !bytes.Equal(got.Characters, want.Characters) {
		t.Errorf("parsed reader %d backward %v % X, %v", got.Reader, got.Backward, got.Characters, err)
	}
	if _, err := ParseFormatted([]byte{0, 2, 0}); !errors.Is(err, ErrRecord) {
		t.Errorf("a direction that is none: %v", err)
	}
}

func TestEncodersStayInBounds(t *testing.T) {
	text := AppendText(nil, &Text{Mode: TextTemporary, Time: 90 * time.Minute, Row: 1, Column: 1, Characters: "请\n" + string(bytes.Repeat([]byte("x"), 300))})
	if got, err := ParseText(text); err != nil || got.Characters[:4] != "????" || len(got.Characters) != MaxText || got.Time != 255*time.Second {
		t.Errorf("text %+v, %v", got, err)
	}
	led := AppendLED(nil, LED{Temp: TempSet, TempBlink: Blink{On: time.Hour, Off: time.Millisecond, OnColor: Red}})
	if got, err := ParseLED(nil, led); err != nil || got[0].TempBlink.On != 255*Tick || got[0].TempBlink.Off != Tick || got[0].TempTime != Tick {
		t.Errorf("LED %+v, %v", got, err)
	}
	if got, err := ParseRxSize(AppendRxSize(nil, 1<<20)); err != nil || got != MaxFrame {
		t.Errorf("ACURXSIZE %d, %v", got, err)
	}
	if got, err := ParseKeepActive(AppendKeepActive(nil, time.Hour)); err != nil || got != 65535*time.Millisecond {
		t.Errorf("KEEPACTIVE %v, %v", got, err)
	}
	for sqn, want := range []byte{1, 2, 3, 1} {
		if got := NextSQN(byte(sqn)); got != want {
			t.Errorf("after SQN %d comes %d, not %d", sqn, got, want)
		}
	}
}
