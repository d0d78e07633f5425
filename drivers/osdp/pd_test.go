package osdp

import (
	"bytes"
	"testing"
	"time"
)

var (
	pulse     = AppendOut(nil, Out{Control: OutPulseOn, Time: time.Second})
	greenLED  = AppendLED(nil, LED{Temp: TempSet, TempBlink: Blink{On: 5 * Tick, OnColor: Green}, TempTime: 2 * time.Second})
	someRead  = Read{Bits: 80, Data: eightyBits}
	someReadB = AppendRead(nil, &someRead)
)

func TestTalkSequence(t *testing.T) {
	k := newTalk(t, "Sequence numbers, repeats, restarts and BUSY, in clear.", PDConfig{Address: 1})
	k.note("Just switched on: nothing but 0 is expected.")
	k.wantNAK(k.say(2, CmdPOLL), 0, NAKSequence)
	k.note("Two zeros are two commands.")
	k.want(k.say(0, CmdOUT, pulse...), 0, ReplyACK)
	k.want(k.say(0, CmdOUT, pulse...), 0, ReplyACK)
	if n := len(k.pd.Shown()); n != 2 {
		t.Errorf("two zeros: %d pulses", n)
	}
	k.note("A repeat is answered with the same bytes and pulses nothing.")
	k.want(k.say(1, CmdOUT, pulse...), 1, ReplyACK)
	k.again()
	k.again()
	if n := len(k.pd.Shown()); n != 1 {
		t.Errorf("a command and two repeats: %d pulses", n)
	}
	k.note("A read is repeated until the next number acknowledges it, and then it is gone.")
	k.pd.Present(k.now, someRead)
	k.want(k.say(2, CmdPOLL), 2, ReplyRAW, someReadB...)
	k.again()
	k.want(k.say(3, CmdPOLL), 3, ReplyACK)
	k.note("After 3 comes 1.")
	k.want(k.say(1, CmdPOLL), 1, ReplyACK)
	k.note("Neither the same command nor the next number; the state stays.")
	k.wantNAK(k.say(1, CmdID, 0), 2, NAKSequence)
	k.wantNAK(k.say(3, CmdPOLL), 2, NAKSequence)
	k.want(k.say(2, CmdPOLL), 2, ReplyACK)
	k.note("A restart acknowledges nothing: the read comes again.")
	k.pd.Present(k.now, someRead)
	k.want(k.say(3, CmdPOLL), 3, ReplyRAW, someReadB...)
	k.want(k.say(0, CmdPOLL), 0, ReplyRAW, someReadB...)
	k.want(k.say(1, CmdPOLL), 1, ReplyACK)
	k.pd.Present(k.now, someRead)
	k.want(k.say(2, CmdPOLL), 2, ReplyRAW, someReadB...)
	k.want(k.say(0, CmdID, 0), 0, ReplyPDID)
	k.want(k.say(1, CmdPOLL), 1, ReplyRAW, someReadB...)
	k.note("BUSY changes nothing: the same frame is taken afterwards.")
	k.pd.Busy(2)
	k.want(k.say(2, CmdOUT, pulse...), 0, ReplyBUSY)
	k.want(k.wire(k.sent, "again"), 0, ReplyBUSY)
	k.want(k.wire(k.sent, "again"), 2, ReplyACK)
	k.again()
	if n := len(k.pd.Shown()); n != 1 {
		t.Errorf("after BUSY: %d pulses", n)
	}
	k.note("A read that nobody fetched for two seconds is forgotten.")
	k.pd.Present(k.now, someRead)
	k.wait(2001 * time.Millisecond)
	k.want(k.say(3, CmdPOLL), 3, ReplyACK)
	k.note("Power off and on.")
	k.pd.PowerCycle(k.now)
	k.wantNAK(k.say(1, CmdPOLL), 0, NAKSequence)
	k.want(k.say(0, CmdPOLL), 0, ReplyACK)
	k.golden("sequence")
}

