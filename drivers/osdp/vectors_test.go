package osdp

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"
	"time"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// vector is a frame in clear that other implementations agree on, and what it
// says.
type vector struct {
	name  string
	wire  string
	frame Frame // Data is filled from data
	data  []byte
}

// fromCP and fromPD are the heads of frames with CRC.
func fromCP(address, sqn, code byte) Frame {
	return Frame{Address: address, SQN: sqn, CRC: true, Code: code}
}

func fromPD(address, sqn, code byte) Frame {
	return Frame{Address: address, Reply: true, SQN: sqn, CRC: true, Code: code}
}

func withSum(f Frame) Frame {
	f.CRC = false
	return f
}

var eightyBits = []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}

func plainVectors() []vector {
	green := LED{Temp: TempSet, TempBlink: Blink{On: 5 * Tick, OnColor: Green}, TempTime: 2 * time.Second}
	red := LED{Temp: TempSet, TempBlink: Blink{On: 2 * Tick, Off: 2 * Tick, OnColor: Red}, TempTime: 3 * time.Second}
	return []vector{
		{"POLL", "53 01 08 00 04 60 BA 00", fromCP(1, 0, CmdPOLL), nil},
		{"POLL checksum", "53 01 07 00 00 60 45", withSum(fromCP(1, 0, CmdPOLL)), nil},
		{"ACK", "53 81 08 00 04 40 08 06", fromPD(1, 0, ReplyACK), nil},
		{"ACK checksum", "53 81 07 00 00 40 E5", withSum(fromPD(1, 0, ReplyACK)), nil},
		{"ID", "53 01 09 00 05 61 00 50 14", fromCP(1, 1, CmdID), AppendRequest(nil)},
		{"CAP", "53 01 09 00 06 62 00 53 18", fromCP(1, 2, CmdCAP), AppendRequest(nil)},
		{"NAK", "53 81 09 00 04 41 04 22 B1", fromPD(1, 0, ReplyNAK), AppendNAK(nil, &NAK{Code: NAKSequence})},
		{"BUSY", "53 81 08 00 04 79 72 A1", fromPD(1, 0, ReplyBUSY), nil},
		{"RAW 80", "53 81 16 00 06 50 00 00 50 00 01 02 03 04 05 06 07 08 09 0A F1 2A", fromPD(1, 2, ReplyRAW),
			AppendRead(nil, &Read{Bits: 80, Data: eightyBits})},
		{"RAW 26", "53 81 10 00 07 50 00 01 1A 00 A5 A5 A5 80 14 8A", fromPD(1, 3, ReplyRAW),
			AppendRead(nil, &Read{Coding: ReadWiegand, Bits: 26, Data: []byte{0xa5, 0xa5, 0xa5, 0x80}})},
		{"LED green", "53 01 16 00 07 69 00 00 02 05 00 02 00 14 00 00 00 00 00 00 5E D2", fromCP(1, 3, CmdLED), AppendLED(nil, green)},
		{"LED red", "53 01 16 00 05 69 00 00 02 02 02 01 00 1E 00 00 00 00 00 00 0A BB", fromCP(1, 1, CmdLED), AppendLED(nil, red)},
		{"BUZ one", "53 01 0D 00 06 6A 00 02 01 01 01 1F F1", fromCP(1, 2, CmdBUZ),
			AppendBuz(nil, Buz{Tone: ToneDefault, On: Tick, Off: Tick, Count: 1})},
		{"BUZ three", "53 01 0D 00 07 6A 00 02 02 01 03 6C 30", fromCP(1, 3, CmdBUZ),
			AppendBuz(nil, Buz{Tone: ToneDefault, On: 2 * Tick, Off: Tick, Count: 3})},
		{"OUT", "53 01 0C 00 05 68 00 05 0A 00 E5 75", fromCP(1, 1, CmdOUT), AppendOut(nil, Out{Control: OutPulseOn, Time: time.Second})},
		{"TEXT", "53 01 10 00 06 6B 00 03 03 01 01 02 47 4F 64 7E", fromCP(1, 2, CmdTEXT),
			AppendText(nil, &Text{Mode: TextTemporary, Time: 3 * time.Second, Row: 1, Column: 1, Characters: "GO"})},
		{"LSTATR", "53 81 0A 00 07 48 01 00 A2 A1", fromPD(1, 3, ReplyLSTATR), AppendLocalStatus(nil, LocalStatus{Tamper: true})},
		{"KEYPAD", "53 81 0D 00 05 53 00 03 31 32 0D 9C 88", fromPD(1, 1, ReplyKEYPAD), AppendKeypad(nil, &Keypad{Keys: []byte("12\r")})},
		{"COMSET 7F", "53 7F 0D 00 04 6E 05 00 C2 01 00 91 D0", fromCP(0x7f, 0, CmdCOMSET), AppendCom(nil, Com{5, 115200})},
		{"COMSET annex", "53 7F 0D 00 04 6E 00 80 25 00 00 6E 38", fromCP(0x7f, 0, CmdCOMSET), AppendCom(nil, Com{0, 9600})},
		{"COMSET checksum", "53 7F 0C 00 00 6E 00 80 25 00 00 0F", withSum(fromCP(0x7f, 0, CmdCOMSET)), AppendCom(nil, Com{0, 9600})},
		{"ID annex", "53 00 09 00 04 61 00 C0 66", fromCP(0, 0, CmdID), AppendRequest(nil)},
		{"ID checksum", "53 00 08 00 00 61 00 44", withSum(fromCP(0, 0, CmdID)), AppendRequest(nil)},
		{"PDID", "53 80 14 00 06 45 00 0E E3 10 10 00 00 74 97 23 06 06 1B 88", fromPD(0, 2, ReplyPDID),
			AppendPDID(nil, PDID{OUI: [3]byte{0, 0x0e, 0xe3}, Model: 16, Version: 16, Serial: 0x97740000, Firmware: [3]byte{35, 6, 6}})},
		{"OUT two", "53 00 10 00 06 68 00 03 64 00 01 06 78 00 0B 5B", fromCP(0, 2, CmdOUT),
			AppendOut(nil, Out{Control: OutOffAfter, Time: 10 * time.Second}, Out{Number: 1, Control: OutPulseOff, Time: 12 * time.Second})},
	}
}

