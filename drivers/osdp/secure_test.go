package osdp

import (
	"bytes"
	"crypto/cipher"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

var (
	workedA    = [8]byte{0xb0, 0xb1, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7}
	workedB    = [8]byte{0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7}
	workedCUID = [8]byte{0x44, 0xca, 0x00, 0x02, 0x01, 0x01, 0x03, 0x02}
)

// shake runs a handshake between two ends and returns their sessions.
func shake(t testing.TB, key Key) (box, reader *Channel) {
	t.Helper()
	var chlng, ccrypt, scrypt, rmac Frame
	h := NewCPHandshake(key, workedA)
	h.Challenge(&chlng)
	p, err := NewPDHandshake(key, workedCUID, workedB, &chlng, &ccrypt)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Accept(&ccrypt, &scrypt); err != nil {
		t.Fatal(err)
	}
	if reader, err = p.Confirm(&scrypt, &rmac); err != nil {
		t.Fatal(err)
	}
	if box, err = h.Finish(&rmac); err != nil {
		t.Fatal(err)
	}
	return box, reader
}

func TestSessionKeys(t *testing.T) {
	h := newHandshake(DefaultKey(), workedA, workedB)
	for _, k := range []struct {
		name string
		got  Key
		want string
	}{
		{"S-ENC", h.enc, "BF8DC2A8329ACB8C67C6D0CD9A451682"},
		{"S-MAC1", h.mac1, "5E86C676603BDEE2D8BEAFE178637332"},
		{"S-MAC2", h.mac2, "6FDA86E857777E81132035758239172E"},
		{"client cryptogram", h.client, "FDE5D2F428EC16312471EA3C02BD7796"},
		{"server cryptogram", h.server, "26D3356E07762D262801FC8E6665A891"},
		{"initial R-MAC", h.rmac, "B2A30057EB98BA2229EC1F875662B524"},
		{"derived key", DeriveKey(Key(unhex(t, "101112131415161718191A1B1C1D1E1F")), workedCUID), "3E50049593BA0EE37FCA068AB1DF5646"},
		{"default key", DefaultKey(), "303132333435363738393A3B3C3D3E3F"},
	} {
		if !bytes.Equal(k.got[:], unhex(t, k.want)) {
			t.Errorf("%s is %X, want %s", k.name, k.got[:], k.want)
		}
	}
}

// TestWorkedSession plays the worked session: each frame is built by one end
// and read by the other, byte for byte.
func TestWorkedSession(t *testing.T) {
	var (
		h           = NewCPHandshake(DefaultKey(), workedA)
		p           *PDHandshake
		box, reader *Channel
		last        Frame // as the other end read it
		err         error
	)
	whole := map[string]string{
		"POLL 2": "86DA777E96C7739867CDB209C2CBB744", "POLL 3": "C550178DB4924B5931824CAF20C24755",
		"RAW 3": "86F9AE2E4976C0FC4FEB5432F748E418", "LED 1": "A2383AD6B081AF9B3ED248BD2556DE3C",
		"ACK 1": "618765346964BC9B7441D86C504CA598",
	}
	for _, v := range sessionVectors() {
		want, f := unhex(t, v.wire), v.frame
		f.Data = v.data
		switch v.name {
		case "CHLNG":
			h.Challenge(&f)
		case "CCRYPT":
			p, err = NewPDHandshake(DefaultKey(), workedCUID, workedB, &last, &f)
		case "SCRYPT":
			err = h.Accept(&last, &f)
		case "RMAC_I":
			reader, err = p.Confirm(&last, &f)
		default:
			if box == nil {
				if box, err = h.Finish(&last); err != nil {
					t.Fatal(err)
				}
			}
			if f.Reply {
				reader.SealReply(&f)
			} else {
				box.SealCommand(&f)
			}
		}
		if err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if got := AppendFrame(nil, &f)[1:]; !bytes.Equal(got, want) {
			t.Fatalf("%s: built % X\nwant % X", v.name, got, want)
		}
		if last, err = ParseFrame(want); err != nil {
			t.Fatalf("%s: %v", v.name, err)
		}
		if !last.Block.Secured() {
			continue
		}
		if f.Reply {
			err = box.OpenReply(&last, want)
		} else {
			err = reader.OpenCommand(&last, want)
		}
		if err != nil || !bytes.Equal(last.Data, v.data) {
			t.Fatalf("%s: opened % X, error %v; want % X", v.name, last.Data, err, v.data)
		}
		reencode(t, &last)
		if text := whole[v.name]; text != "" {
			mac := box.cmac
			if f.Reply {
				mac = box.rmac
			}
			if !bytes.Equal(mac[:], unhex(t, text)) {
				t.Errorf("%s: whole MAC %X, want %s", v.name, mac[:], text)
			}
		}
	}
	if h.CUID() != workedCUID || !box.ByDefaultKey() {
		t.Errorf("cUID % X, by default key %v", h.CUID(), box.ByDefaultKey())
	}
}

func TestZeroKeyVectors(t *testing.T) {
	counting := Key{0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7}
	for _, v := range []struct {
		wire string
		code byte
		data []byte
	}{
		{"53 00 0E 00 0E 02 15 60 4B 32 76 77 73 B6", CmdPOLL, nil},
		{"53 00 1E 00 0E 02 17 6E AC A3 C2 FF E4 D9 E5 99 CD 77 1B 8E F3 D1 3F 23 FA AB 63 4E 08 95", CmdCOMSET, AppendCom(nil, Com{1, 9600})},
		{"53 00 2E 00 0E 02 17 75 F0 DD EC 9A 0E D8 CE 4C 80 BA F5 D5 5C 18 43 6F 91 89 FD 66 C9 F2 23 DC 04 14 86 D8 33 57 DF 98 6C 1D 4B C2 B2 F2", CmdKEYSET, AppendKeySet(nil, counting)},
	} {
		want, f := unhex(t, v.wire), fromCP(0, 2, v.code)
		f.Data = v.data
		newChannel(Key{}, Key{}, Key{}, Key{}).SealCommand(&f)
		if got := AppendFrame(nil, &f)[1:]; !bytes.Equal(got, want) {
			t.Errorf("%s: built % X\nwant % X", CommandName(v.code), got, want)
		}
		g, err := ParseFrame(want)
		if err == nil {
			err = newChannel(Key{}, Key{}, Key{}, Key{}).OpenCommand(&g, want)
		}
		if err != nil || !bytes.Equal(g.Data, v.data) {
			t.Errorf("%s: opened % X, error %v; want % X", CommandName(v.code), g.Data, err, v.data)
		}
	}
}

// TestEveryLength exchanges data of each length around the block size, both
// ways, on one chain.
func TestEveryLength(t *testing.T) {
	box, reader := shake(t, newKey)
	for n := range 130 {
		data := bytes.Repeat([]byte{0x80}, n)
		f := fromCP(1, 1, CmdMFG)
		f.Data = data
		box.SealCommand(&f)
		if len(f.Data) != SealedLen(n) {
			t.Fatalf("%d bytes are sealed to %d, SealedLen says %d", n, len(f.Data), SealedLen(n))
		}
		raw := AppendFrame(nil, &f)[1:]
		got, err := ParseFrame(raw)
		if err == nil {
			err = reader.OpenCommand(&got, raw)
		}
		if err != nil || !bytes.Equal(got.Data, data) {
			t.Fatalf("command of %d bytes: error %v", n, err)
		}
		r := fromPD(1, 1, ReplyMFGREP)
		r.Data = data
		reader.SealReply(&r)
		raw = AppendFrame(raw[:0], &r)[1:]
		if got, err = ParseFrame(raw); err == nil {
			err = box.OpenReply(&got, raw)
		}
		if err != nil || !bytes.Equal(got.Data, data) {
			t.Fatalf("reply of %d bytes: error %v", n, err)
		}
	}
}

// TestMAC compares the MAC of each length with CBC of the standard library over
// the padded message.
func TestMAC(t *testing.T) {
	h := newHandshake(newKey, workedA, workedB)
	c := h.channel(newKey)
	for n := 1; n < 70; n++ {
		message := bytes.Repeat([]byte{0x5a}, n)
		padded := bytes.Clone(message)
		if n%16 != 0 {
			padded = append(append(padded, 0x80), make([]byte, 15-n%16)...)
		}
		icv := h.rmac
		if head := padded[:len(padded)-16]; len(head) > 0 {
			cipher.NewCBCEncrypter(newAES(h.mac1), icv[:]).CryptBlocks(head, head)
			icv = Key(head[len(head)-16:])
		}
		last := padded[len(padded)-16:]
		cipher.NewCBCEncrypter(newAES(h.mac2), icv[:]).CryptBlocks(last, last)
		if c.sum(message, &h.rmac); !bytes.Equal(c.next[:], last) {
			t.Errorf("MAC of %d bytes is %X, want %X", n, c.next[:], last)
		}
	}
}

// TestDamagedIsRefused flips each bit of a sealed frame; what is refused leaves
// the chain as it was, so that the right frame is still taken.
func TestDamagedIsRefused(t *testing.T) {
	box, reader := shake(t, newKey)
	f := fromCP(1, 1, CmdLED)
	f.Data = AppendLED(nil, LED{Temp: TempSet, TempBlink: Steady(Green), TempTime: time.Second})
	box.SealCommand(&f)
	good := AppendFrame(nil, &f)[1:]
	for bit := range (len(good) - crcSize) * 8 {
		raw := bytes.Clone(good)
		raw[bit/8] ^= 1 << (bit % 8)
		end := len(raw) - crcSize
		crc := crc16(raw[:end])
		raw[end], raw[end+1] = byte(crc), byte(crc>>8)
		got, err := ParseFrame(raw)
		if err == nil {
			err = reader.OpenCommand(&got, raw)
		}
		if err == nil {
			t.Errorf("the frame with bit %d turned over is taken", bit)
		}
	}
	got, err := ParseFrame(good)
	if err == nil {
		err = reader.OpenCommand(&got, good)
	}
	if err != nil {
		t.Errorf("after refusals the right frame is refused: %v", err)
	}
	ack := fromPD(1, 1, ReplyACK)
	reader.SealReply(&ack)
	if got, err = ParseFrame(good); err != nil {
		t.Fatal(err)
	}
	if err := reader.OpenCommand(&got, good); !errors.Is(err, ErrMAC) {
		t.Errorf("the same frame after its reply: %v", err)
	}
}

// sealRaw seals data that is not padded.
func sealRaw(c *Channel, f *Frame, data []byte) []byte {
	f.Reply, f.Block = true, SCS18
	padded := c.encrypt(data, &c.cmac)
	f.Data = padded[:len(data)/16*16]
	c.authenticate(f, &c.cmac, &c.rmac)
	return AppendFrame(nil, f)[1:]
}

func TestPadding(t *testing.T) {
	for _, c := range []struct {
		name, data string
		code       byte
		want       string // clear data; empty = refused
	}{
		{"80 and zeros", "AA 80" + strings.Repeat(" 00", 14), ReplyRAW, "AA"},
		{"80 in the last byte", strings.Repeat("AA ", 15) + "80", ReplyRAW, strings.Repeat("AA ", 15)},
		{"none", strings.Repeat("AA ", 16), ReplyRAW, ""},
		{"zeros alone", strings.Repeat("00 ", 16), ReplyRAW, ""},
		{"80 a block too early", "AA 80" + strings.Repeat(" 00", 30), ReplyRAW, ""},
		{"something behind it", "AA 80 01" + strings.Repeat(" 00", 13), ReplyRAW, ""},
		{"a NAK without", "06" + strings.Repeat(" 00", 15), ReplyNAK, "06"},
	} {
		box, reader := shake(t, newKey)
		ask := fromCP(1, 1, CmdPOLL)
		box.SealCommand(&ask)
		raw := AppendFrame(nil, &ask)[1:]
		if got, err := ParseFrame(raw); err != nil || reader.OpenCommand(&got, raw) != nil {
			t.Fatal("the POLL is refused")
		}
		f := fromPD(1, 1, c.code)
		raw = sealRaw(reader, &f, unhex(t, c.data))
		got, err := ParseFrame(raw)
		if err != nil {
			t.Fatal(err)
		}
		err = box.OpenReply(&got, raw)
		if c.want == "" && !errors.Is(err, ErrPadding) || c.want != "" && (err != nil || !bytes.Equal(got.Data, unhex(t, c.want))) {
			t.Errorf("%s: data % X, error %v", c.name, got.Data, err)
		}
	}
}

// TestClearDataInSession is what is tolerated of replies with a right MAC and
// data in clear.
func TestClearDataInSession(t *testing.T) {
	for _, c := range []struct {
		command, reply byte
		block          BlockType
		ok             bool
	}{
		{CmdLSTAT, ReplyLSTATR, SCS15, true},
		{CmdISTAT, ReplyISTATR, SCS16, true},
		{CmdOSTAT, ReplyOSTATR, SCS15, true},
		{CmdOUT, ReplyOSTATR, SCS15, true},
		{CmdRSTAT, ReplyRSTATR, SCS15, true},
		{CmdPOLL, ReplyNAK, SCS16, true},
		{CmdPOLL, ReplyLSTATR, SCS15, false},
		{CmdLSTAT, ReplyISTATR, SCS15, false},
		{CmdPOLL, ReplyRAW, SCS16, false},
		{CmdPOLL, ReplyRAW, SCS17, false},
	} {
		box, reader := shake(t, newKey)
		ask := fromCP(1, 1, c.command)
		box.SealCommand(&ask)
		reader.cmac = box.cmac
		f := fromPD(1, 1, c.reply)
		f.Block, f.Data = c.block, []byte{1, 0}
		reader.authenticate(&f, &reader.cmac, &reader.rmac)
		raw := AppendFrame(nil, &f)[1:]
		got, err := ParseFrame(raw)
		if err != nil {
			t.Fatal(err)
		}
		if err := box.OpenReply(&got, raw); (err == nil) != c.ok {
			t.Errorf("%s to %s under block %02X: %v", ReplyName(c.reply), CommandName(c.command), byte(c.block), err)
		}
	}
}

func TestHandshakeRefusals(t *testing.T) {
	var chlng, ccrypt, scrypt, rmac Frame
	begin := func() (*CPHandshake, *PDHandshake) {
		h := NewCPHandshake(newKey, workedA)
		h.Challenge(&chlng)
		p, err := NewPDHandshake(newKey, workedCUID, workedB, &chlng, &ccrypt)
		if err != nil {
			t.Fatal(err)
		}
		return h, p
	}

	h, p := begin()
	if _, err := h.Finish(&rmac); !errors.Is(err, ErrBlock) {
		t.Errorf("an RMAC_I before the CCRYPT: %v", err)
	}
	for i := 16; i < len(ccrypt.Data); i++ {
		ccrypt.Data[i] ^= 1
		if err := h.Accept(&ccrypt, &scrypt); !errors.Is(err, ErrCryptogram) {
			t.Errorf("client cryptogram wrong in byte %d: %v", i-16, err)
		}
		ccrypt.Data[i] ^= 1
	}
	if err := h.Accept(&ccrypt, &scrypt); err != nil {
		t.Fatal(err)
	}
	wrong := scrypt
	wrong.Data = bytes.Clone(scrypt.Data)
	wrong.Data[15] ^= 0x80
	if _, err := p.Confirm(&wrong, &rmac); !errors.Is(err, ErrCryptogram) || rmac.BlockData[0] == statusAccepted || !bytes.Equal(rmac.Data, make([]byte, 16)) {
		t.Errorf("server cryptogram wrong: %v, status %02X, data % X", err, rmac.BlockData, rmac.Data)
	}
	if _, err := h.Finish(&rmac); !errors.Is(err, ErrRefused) {
		t.Errorf("the PD's refusal: %v", err)
	}

	h, p = begin()
	if err := h.Accept(&ccrypt, &scrypt); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Confirm(&scrypt, &rmac); err != nil {
		t.Fatal(err)
	}
	right := bytes.Clone(rmac.Data)
	rmac.Data = bytes.Clone(right)
	rmac.Data[0] ^= 1
	if _, err := h.Finish(&rmac); !errors.Is(err, ErrCryptogram) {
		t.Errorf("status 01 with another R-MAC: %v", err)
	}
	rmac.Data, rmac.Block = right, SCS12
	if _, err := h.Finish(&rmac); err != nil {
		t.Errorf("RMAC_I under block 12: %v", err)
	}
	if err := h.Accept(&rmac, &scrypt); !errors.Is(err, ErrBlock) {
		t.Errorf("an RMAC_I instead of the CCRYPT: %v", err)
	}
}

func TestKeysAreHidden(t *testing.T) {
	key := Key(bytes.Repeat([]byte{0xab}, 16))
	box, _ := shake(t, key)
	h := NewCPHandshake(key, workedA)
	reader := NewPD(PDConfig{Key: &key})
	for _, v := range []any{
		key, &key, []Key{key}, map[string]Key{"a": key}, struct{ K Key }{key}, box, *box, h, *h, reader, *reader,
		PDConfig{Key: &key}, Read{Bits: 8, Data: []byte{0xab}}, Keypad{Keys: []byte{0xab}}, Formatted{Characters: []byte{0xab}},
		Frame{Data: []byte{0xab}},
	} {
		encoded, err := json.Marshal(key)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{fmt.Sprintf("%v", v), fmt.Sprintf("%+v", v), fmt.Sprintf("%#v", v), fmt.Sprintf("%x", v), fmt.Sprintf("%d", v), fmt.Sprintf("%s", v), string(encoded)} {
			if strings.Contains(strings.ToLower(text), "abab") || strings.Contains(text, "171") || strings.Contains(text, "0xab") {
				t.Errorf("%T shows its secret: %s", v, text)
			}
		}
	}
}

func TestWeakKeys(t *testing.T) {
	for text, weak := range map[string]bool{
		"303132333435363738393A3B3C3D3E3F": true,
		"00000000000000000000000000000000": true,
		"FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF": true,
		"0F0E0D0C0B0A09080706050403020100": true,
		"00112233445566778899AABBCCDDEEFF": true,
		"3E50049593BA0EE37FCA068AB1DF5646": false,
	} {
		key, err := ParseKey(" " + text + "\n")
		if err != nil {
			t.Fatal(err)
		}
		if key.Weak() != weak {
			t.Errorf("key %s: weak %v, want %v", text, key.Weak(), weak)
		}
	}
	for _, bad := range []string{"", "30", strings.Repeat("zz", 16), strings.Repeat("30", 17)} {
		if _, err := ParseKey(bad); !errors.Is(err, ErrKey) || bad != "" && len(bad) > 2 && strings.Contains(err.Error(), bad) {
			t.Errorf("ParseKey of a bad text: %v", err)
		}
	}
}