func TestTalkCommands(t *testing.T) {
	cfg := PDConfig{Address: 1, Maker: func(m Mfg) ([]byte, bool) {
		switch m.Data[0] {
		case 1:
			return append(m.OUI[:], 0xaa), true
		case 2:
			return nil, true
		}
		return nil, false
	}}
	cfg.Capabilities = TypicalCapabilities()
	cfg.Capabilities.Inputs = 2
	k := newTalk(t, "Every command, in clear.", cfg)
	k.want(k.say(0, CmdID, 0), 0, ReplyPDID)
	k.want(k.say(1, CmdCAP, 0), 1, ReplyPDCAP)
	k.want(k.say(2, CmdLSTAT), 2, ReplyLSTATR, 0, 0)
	k.want(k.say(3, CmdISTAT), 3, ReplyISTATR, 0, 0)
	k.want(k.say(1, CmdOSTAT), 1, ReplyOSTATR, 0)
	k.want(k.say(2, CmdRSTAT), 2, ReplyRSTATR, 0)
	k.note("The output falls back by itself.")
	k.want(k.say(3, CmdOUT, pulse...), 3, ReplyACK)
	k.want(k.say(1, CmdOSTAT), 1, ReplyOSTATR, 1)
	k.wait(time.Second)
	k.want(k.say(2, CmdOSTAT), 2, ReplyOSTATR, 0)
	k.want(k.say(3, CmdLED, greenLED...), 3, ReplyACK)
	k.want(k.say(1, CmdBUZ, AppendBuz(nil, Buz{Tone: ToneDefault, On: Tick, Count: 1})...), 1, ReplyACK)
	k.want(k.say(2, CmdTEXT, AppendText(nil, &Text{Mode: TextPermanent, Row: 1, Column: 1, Characters: "GO"})...), 2, ReplyACK)
	k.want(k.say(3, CmdACURXSIZE, AppendRxSize(nil, 512)...), 3, ReplyACK)
	k.want(k.say(1, CmdKEEPACTIVE, AppendKeepActive(nil, time.Second)...), 1, ReplyACK)
	k.want(k.say(2, CmdABORT), 2, ReplyACK)
	k.want(k.say(3, CmdMFG, 1, 2, 3, 1), 3, ReplyMFGREP, 1, 2, 3, 0xaa)
	k.want(k.say(1, CmdMFG, 1, 2, 3, 2), 1, ReplyACK)
	k.wantNAK(k.say(2, CmdMFG, 1, 2, 3, 3), 2, NAKUnspecified)
	k.wantNAK(k.say(3, CmdKEYSET, AppendKeySet(nil, newKey)...), 3, NAKSecurity)
	k.note("What happens at the reader, in its order.")
	k.pd.KeyPress(k.now, "12#")
	k.pd.Tamper(k.now, true)
	k.pd.Input(k.now, 1, 1)
	k.want(k.say(1, CmdPOLL), 1, ReplyKEYPAD, 0, 3, '1', '2', KeyEnter)
	k.want(k.say(2, CmdPOLL), 2, ReplyLSTATR, 1, 0)
	k.want(k.say(3, CmdPOLL), 3, ReplyISTATR, 0, 1)
	k.want(k.say(1, CmdPOLL), 1, ReplyACK)
	k.note("A speed that does not exist is answered with what stays.")
	k.want(k.say(2, CmdCOMSET, AppendCom(nil, Com{5, 4800})...), 2, ReplyCOM, AppendCom(nil, Com{1, 9600})...)
	k.note("Address and speed change after the answer; to address 7F everybody answers.")
	k.want(k.wire(append([]byte{markByte}, unhex(t, "53 7F 0D 00 04 6E 05 00 C2 01 00 91 D0")...), "COMSET sqn 0"), 0, ReplyCOM, AppendCom(nil, Com{5, 115200})...)
	if k.got[2] != 0xff || k.pd.Address() != 5 || k.pd.Baud() != 115200 {
		t.Errorf("answer % X, address %d, %d baud", k.got, k.pd.Address(), k.pd.Baud())
	}
	k.want(k.say(0, CmdPOLL), 0, ReplyACK)
	var codes []byte
	for _, s := range k.pd.Shown() {
		codes = append(codes, s.Code)
	}
	if want := []byte{CmdOUT, CmdLED, CmdBUZ, CmdTEXT}; !bytes.Equal(codes, want) {
		t.Errorf("shown % X, want % X", codes, want)
	}
	k.golden("commands")
}

