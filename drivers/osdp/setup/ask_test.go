package setup

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"gateline/drivers/osdp"
)

func TestAsk(t *testing.T) {
	key := testKey(1)
	for name, quirks := range allQuirks() {
		t.Run(name, func(t *testing.T) {
			for command, c := range map[byte]struct {
				data []byte
				want string
			}{
				osdp.CmdID:         {osdp.AppendRequest(nil), "PDID: maker 00-0E-E3, model 16 version 2, serial 4716, firmware 1.2.3"},
				osdp.CmdCAP:        {osdp.AppendRequest(nil), "Secure Channel yes, default key not in force, frames up to 256 bytes"},
				osdp.CmdLSTAT:      {nil, "LSTATR: case closed, power good"},
				osdp.CmdOSTAT:      {nil, "OSTATR: output 0 off"},
				osdp.CmdRSTAT:      {nil, "RSTATR: reader 0 normal"},
				osdp.CmdABORT:      {nil, "ACK: done"},
				osdp.CmdACURXSIZE:  {osdp.AppendRxSize(nil, 256), "ACK: done"},
				osdp.CmdKEEPACTIVE: {osdp.AppendKeepActive(nil, 5e9), "ACK: done"},
				osdp.CmdMFG:        {osdp.AppendMfg(nil, &osdp.Mfg{OUI: testID.OUI, Data: []byte{1, 0xab}}), "MFGREP: maker 00-0E-E3, data 01 AB"},
			} {
				w := newWire(t, newReader(5, 115200, key, quirks))
				code, data, err := Ask(t.Context(), w.bus(), AskConfig{Place: target, Key: key, Command: command, Data: c.data})
				if text := ReplyText(code, data); err != nil || !strings.Contains(text, c.want) {
					t.Errorf("%s: %q, %v", osdp.CommandName(command), text, err)
				}
				if challenge, _ := w.underDefault(); challenge || slices.Contains(w.commands(), osdp.CmdKEYSET) {
					t.Error("the default key was used, or a key set")
				}
			}
		})
	}
}

func TestAskRefused(t *testing.T) {
	key := testKey(1)
	for name, c := range map[string]struct {
		key     *osdp.Key
		command byte
		data    []byte
		want    string
	}{
		"no inputs":        {key, osdp.CmdISTAT, nil, "the reader refuses ISTAT: command not supported (NAK 03)"},
		"maker's":          {key, osdp.CmdMFG, []byte{1, 2, 3}, "NAK FF"},
		"in clear":         {nil, osdp.CmdLSTAT, nil, "refuses LSTAT: secure channel required (NAK 06)"},
		"wrong key":        {testKey(2), osdp.CmdLSTAT, nil, "the reader has another key; gateline osdp scan says"},
		"a key":            {key, osdp.CmdKEYSET, osdp.AppendKeySet(nil, *key), "by Commission and Rekey only"},
		"too much":         {key, osdp.CmdMFG, make([]byte, MaxAsked+1), "at most 1024"},
		"for its buffer":   {key, osdp.CmdMFG, make([]byte, 500), "does not answer"},
		"wrong identifier": {key, osdp.CmdID, []byte{9}, "NAK 09"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWire(t, newReader(5, 115200, key, osdp.Quirks{}))
			_, _, err := Ask(t.Context(), w.bus(), AskConfig{Place: target, Key: c.key, Command: c.command, Data: c.data})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Error(err)
			}
			if challenge, _ := w.underDefault(); challenge || slices.Contains(w.commands(), osdp.CmdKEYSET) {
				t.Error("the default key was used, or a key set")
			}
		})
	}
}