// sessionVectors are the frames of the worked session, in its order, with the
// clear data of those that encrypt it.
func sessionVectors() []vector {
	frame := func(f Frame, block BlockType, blockData ...byte) Frame {
		f.Block, f.BlockData = block, blockData
		return f
	}
	return []vector{
		{"CHLNG", "53 01 13 00 0C 03 11 00 76 B0 B1 B2 B3 B4 B5 B6 B7 76 9A", frame(fromCP(1, 0, CmdCHLNG), SCS11, 0), nil},
		{"CCRYPT", "53 81 2B 00 0C 03 12 00 76 44 CA 00 02 01 01 03 02 A0 A1 A2 A3 A4 A5 A6 A7 FD E5 D2 F4 28 EC 16 31 24 71 EA 3C 02 BD 77 96 DA D7", frame(fromPD(1, 0, ReplyCCRYPT), SCS12, 0), nil},
		{"SCRYPT", "53 01 1B 00 0D 03 13 00 77 26 D3 35 6E 07 76 2D 26 28 01 FC 8E 66 65 A8 91 78 ED", frame(fromCP(1, 1, CmdSCRYPT), SCS13, 0), nil},
		{"RMAC_I", "53 81 1B 00 0D 03 14 01 78 B2 A3 00 57 EB 98 BA 22 29 EC 1F 87 56 62 B5 24 56 B2", frame(fromPD(1, 1, ReplyRMACI), SCS14, 1), nil},
		{"POLL 2", "53 01 0E 00 0E 02 15 60 86 DA 77 7E 90 4F", fromCP(1, 2, CmdPOLL), nil},
		{"ACK 2", "53 81 0E 00 0E 02 16 40 F5 E7 DF 51 69 1F", fromPD(1, 2, ReplyACK), nil},
		{"POLL 3", "53 01 0E 00 0F 02 15 60 C5 50 17 8D CE D5", fromCP(1, 3, CmdPOLL), nil},
		{"RAW 3", "53 81 1E 00 0F 02 18 50 99 70 0E EA DD 10 58 44 71 FD FD FC AB FD E2 79 86 F9 AE 2E A3 23", fromPD(1, 3, ReplyRAW),
			AppendRead(nil, &Read{Bits: 80, Data: eightyBits})},
		{"LED 1", "53 01 1E 00 0D 02 17 69 7D 99 9D D2 00 CC DF B3 4C 5A FF 5F 35 6E 21 31 A2 38 3A D6 B7 3A", fromCP(1, 1, CmdLED),
			AppendLED(nil, LED{Temp: TempSet, TempBlink: Blink{On: 5 * Tick, OnColor: Green}, TempTime: 2 * time.Second})},
		{"ACK 1", "53 81 0E 00 0D 02 16 40 61 87 65 34 DC 8D", fromPD(1, 1, ReplyACK), nil},
		{"KEYSET 2", "53 01 2E 00 0E 02 17 75 50 85 48 78 4D F9 FB A3 45 4D FF 24 CD AD 23 40 8F D1 B7 6A 9D 68 7A 8C 11 D5 4A 30 EB 4E 0B 3F 58 1C 3C D2 17 3B", fromCP(1, 2, CmdKEYSET),
			AppendKeySet(nil, newKey)},
		{"ACK 2", "53 81 0E 00 0E 02 16 40 29 92 7C 28 33 6C", fromPD(1, 2, ReplyACK), nil},
	}
}