func TestTalkLibOSDP(t *testing.T) {
	k := newTalk(t, "What libosdp 3.2.0's PD does.", PDConfig{Address: 1, Quirks: LibOSDP()})
	k.note("A wrong check is no frame.")
	k.want(k.wire(unhex(t, "FF 53 01 08 00 04 60 BA 01"), "POLL sqn 0, wrong CRC"), 0, 0)
	k.note("The answer has a mark exactly where the command had one.")
	k.want(k.say(0, CmdPOLL), 0, ReplyACK)
	if k.got[0] != markByte {
		t.Errorf("no mark: % X", k.got)
	}
	k.want(k.wire(unhex(t, "53 01 08 00 04 60 BA 00"), "POLL sqn 0, no mark"), 0, ReplyACK)
	if k.got[0] != som {
		t.Errorf("a mark: % X", k.got)
	}
	k.note("It answers with CRC whatever was asked.")
	k.want(k.wire(unhex(t, "FF 53 01 07 00 00 60 45"), "POLL sqn 0, checksum"), 0, ReplyACK)
	k.note("A wrong number: NAK with its own, and that is its answer to that number.")
	k.wantNAK(k.say(3, CmdPOLL), 1, NAKSequence)
	k.wantNAK(k.say(1, CmdPOLL), 1, NAKSequence)
	k.want(k.say(2, CmdPOLL), 2, ReplyACK)
	k.note("Refusals.")
	k.wantNAK(k.say(3, 0x6c), 3, NAKUnknown)
	k.wantNAK(k.say(1, CmdLED, greenLED[:13]...), 1, NAKLength)
	k.wantNAK(k.say(2, CmdLED, unhex(t, "00 00 02 00 00 02 00 14 00 00 00 00 00 00")...), 2, NAKRecord)
	k.wantNAK(k.say(3, CmdLED, unhex(t, "00 01 02 05 00 02 00 14 00 00 00 00 00 00")...), 3, NAKUnknown)
	k.want(k.say(1, CmdOUT, pulse...), 1, ReplyACK)
	k.note("A frame of a session where there is none.")
	k.wantNAK(k.wire(append([]byte{markByte}, unhex(t, "53 01 0E 00 0E 02 15 60 86 DA 77 7E 90 4F")...), "POLL sqn 2, block 15"), 2, NAKSecurity)
	k.note("Status in a session, in clear under block 15; a report is encrypted.")
	if !k.shake(DefaultKey(), 0) {
		t.Fatal("no session")
	}
	k.want(k.secure(2, CmdLSTAT), 2, ReplyLSTATR, 0, 0)
	k.want(k.secure(3, CmdOSTAT), 3, ReplyOSTATR, 1)
	k.pd.Tamper(k.now, true)
	k.want(k.secure(1, CmdPOLL), 1, ReplyLSTATR, 1, 0)
	k.note("In a session nothing but ID and CAP is taken in clear, secure or not.")
	k.wantNAK(k.say(2, CmdPOLL), 2, NAKSecurity)
	k.want(k.say(3, CmdID, 0), 3, ReplyPDID)
	k.want(k.secure(1, CmdPOLL), 1, ReplyACK)
	k.golden("libosdp")
}

// TestTalkWorkedSession is the worked session of the standard's annex, the PD's
// side of which must come byte for byte.
func TestTalkWorkedSession(t *testing.T) {
	k := newTalk(t, "The worked session under the default key.", PDConfig{Address: 1, RequireSecure: true})
	vectors := sessionVectors()
	for i := 0; i < len(vectors); i += 2 {
		if vectors[i+1].name == "RAW 3" {
			k.pd.Present(k.now, someRead)
		}
		k.wire(append([]byte{markByte}, unhex(t, vectors[i].wire)...), vectors[i].name)
		if want := unhex(t, vectors[i+1].wire); !bytes.Equal(k.got[1:], want) {
			t.Errorf("%s: the PD answers % X\nwant % X", vectors[i+1].name, k.got[1:], want)
		}
		k.again()
	}
	if key, ok := k.pd.Installed(); !ok || key != newKey {
		t.Error("the key is not the one that was set")
	}
	if shown := k.pd.Shown(); len(shown) != 1 || shown[0].LED.TempBlink.OnColor != Green {
		t.Errorf("shown %+v", shown)
	}
	k.golden("worked-session")
}

