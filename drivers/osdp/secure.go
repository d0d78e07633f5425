package osdp

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// Key is a PD's base key for Secure Channel (SCBK), AES-128, or a session key.
// Every fmt verb and every text encoding hides it.
type Key [16]byte

// Format hides the key, whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { hide(f, "key") }

// MarshalText hides the key from JSON and structured logs.
func (k Key) MarshalText() ([]byte, error) { return []byte("key:hidden"), nil }

// DefaultKey returns SCBK-D, the key that everybody knows. It serves only to
// install another one.
func DefaultKey() Key { return Key([]byte("0123456789:;<=>?")) }

// ErrKey is wrapped by the errors of ParseKey.
var ErrKey = errors.New("bad reader key")

// ParseKey reads a key of 32 hexadecimal digits, blanks around it ignored. The
// error wraps ErrKey and never shows the text.
func ParseKey(text string) (Key, error) {
	var k Key
	text = strings.TrimSpace(text)
	if len(text) != 2*len(k) {
		return k, fmt.Errorf("%w: it has %d characters, not 32 hexadecimal digits", ErrKey, len(text))
	}
	if _, err := hex.Decode(k[:], []byte(text)); err != nil {
		return Key{}, fmt.Errorf("%w: it holds a character that is not a hexadecimal digit", ErrKey)
	}
	return k, nil
}

// Weak reports whether the key is one that an attacker tries first: all bytes
// alike or counting up or down by a constant step, which the default key and
// the examples in makers' manuals do.
func (k Key) Weak() bool {
	step := k[1] - k[0]
	for i := 2; i < len(k); i++ {
		if k[i]-k[i-1] != step {
			return false
		}
	}
	return true
}

// DeriveKey computes a PD's base key from a master key and the PD's cUID. The
// standard allows it; a random key per PD is better, because cUIDs are not
// reliable and one lost master key loses every reader.
func DeriveKey(master Key, cuid [8]byte) Key {
	var in Key
	for i, c := range cuid {
		in[i], in[i+8] = c, ^c
	}
	return encryptBlock(newAES(master), in)
}

func newAES(key Key) cipher.Block {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("osdp: AES refuses a 16-byte key: " + err.Error()) // cannot be: the size is fixed
	}
	return block
}

func encryptBlock(block cipher.Block, in Key) (out Key) {
	block.Encrypt(out[:], in[:])
	return out
}

var (
	// ErrMAC is returned for a frame whose MAC is not the session's.
	ErrMAC = errors.New("wrong MAC")
	// ErrPadding is returned for encrypted data that was not padded as the
	// standard wants.
	ErrPadding = errors.New("wrong padding")
)

// Channel is one Secure Channel session, seen from either end. It does not
// know of retries: a frame that is sent again is the stored bytes, and a frame
// that came again is answered with the stored bytes; neither passes here a
// second time. A failed Open leaves the chain as it was; what the failure means
// for the session is the caller's to decide. It does not allocate once its
// buffers have grown. Not safe for concurrent use.
type Channel struct {
	enc, mac1, mac2 cipher.Block
	rmac, cmac      Key  // the whole MAC of the last reply, of the last command
	asked           byte // code of the last command sealed
	byDefault       bool

	x, next, iv    Key // scratch; a local handed to a cipher.Block would be allocated
	body           []byte
	sealed, opened []byte
}

// Format hides the session's keys, whatever the verb.
func (c Channel) Format(f fmt.State, _ rune) { hide(f, "channel") }

func newChannel(enc, mac1, mac2, rmac Key) *Channel {
	return &Channel{enc: newAES(enc), mac1: newAES(mac1), mac2: newAES(mac2), rmac: rmac}
}

// ByDefaultKey reports whether the session stands on SCBK-D.
func (c *Channel) ByDefaultKey() bool { return c.byDefault }

// SealedLen is the length of n bytes of data once encrypted.
func SealedLen(n int) int {
	if n == 0 {
		return 0
	}
	return n/aes.BlockSize*aes.BlockSize + aes.BlockSize
}

// SealCommand turns a clear command into one of the session: it sets Block,
// encrypts Data and sets MAC, so that AppendFrame can follow. Address, SQN, CRC
// and Code are set before. f.Data is afterwards the Channel's and valid until
// the next Seal.
func (c *Channel) SealCommand(f *Frame) {
	f.Reply, c.asked = false, f.Code
	c.seal(f, SCS15, &c.rmac, &c.cmac)
}

// SealReply is SealCommand for the PD's end.
func (c *Channel) SealReply(f *Frame) {
	f.Reply = true
	c.seal(f, SCS16, &c.cmac, &c.rmac)
}

// sealClear is SealReply with the data in clear under block type 15, which is
// how some PDs answer a question for their status.
func (c *Channel) sealClear(f *Frame) {
	f.Reply, f.Block, f.BlockData = true, SCS15, nil
	c.authenticate(f, &c.cmac, &c.rmac)
}

func (c *Channel) seal(f *Frame, empty BlockType, icv, next *Key) {
	f.Block, f.BlockData = empty, nil
	if len(f.Data) > 0 {
		f.Block = empty + 2
		f.Data = c.encrypt(f.Data, icv)
	}
	c.authenticate(f, icv, next)
}

func (c *Channel) authenticate(f *Frame, icv, next *Key) {
	c.body = appendBody(c.body[:0], f)
	c.sum(c.body, icv)
	*next = c.next
	copy(f.MAC[:], next[:])
}