// newKey is the key that the worked session sets.
var newKey = Key{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}

func TestCheckValues(t *testing.T) {
	if got := crc16([]byte("123456789")); got != 0xe5cc {
		t.Errorf("CRC of 123456789 is %04X, not E5CC", got)
	}
	if got := checksum([]byte{0x53, 0x01, 0x07, 0x00, 0x00, 0x60}); got != 0x45 {
		t.Errorf("checksum is %02X, not 45", got)
	}
}

func TestPlainVectors(t *testing.T) {
	for _, v := range plainVectors() {
		t.Run(v.name, func(t *testing.T) {
			want, f := unhex(t, v.wire), v.frame
			f.Data = v.data
			if got := AppendFrame(nil, &f); got[0] != markByte || !bytes.Equal(got[1:], want) {
				t.Errorf("encoded % X\nwant FF % X", got, want)
			}
			if f.Size() != len(want) {
				t.Errorf("Size is %d, not %d", f.Size(), len(want))
			}
			got, err := ParseFrame(want)
			if err != nil {
				t.Fatal(err)
			}
			sameFrame(t, &got, &f)
			reencode(t, &got)
		})
	}
}

func sameFrame(t testing.TB, got, want *Frame) {
	t.Helper()
	if got.Address != want.Address || got.Reply != want.Reply || got.SQN != want.SQN || got.CRC != want.CRC || got.Code != want.Code ||
		got.Block != want.Block || !bytes.Equal(got.BlockData, want.BlockData) || !bytes.Equal(got.Data, want.Data) || got.MAC != want.MAC {
		t.Errorf("parsed %v data % X\n  want %v data % X", got, got.Data, want, want.Data)
	}
}

// reencode decodes the payload of a frame in clear and encodes it again: the
// bytes must be the same.
func reencode(t testing.TB, f *Frame) {
	t.Helper()
	again, known, err := payloadAgain(f)
	switch {
	case err != nil:
		t.Errorf("%v: %v", f, err)
	case known && !bytes.Equal(again, f.Data):
		t.Errorf("%v: data % X encodes again to % X", f, f.Data, again)
	}
}

// payloadAgain decodes and encodes the data of f; known is false for codes
// whose data has no decoder.
func payloadAgain(f *Frame) (again []byte, known bool, err error) {
	if f.Reply {
		return replyAgain(f)
	}
	switch f.Code {
	case CmdID, CmdCAP:
		return AppendRequest(nil), true, ParseRequest(f.Data)
	case CmdOUT:
		out, err := ParseOut(nil, f.Data)
		return AppendOut(nil, out...), true, err
	case CmdLED:
		leds, err := ParseLED(nil, f.Data)
		return AppendLED(nil, leds...), true, err
	case CmdBUZ:
		buz, err := ParseBuz(nil, f.Data)
		return AppendBuz(nil, buz...), true, err
	case CmdTEXT:
		text, err := ParseText(f.Data)
		return AppendText(nil, &text), true, err
	case CmdCOMSET:
		com, err := ParseCom(f.Data)
		return AppendCom(nil, com), true, err
	case CmdKEYSET:
		key, err := ParseKeySet(f.Data)
		return AppendKeySet(nil, key), true, err
	case CmdKEEPACTIVE:
		d, err := ParseKeepActive(f.Data)
		return AppendKeepActive(nil, d), true, err
	case CmdMFG:
		m, err := ParseMfg(f.Data)
		return AppendMfg(nil, &m), true, err
	}
	return nil, false, nil
}

func replyAgain(f *Frame) (again []byte, known bool, err error) {
	switch f.Code {
	case ReplyNAK:
		n, err := ParseNAK(f.Data)
		return AppendNAK(nil, &n), true, err
	case ReplyPDID:
		id, err := ParsePDID(f.Data)
		return AppendPDID(nil, id), true, err
	case ReplyRAW:
		r, err := ParseRead(f.Data)
		return AppendRead(nil, &r), true, err
	case ReplyFMT:
		r, err := ParseFormatted(f.Data)
		return AppendFormatted(nil, &r), true, err
	case ReplyKEYPAD:
		k, err := ParseKeypad(f.Data)
		return AppendKeypad(nil, &k), true, err
	case ReplyCOM:
		com, err := ParseCom(f.Data)
		return AppendCom(nil, com), true, err
	case ReplyCCRYPT:
		c, err := ParseCCrypt(f.Data)
		return AppendCCrypt(nil, &c), true, err
	case ReplyMFGREP:
		m, err := ParseMfg(f.Data)
		return AppendMfg(nil, &m), true, err
	}
	return nil, false, nil
}