func TestTalkSecure(t *testing.T) {
	k := newTalk(t, "Installing a key, and what a session ends on.", PDConfig{Address: 1, RequireSecure: true})
	k.note("In clear there is only ID and CAP, and a key of its own it does not have.")
	k.want(k.say(0, CmdID, 0), 0, ReplyPDID)
	k.want(k.say(1, CmdCAP, 0), 1, ReplyPDCAP)
	k.wantNAK(k.say(2, CmdPOLL), 2, NAKSecurity)
	if k.shake(newKey, 0) {
		t.Error("a session under a key that was never set")
	}
	if !k.shake(DefaultKey(), 0) {
		t.Fatal("no session under the default key")
	}
	k.note("The worked session goes on in testdata/worked-session.txt; here the key is set at once.")
	k.want(k.secure(2, CmdKEYSET, AppendKeySet(nil, newKey)...), 2, ReplyACK)
	k.note("The session is over and the default key is refused.")
	k.wantNAK(k.secure(3, CmdPOLL), 3, NAKSecurity)
	if k.shake(DefaultKey(), 0) {
		t.Error("a session under the default key after KEYSET")
	}
	k.note("Another key is refused, and the refusal gives nothing away.")
	wrong := newKey
	wrong[0] ^= 1
	if k.shake(wrong, 0) {
		t.Error("a session under a wrong key")
	}
	k.wrongCryptogram()
	k.note("The right one.")
	if !k.shake(newKey, 0) {
		t.Fatal("no session under the new key")
	}
	k.want(k.secure(2, CmdOUT, pulse...), 2, ReplyACK)
	k.again()
	k.note("A repeat moves neither end's chain.")
	k.pd.Present(k.now, someRead)
	k.want(k.secure(3, CmdPOLL), 3, ReplyRAW, someReadB...)
	k.note("BUSY and a wrong number are in clear and move nothing.")
	k.pd.Busy(1)
	k.want(k.secure(1, CmdPOLL), 0, ReplyBUSY)
	sealed := k.sent
	k.wantNAK(k.say(3, CmdPOLL), 1, NAKSequence)
	reply := k.wire(sealed, "again")
	if err := k.box.OpenReply(&reply, k.got[1:]); err != nil {
		t.Error(err)
	}
	k.note("A command in clear is refused and ends nothing.")
	k.wantNAK(k.say(2, CmdPOLL), 2, NAKSecurity)
	k.wantNAK(k.secure(3, 0x6c), 3, NAKUnknown)
	k.note("A wrong MAC ends it.")
	f := fromCP(1, 1, CmdPOLL)
	k.box.SealCommand(&f)
	f.MAC[0] ^= 1
	k.wantNAK(k.send(&f), 1, NAKSecurity)
	k.wantNAK(k.secure(2, CmdPOLL), 2, NAKSecurity)
	k.note("A restart ends it.")
	if !k.shake(newKey, 0) {
		t.Fatal("no session")
	}
	k.want(k.say(0, CmdID, 0), 0, ReplyPDID)
	k.wantNAK(k.secure(1, CmdPOLL), 1, NAKSecurity)
	k.note("Eight seconds of silence end it.")
	if !k.shake(newKey, 0) {
		t.Fatal("no session")
	}
	k.wait(7999 * time.Millisecond)
	k.want(k.secure(2, CmdPOLL), 2, ReplyACK)
	k.wait(8 * time.Second)
	k.wantNAK(k.secure(3, CmdPOLL), 3, NAKSecurity)
	k.golden("secure")
}