// OpenCommand checks a command of the session, raw being the whole frame and f
// what ParseFrame made of it, and replaces f.Data by the clear data, which is
// the Channel's and valid until the next Open. The error is ErrBlock, ErrMAC
// or ErrPadding.
func (c *Channel) OpenCommand(f *Frame, raw []byte) error {
	if f.Block != SCS17 && (f.Block != SCS15 || len(f.Data) > 0) {
		return ErrBlock
	}
	return c.open(f, raw, &c.rmac, &c.cmac)
}

// OpenReply is OpenCommand for the CP's end. Three habits of PDs are taken as
// long as the MAC is right: data in clear under block type 15 or 16 in the
// answer to a question for that very status, the same with a NAK, and a NAK
// under block type 18 whose data is not padded. A reply without a block is not
// of the session: BUSY, NAK and the ACK to KEYSET may come so, and leave the
// chain as it is.
func (c *Channel) OpenReply(f *Frame, raw []byte) error {
	switch f.Block {
	case SCS15, SCS16:
		if len(f.Data) > 0 && f.Code != ReplyNAK && !isStatusFor(f.Code, c.asked) {
			return ErrBlock
		}
	case SCS18:
	default:
		return ErrBlock
	}
	return c.open(f, raw, &c.cmac, &c.rmac)
}

// isStatusFor reports whether reply is the status that command asks for.
func isStatusFor(reply, command byte) bool {
	switch command {
	case CmdLSTAT:
		return reply == ReplyLSTATR
	case CmdISTAT:
		return reply == ReplyISTATR
	case CmdOSTAT, CmdOUT:
		return reply == ReplyOSTATR
	case CmdRSTAT:
		return reply == ReplyRSTATR
	}
	return false
}

func (c *Channel) open(f *Frame, raw []byte, icv, next *Key) error {
	c.sum(macCovers(raw), icv)
	if subtle.ConstantTimeCompare(c.next[:macSize], f.MAC[:]) != 1 {
		return ErrMAC
	}
	if f.Block >= SCS17 && len(f.Data) > 0 {
		plain, ok := c.decrypt(f.Data, icv)
		switch {
		case ok:
			f.Data = plain
		case f.Code != ReplyNAK || !f.Reply:
			return ErrPadding
		case len(plain) > 0: // encrypted and not padded: the reason is all that is sure
			f.Data = plain[:1]
		}
	}
	*next = c.next
	return nil
}

// sum leaves the whole MAC of p in c.next.
func (c *Channel) sum(p []byte, icv *Key) {
	c.x = *icv
	for len(p) > aes.BlockSize {
		subtle.XORBytes(c.x[:], c.x[:], p[:aes.BlockSize])
		c.mac1.Encrypt(c.x[:], c.x[:])
		p = p[aes.BlockSize:]
	}
	subtle.XORBytes(c.x[:], c.x[:], p)
	if len(p) < aes.BlockSize {
		c.x[len(p)] ^= 0x80
	}
	c.mac2.Encrypt(c.next[:], c.x[:])
}

// encrypt pads and encrypts data; the result is valid until the next call.
func (c *Channel) encrypt(data []byte, icv *Key) []byte {
	out := append(c.sealed[:0], data...)
	out = append(out, 0x80)
	for len(out)%aes.BlockSize != 0 {
		out = append(out, 0)
	}
	c.sealed = out
	c.invert(icv)
	previous := c.iv[:]
	for b := out; len(b) > 0; b = b[aes.BlockSize:] {
		subtle.XORBytes(b, b[:aes.BlockSize], previous)
		c.enc.Encrypt(b, b)
		previous = b[:aes.BlockSize]
	}
	return out
}

// decrypt returns the clear data, valid until the next call, and whether it
// was padded as it must be. Without whole blocks there is no clear data.
func (c *Channel) decrypt(data []byte, icv *Key) (plain []byte, ok bool) {
	if len(data)%aes.BlockSize != 0 {
		return nil, false
	}
	c.opened = append(c.opened[:0], data...)
	c.invert(icv)
	previous := c.iv[:]
	for b := c.opened; len(b) > 0; b = b[aes.BlockSize:] {
		c.enc.Decrypt(b, b)
		subtle.XORBytes(b, b[:aes.BlockSize], previous)
		previous, data = data[:aes.BlockSize], data[aes.BlockSize:]
	}
	n, ok := unpad(c.opened)
	return c.opened[:n], ok
}

func (c *Channel) invert(icv *Key) {
	for i, b := range icv {
		c.iv[i] = ^b
	}
}

// unpad returns how many bytes stand before the padding, an 80 followed by 00s
// to the end, of which all is in the last block. Its time does not depend on
// the bytes.
func unpad(b []byte) (n int, ok bool) {
	found, wrong := 0, 0
	for i := len(b) - 1; i >= len(b)-aes.BlockSize; i-- {
		is80, is00 := subtle.ConstantTimeByteEq(b[i], 0x80), subtle.ConstantTimeByteEq(b[i], 0)
		n = subtle.ConstantTimeSelect(is80&^found, i, n)
		wrong |= (1 - found) & (1 - is80) & (1 - is00)
		found |= is80 & (1 - wrong)
	}
	ok = found&(1-wrong) == 1
	return subtle.ConstantTimeSelect(found&(1-wrong), n, len(b)), ok
}
