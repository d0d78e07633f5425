package osdp

import (
	"crypto/subtle"
	"errors"
	"fmt"
)

const (
	keyDefault = 0 // data of SCS11..SCS13: the handshake is under SCBK-D
	keyOwn     = 1 // the handshake is under the PD's own key

	statusAccepted = 0x01 // data of SCS14
	statusRefused  = 0xff

	randomSize = 8
)

var (
	// ErrCryptogram is returned where the other end proves another key than ours.
	ErrCryptogram = errors.New("cryptogram is not of our key")
	// ErrRefused is returned where the PD says that it refuses our cryptogram.
	ErrRefused = errors.New("handshake refused")
)

// handshake is what both ends compute of a handshake.
type handshake struct {
	enc, mac1, mac2 Key
	client, server  Key // cryptograms
	rmac            Key // the initial R-MAC
}

func newHandshake(key Key, rndA, rndB [8]byte) *handshake {
	base := newAES(key)
	derive := func(a, b byte) Key {
		return encryptBlock(base, Key{a, b, rndA[0], rndA[1], rndA[2], rndA[3], rndA[4], rndA[5]})
	}
	h := &handshake{enc: derive(0x01, 0x82), mac1: derive(0x01, 0x01), mac2: derive(0x01, 0x02)}
	h.client = encryptBlock(newAES(h.enc), join(rndA, rndB))
	h.server = encryptBlock(newAES(h.enc), join(rndB, rndA))
	h.rmac = encryptBlock(newAES(h.mac2), encryptBlock(newAES(h.mac1), h.server))
	return h
}

func join(a, b [8]byte) (k Key) {
	copy(k[:8], a[:])
	copy(k[8:], b[:])
	return k
}

func (h *handshake) channel(key Key) *Channel {
	c := newChannel(h.enc, h.mac1, h.mac2, h.rmac)
	c.byDefault = key == DefaultKey()
	return c
}

// CPHandshake is the CP's end of one handshake: Challenge, Accept, Finish.
// What it puts into a frame stays valid as long as the CPHandshake. The caller
// sets Address, SQN and CRC of the frames.
type CPHandshake struct {
	key    Key
	rndA   [8]byte
	which  [1]byte
	cuid   [8]byte
	shared *handshake
}

// Format hides the keys, whatever the verb.
func (h CPHandshake) Format(f fmt.State, _ rune) { hide(f, "handshake") }

// NewCPHandshake begins a handshake under key. rndA comes from a
// cryptographically secure source, new for each handshake, and is the same when
// a CHLNG is sent again. Under DefaultKey the frames say so.
func NewCPHandshake(key Key, rndA [8]byte) *CPHandshake {
	h := &CPHandshake{key: key, rndA: rndA, which: [1]byte{keyOwn}}
	if key == DefaultKey() {
		h.which[0] = keyDefault
	}
	return h
}

// Challenge makes f the CHLNG.
func (h *CPHandshake) Challenge(f *Frame) {
	f.Reply, f.Block, f.BlockData, f.Code, f.Data = false, SCS11, h.which[:], CmdCHLNG, h.rndA[:]
}

// Accept checks the PD's CCRYPT and makes f the SCRYPT that follows. The error
// is ErrBlock, ErrLength or ErrCryptogram; then f is as it was.
func (h *CPHandshake) Accept(reply, f *Frame) error {
	if reply.Code != ReplyCCRYPT || reply.Block != SCS12 {
		return ErrBlock
	}
	c, err := ParseCCrypt(reply.Data)
	if err != nil {
		return ErrLength
	}
	shared := newHandshake(h.key, h.rndA, c.Random)
	if subtle.ConstantTimeCompare(shared.client[:], c.Cryptogram[:]) != 1 {
		return ErrCryptogram
	}
	h.cuid, h.shared = c.CUID, shared
	f.Reply, f.Block, f.BlockData, f.Code, f.Data = false, SCS13, h.which[:], CmdSCRYPT, shared.server[:]
	return nil
}

// CUID is what the PD calls itself in its CCRYPT; makers fill it differently.
func (h *CPHandshake) CUID() [8]byte { return h.cuid }

// Finish checks the PD's RMAC_I and returns the session. Block type 12 instead
// of 14 is tolerated, because some PDs send it. The error is ErrBlock,
// ErrLength, ErrRefused or ErrCryptogram.
func (h *CPHandshake) Finish(reply *Frame) (*Channel, error) {
	switch {
	case h.shared == nil || reply.Code != ReplyRMACI || reply.Block != SCS14 && reply.Block != SCS12 || len(reply.BlockData) == 0:
		return nil, ErrBlock
	case reply.BlockData[0] != statusAccepted:
		return nil, ErrRefused
	case len(reply.Data) != len(h.shared.rmac):
		return nil, ErrLength
	case subtle.ConstantTimeCompare(reply.Data, h.shared.rmac[:]) != 1:
		return nil, ErrCryptogram
	}
	return h.shared.channel(h.key), nil
}

// PDHandshake is the PD's end of one handshake: Challenged, then Confirm.
type PDHandshake struct {
	key    Key
	shared *handshake
	data   [8 + randomSize + len(Key{})]byte
	block  [1]byte
}

// Format hides the keys, whatever the verb.
func (h PDHandshake) Format(f fmt.State, _ rune) { hide(f, "handshake") }

// NewPDHandshake takes the CP's CHLNG and makes reply the CCRYPT. rndB comes
// from a cryptographically secure source, new for each handshake. Which of its
// keys the PD takes is the caller's to choose by DefaultAsked. The error is
// ErrLength.
func NewPDHandshake(key Key, cuid, rndB [8]byte, command, reply *Frame) (*PDHandshake, error) {
	if len(command.Data) != randomSize {
		return nil, ErrLength
	}
	h := &PDHandshake{key: key, shared: newHandshake(key, [8]byte(command.Data), rndB)}
	h.block[0] = keyOwn
	if DefaultAsked(command) {
		h.block[0] = keyDefault
	}
	data := AppendCCrypt(h.data[:0], &CCrypt{CUID: cuid, Random: rndB, Cryptogram: h.shared.client})
	reply.Reply, reply.Block, reply.BlockData, reply.Code, reply.Data = true, SCS12, h.block[:], ReplyCCRYPT, data
	return h, nil
}

// DefaultAsked reports whether a CHLNG or SCRYPT is for SCBK-D. One that does
// not say is.
func DefaultAsked(command *Frame) bool {
	return len(command.BlockData) == 0 || command.BlockData[0] == keyDefault
}

// Confirm checks the CP's SCRYPT and makes reply the RMAC_I. Without the right
// cryptogram the error is ErrCryptogram or ErrLength, the reply says that it is
// refused, and gives away no R-MAC.
func (h *PDHandshake) Confirm(command, reply *Frame) (*Channel, error) {
	status, data, err := byte(statusAccepted), h.shared.rmac[:], error(nil)
	switch {
	case len(command.Data) != len(h.shared.server):
		err = ErrLength
	case subtle.ConstantTimeCompare(command.Data, h.shared.server[:]) != 1:
		err = ErrCryptogram
	}
	if err != nil {
		status, data = statusRefused, make([]byte, len(data))
	}
	h.block[0] = status
	reply.Reply, reply.Block, reply.BlockData, reply.Code, reply.Data = true, SCS14, h.block[:], ReplyRMACI, data
	if err != nil {
		return nil, err
	}
	return h.shared.channel(h.key), nil
}