// wrongCryptogram answers the PD's CCRYPT with a server cryptogram that is not
// of its key.
func (k *talk) wrongCryptogram() {
	k.t.Helper()
	h := NewCPHandshake(newKey, workedA)
	f := fromCP(k.pd.Address(), 0, 0)
	h.Challenge(&f)
	r := k.send(&f)
	if err := h.Accept(&r, &f); err != nil {
		k.t.Fatal(err)
	}
	f.SQN, f.Data = 1, make([]byte, 16)
	r = k.send(&f)
	if r.Code != ReplyRMACI || r.BlockData[0] != statusRefused || !bytes.Equal(r.Data, make([]byte, 16)) || k.pd.InSession() {
		k.t.Errorf("to a wrong cryptogram: %v, status % X", &r, r.BlockData)
	}
}

// TestQuirks is each habit that the CP has to live with.
func TestQuirks(t *testing.T) {
	k := newTalk(t, "", PDConfig{Address: 1, Quirks: Quirks{
		KeepOnKeySet: true, KeySetClearACK: true, BusyOwnSQN: true, Finish12: true, ClearNAK: true, OutStatus: true, PowerReport: true,
	}})
	k.want(k.say(0, CmdPOLL), 0, ReplyLSTATR, 0, 1)
	k.want(k.say(1, CmdPOLL), 1, ReplyACK)
	k.pd.Busy(1)
	k.want(k.say(2, CmdPOLL), 2, ReplyBUSY)
	k.want(k.say(2, CmdOUT, pulse...), 2, ReplyOSTATR, 1)
	if !k.shake(DefaultKey(), 0) {
		t.Fatal("no session with an RMAC_I under block 12")
	}
	if f := k.secure(2, 0x6c); f.Block != 0 {
		t.Errorf("NAK %v", &f)
	}
	if f := k.secure(3, CmdKEYSET, AppendKeySet(nil, newKey)...); f.Block != 0 || f.Code != ReplyACK {
		t.Errorf("ACK to KEYSET %v", &f)
	}
	if f := k.secure(1, CmdPOLL); f.Code != ReplyACK || f.Block != SCS16 {
		t.Errorf("after KEYSET %v", &f)
	}
}

// TestPDHearsOthers is a line with others on it: their frames, replies and
// noise are not for this PD.
func TestPDHearsOthers(t *testing.T) {
	p := NewPD(PDConfig{Address: 1, Capabilities: TypicalCapabilities()})
	now := talkStart
	for _, f := range []Frame{fromCP(2, 0, CmdPOLL), fromPD(1, 0, ReplyACK), fromPD(0x7f, 0, ReplyACK)} {
		if got := p.Step(now, AppendFrame(nil, &f)); len(got) > 0 {
			t.Errorf("to %v it answers % X", &f, got)
		}
	}
	poll := AppendFrame(nil, &Frame{Address: 1, CRC: true, Code: CmdPOLL})
	behindNoise := append([]byte{som, 1, 0xf0, 0, 0}, poll...)
	if got := p.Step(now, behindNoise); len(got) > 0 {
		t.Errorf("to what may be a part it answers % X", got)
	}
	now = now.Add(InterByte)
	if got := p.Step(now, nil); len(got) == 0 {
		t.Error("once the line is idle the command behind the noise is not answered")
	}
	if got := p.Step(now, behindNoise); len(got) > 0 {
		t.Errorf("to what may be a part it answers % X", got)
	}
	now = now.Add(ReplyTime)
	if got := p.Step(now, nil); len(got) > 0 {
		t.Errorf("too late it answers % X", got)
	}
	if got := p.Step(now, poll); len(got) == 0 {
		t.Error("the next command is not answered")
	}
	long := Frame{Address: 1, CRC: true, Code: CmdMFG, Data: make([]byte, 300)}
	if got := p.Step(now, AppendFrame(nil, &long)); len(got) > 0 {
		t.Errorf("to a frame above its buffer it answers % X", got)
	}
	if got := p.Step(now, poll); len(got) == 0 {
		t.Error("after a frame above its buffer the next command is not answered")
	}
}