// A reader that loses its session is given the command in a new one.
func TestAskAfterTheSessionWasLost(t *testing.T) {
	key := testKey(1)
	for _, quirks := range []osdp.Quirks{{}, osdp.LibOSDP()} {
		r := newReader(5, 115200, key, quirks)
		w := newWire(t, r)
		lost := 0
		w.on = func(m moment, f osdp.Frame) bool {
			if m == beforeReader && f.Code == osdp.CmdLSTAT && lost < 2 {
				lost++
				r.PowerCycle(w.now)
			}
			return false
		}
		code, _, err := Ask(t.Context(), w.bus(), AskConfig{Place: target, Key: key, Command: osdp.CmdLSTAT})
		if err != nil || code != osdp.ReplyLSTATR || lost != 2 {
			t.Error(lost, err)
		}
	}
}

// A reply of somebody who has not the session's keys is none, however often it
// comes.
func TestAskBelievesNobodyOutsideTheSession(t *testing.T) {
	key := testKey(1)
	for name, forge := range map[string]func(f osdp.Frame) osdp.Frame{
		"in clear":  func(f osdp.Frame) osdp.Frame { f.Block, f.Data = 0, []byte{0, 0}; return f },
		"wrong MAC": func(f osdp.Frame) osdp.Frame { f.MAC[0] ^= 1; return f },
	} {
		r := newReader(5, 115200, key, osdp.Quirks{})
		r.mangle = func(b []byte) []byte {
			f, err := osdp.ParseFrame(b[1:])
			if err != nil || f.Code != osdp.ReplyLSTATR {
				return b
			}
			forged := forge(f)
			return osdp.AppendFrame(nil, &forged)
		}
		_, _, err := Ask(t.Context(), newWire(t, r).bus(), AskConfig{Place: target, Key: key, Command: osdp.CmdLSTAT})
		var lost *lostError
		if !errors.As(err, &lost) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReplyTextHidesCardsAndBadReplies(t *testing.T) {
	for want, c := range map[string]struct {
		code byte
		data []byte
	}{
		"RAW: 8 bytes of data, not shown":           {osdp.ReplyRAW, []byte("\x00\x00\x20\x00card")},
		"KEYPAD: 6 bytes of data, not shown":        {osdp.ReplyKEYPAD, []byte("\x00\x041234")},
		"LSTATR: cannot be understood":              {osdp.ReplyLSTATR, nil},
		"ISTATR: input 0 active, input 1 state 7":   {osdp.ReplyISTATR, []byte{1, 7}},
		"LSTATR: case OPEN (tamper), power TROUBLE": {osdp.ReplyLSTATR, []byte{1, 1}},
		"reader 1 not connected, reader 2 TAMPER":   {osdp.ReplyRSTATR, []byte{0, 1, 2}},
	} {
		if text := ReplyText(c.code, c.data); !strings.Contains(text, want) || strings.Contains(text, "card") || strings.Contains(text, "1234") {
			t.Errorf("%q, want %q", text, want)
		}
	}
}

// A command whose reply is lost is sent as the same bytes, three times in all.
func TestTheSameBytesAgain(t *testing.T) {
	key := testKey(1)
	for _, losses := range []int{1, 2, 3} {
		w := newWire(t, newReader(5, 115200, key, osdp.Quirks{}))
		left := losses
		w.on = func(m moment, f osdp.Frame) bool {
			if m == afterReader && f.Code == osdp.CmdLSTAT && left > 0 {
				left--
				return true
			}
			return false
		}
		begin := w.now
		_, _, err := Ask(t.Context(), w.bus(), AskConfig{Place: target, Key: key, Command: osdp.CmdLSTAT})
		var silent *SilentError
		if (err != nil) != (losses == replyTries) || err != nil && !errors.As(err, &silent) {
			t.Errorf("%d losses: %v", losses, err)
		}
		asked := w.sent[2:] // after the handshake
		if len(asked) != min(losses+1, replyTries) {
			t.Fatalf("%d losses: sent %d times", losses, len(asked))
		}
		for _, again := range asked[1:] {
			if !slices.Equal(again, asked[0]) {
				t.Errorf("% X and then % X", asked[0], again)
			}
		}
		if took := w.now.Sub(begin); took < time.Duration(losses)*osdp.ReplyTime {
			t.Errorf("%d losses: over after %v on the line", losses, took)
		}
	}
}