func TestPDBounds(t *testing.T) {
	p := NewPD(PDConfig{Address: 1, Capabilities: TypicalCapabilities()})
	for i := range 100 {
		p.Present(talkStart, Read{Bits: 8, Data: []byte{byte(i)}})
	}
	command := Frame{Address: 1, CRC: true, Code: CmdOUT, Data: pulse}
	for i := range 3 * MaxShown {
		p.Step(talkStart.Add(time.Duration(i)), AppendFrame(nil, &command))
	}
	shown := p.Shown()
	if len(p.events.list) != MaxEvents || p.events.list[0].data[readHead] != 100-MaxEvents {
		t.Errorf("%d events wait, the oldest is %d", len(p.events.list), p.events.list[0].data[readHead])
	}
	if len(shown) != MaxShown || !shown[MaxShown-1].At.Equal(talkStart.Add(3*MaxShown-1)) {
		t.Errorf("%d shown", len(shown))
	}
	if p.Shown() != nil {
		t.Error("shown twice")
	}
}

func FuzzPD(f *testing.F) {
	for _, v := range plainVectors() {
		f.Add(unhex(f, v.wire), uint8(1), true)
	}
	for _, v := range sessionVectors() {
		f.Add(unhex(f, v.wire), uint8(30), false)
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8, repair bool) {
		if repair && len(in) > headSize+1 && len(in) <= MaxFrame {
			in = bytes.Clone(in)
			fixCheck(in)
		}
		p := NewPD(PDConfig{
			Address: 1, Capabilities: TypicalCapabilities(), Rand: bytes.NewReader(bytes.Repeat(workedB[:], 200)), Quirks: LibOSDP(),
			Maker: func(m Mfg) ([]byte, bool) { return m.Data, true },
		})
		p.Present(talkStart, someRead)
		now := talkStart
		for rest := in; len(rest) > 0; {
			n := min(len(rest), int(step)+1)
			if got := p.Step(now, rest[:n]); len(got) > (len(in)/7+1)*(MaxFrame+1) {
				t.Fatalf("%d bytes are answered with %d", n, len(got))
			}
			rest, now = rest[n:], now.Add(time.Millisecond)
		}
		if len(p.events.list) > MaxEvents || len(p.shown) > MaxShown || cap(p.command) > 2*MaxFrame || cap(p.made) > 2*MaxFrame {
			t.Fatal("something grew")
		}
		now = now.Add(time.Second)
		restart := fromCP(p.Address(), 0, CmdID)
		restart.Data = AppendRequest(nil)
		raw := bytes.TrimLeft(p.Step(now, AppendFrame(nil, &restart)), "\xff")
		if got, err := ParseFrame(raw); err != nil || got.Code != ReplyPDID {
			t.Fatalf("after % X an ID is answered with % X", in, raw)
		}
	})
}

// TestOutputs is each control code on an output that is on for good or not,
// with and without a time running.
func TestOutputs(t *testing.T) {
	pulseOn, pulseOff := Out{Control: OutPulseOn, Time: time.Second}, Out{Control: OutPulseOff, Time: time.Second}
	for _, c := range []struct {
		name       string
		outs       []Out
		now, later bool // at once and after the time
	}{
		{"pulse on", []Out{pulseOn}, true, false},
		{"pulse off", []Out{{Control: OutOn}, pulseOff}, false, true},
		{"on", []Out{{Control: OutOn}}, true, true},
		{"off aborts", []Out{pulseOn, {Control: OutOff}}, false, false},
		{"on aborts", []Out{pulseOff, {Control: OutOn}}, true, true},
		{"off after", []Out{{Control: OutOn}, pulseOn, {Control: OutOffAfter}}, true, false},
		{"on after", []Out{pulseOff, {Control: OutOnAfter}}, false, true},
		{"keep", []Out{{Control: OutOn}, {Control: OutKeep}}, true, true},
	} {
		p := NewPD(PDConfig{Address: 1, Capabilities: TypicalCapabilities()})
		p.Step(talkStart, AppendFrame(nil, &Frame{Address: 1, CRC: true, Code: CmdOUT, Data: AppendOut(nil, c.outs...)}))
		if now, later := p.OutputOn(talkStart, 0), p.OutputOn(talkStart.Add(time.Second), 0); now != c.now || later != c.later {
			t.Errorf("%s: %v, later %v; want %v, %v", c.name, now, later, c.now, c.later)
		}
	}
}

// TestPDRefusals is what a PD refuses that no conversation above has.
func TestPDRefusals(t *testing.T) {
	bare := TypicalCapabilities()
	bare.Outputs, bare.LEDs, bare.BuzzerLevel, bare.TextLevel = 0, 0, 0, 0
	reader9 := AppendLED(nil, LED{Reader: 9, Perm: PermSet, PermBlink: Steady(Red)})
	for _, c := range []struct {
		name  string
		frame Frame
		has   Capabilities
		want  NAKCode
	}{
		{"OUT without outputs", Frame{Code: CmdOUT, Data: pulse}, bare, NAKUnknown},
		{"LED without LEDs", Frame{Code: CmdLED, Data: greenLED}, bare, NAKUnknown},
		{"BUZ without a buzzer", Frame{Code: CmdBUZ, Data: AppendBuz(nil, Buz{Tone: ToneOff})}, bare, NAKUnknown},
		{"TEXT without a display", Frame{Code: CmdTEXT, Data: AppendText(nil, &Text{Mode: TextPermanent, Row: 1, Column: 1})}, bare, NAKUnknown},
		{"ISTAT without inputs", Frame{Code: CmdISTAT}, bare, NAKUnknown},
		{"an output that is not there", Frame{Code: CmdOUT, Data: AppendOut(nil, Out{Number: 7})}, TypicalCapabilities(), NAKRecord},
		{"a reader that is not there", Frame{Code: CmdLED, Data: reader9}, TypicalCapabilities(), NAKRecord},
		{"POLL with data", Frame{Code: CmdPOLL, Data: []byte{0}}, bare, NAKLength},
		{"ID without its byte", Frame{Code: CmdID}, bare, NAKLength},
		{"MFG unknown", Frame{Code: CmdMFG, Data: []byte{1, 2, 3, 4}}, bare, NAKUnknown},
		{"COMSET to 7F", Frame{Code: CmdCOMSET, Data: AppendCom(nil, Com{Address: 0x7f, Baud: 9600})}, bare, NAKRecord},
		{"KEYSET in clear", Frame{Code: CmdKEYSET, Data: AppendKeySet(nil, newKey)}, bare, NAKSecurity},
		{"CHLNG without its block", Frame{Code: CmdCHLNG, Data: workedA[:]}, bare, NAKBlock},
		{"CHLNG too short", Frame{Block: SCS11, BlockData: []byte{0}, Code: CmdCHLNG, Data: workedA[:7]}, bare, NAKLength},
		{"CHLNG in the wrong block", Frame{Block: SCS13, BlockData: []byte{0}, Code: CmdCHLNG, Data: workedA[:]}, bare, NAKBlock},
		{"SCRYPT before CHLNG", Frame{Block: SCS13, BlockData: []byte{0}, Code: CmdSCRYPT, Data: make([]byte, 16)}, bare, NAKSecurity},
		{"a reply's block", Frame{Block: SCS12, BlockData: []byte{0}, Code: CmdPOLL}, bare, NAKBlock},
		{"no session", Frame{Block: SCS18, Code: CmdPOLL}, bare, NAKSecurity},
		{"an unknown block", Frame{Block: 0x19, Code: CmdPOLL}, bare, NAKBlock},
	} {
		c.frame.Address, c.frame.CRC = 1, true
		p := NewPD(PDConfig{Address: 1, Capabilities: c.has})
		got, err := ParseFrame(bytes.TrimLeft(p.Step(talkStart, AppendFrame(nil, &c.frame)), "\xff"))
		if err != nil || got.Code != ReplyNAK || got.Data[0] != byte(c.want) || len(p.Shown()) > 0 {
			t.Errorf("%s: %v % X, %v; want %v", c.name, &got, got.Data, err, c.want)
		}
	}
}
