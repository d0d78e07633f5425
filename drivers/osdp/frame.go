package osdp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	// MaxFrame is the longest frame of v2.2 in bytes, marks not counted.
	MaxFrame = 1440
	// MinRxBuffer is the longest frame that every PD takes, and all that may be
	// assumed of one until its PDCAP says more.
	MinRxBuffer = 128
	// ConfigAddress is the address to which the only PD of a line answers
	// whatever its own is.
	ConfigAddress = 0x7f
	// MaxAddress is the highest address a PD can have.
	MaxAddress = 0x7e
)

const (
	markByte = 0xff
	som      = 0x53

	headSize  = 5 // SOM, address, length, control
	macSize   = 4
	blockHead = 2 // a security block's length and type
	crcSize   = 2
	sumSize   = 1

	replyBit = 0x80

	ctrlSQN   = 0x03
	ctrlCRC   = 0x04
	ctrlBlock = 0x08
)

// A BlockType says what a security block is for; zero is no block.
type BlockType byte

const (
	SCS11 BlockType = 0x11 // CHLNG
	SCS12 BlockType = 0x12 // CCRYPT
	SCS13 BlockType = 0x13 // SCRYPT
	SCS14 BlockType = 0x14 // RMAC_I
	SCS15 BlockType = 0x15 // command in a session, no data
	SCS16 BlockType = 0x16 // reply in a session, no data
	SCS17 BlockType = 0x17 // command in a session, data encrypted
	SCS18 BlockType = 0x18 // reply in a session, data encrypted
)

// Secured reports whether frames with this block carry a MAC.
func (t BlockType) Secured() bool { return t >= SCS15 && t <= SCS18 }

// Frame is the content of one frame. Its data may be a credential or a key:
// every fmt verb shows the head only.
type Frame struct {
	Address byte // 00..7F, without the reply bit
	Reply   bool
	SQN     byte // 0..3
	CRC     bool // CRC-16, else checksum
	Block   BlockType
	// BlockData is the data of the security block: one byte with SCS11..SCS14,
	// else none.
	BlockData []byte
	Code      byte
	Data      []byte  // ciphertext with SCS17 and SCS18
	MAC       [4]byte // only with SCS15..SCS18
}

// Format shows the head, whatever the verb.
func (f Frame) Format(w fmt.State, _ rune) {
	name := CommandName
	if f.Reply {
		name = ReplyName
	}
	_, _ = fmt.Fprintf(w, "%s address %d sqn %d block %02X, %d bytes of data", name(f.Code), f.Address, f.SQN, byte(f.Block), len(f.Data))
}

var (
	// ErrLength is wrapped where a frame or its data is shorter or longer than
	// its kind allows.
	ErrLength = errors.New("wrong length")
	// ErrCheck is returned for a frame whose CRC or checksum is wrong.
	ErrCheck = errors.New("wrong check characters")
	// ErrBlock is returned for a security block that cannot be, or not there.
	ErrBlock = errors.New("security block not understood")
)

// Size is the frame's length in bytes, the mark not counted.
func (f *Frame) Size() int {
	n := headSize + 1 + len(f.Data) + sumSize
	if f.CRC {
		n += crcSize - sumSize
	}
	if f.Block != 0 {
		n += blockHead + len(f.BlockData)
	}
	if f.Block.Secured() {
		n += macSize
	}
	return n
}

// AppendFrame appends f as it goes over the wire: one mark, then the frame
// with its length and check. A frame whose Size is above MaxFrame is the
// caller's fault and panics.
func AppendFrame(b []byte, f *Frame) []byte {
	b = append(b, markByte)
	start := len(b)
	b = appendBody(b, f)
	if f.Block.Secured() {
		b = append(b, f.MAC[:]...)
	}
	if f.CRC {
		return binary.LittleEndian.AppendUint16(b, crc16(b[start:]))
	}
	return append(b, checksum(b[start:]))
}

// appendBody appends what the MAC covers: from SOM to the end of the data.
func appendBody(b []byte, f *Frame) []byte {
	size := f.Size()
	if size > MaxFrame {
		panic(fmt.Sprintf("osdp: a frame of %d bytes; the longest has %d", size, MaxFrame))
	}
	address, ctrl := f.Address, f.SQN&ctrlSQN
	if f.Reply {
		address |= replyBit
	}
	if f.CRC {
		ctrl |= ctrlCRC
	}
	if f.Block != 0 {
		ctrl |= ctrlBlock
	}
	b = append(b, som, address, byte(size), byte(size>>8), ctrl)
	if f.Block != 0 {
		b = append(b, byte(blockHead+len(f.BlockData)), byte(f.Block))
		b = append(b, f.BlockData...)
	}
	b = append(b, f.Code)
	return append(b, f.Data...)
}

// ParseFrame reads a frame from its SOM to its check, marks removed. The
// slices of the result point into raw. The control bits 4..7 are ignored, as
// the standard wants. The MAC is not checked here but by a Channel.
//
// The error is ErrLength, ErrCheck or ErrBlock; from ErrBlock on, and with an
// ErrLength of a frame whose check is right, the head of the frame is filled.
func ParseFrame(raw []byte) (Frame, error) {
	if len(raw) < headSize || raw[0] != som || len(raw) > MaxFrame || int(binary.LittleEndian.Uint16(raw[2:])) != len(raw) {
		return Frame{}, ErrLength
	}
	ctrl := raw[4]
	if len(raw) < leastSize(ctrl) {
		return Frame{}, ErrLength
	}
	if !checkRight(raw) {
		return Frame{}, ErrCheck
	}
	f := Frame{Address: raw[1] &^ replyBit, Reply: raw[1]&replyBit != 0, SQN: ctrl & ctrlSQN, CRC: ctrl&ctrlCRC != 0}
	rest := raw[headSize : len(raw)-checkSize(ctrl)]
	if ctrl&ctrlBlock != 0 {
		n := int(rest[0])
		if n < blockHead || n >= len(rest) || rest[1] < byte(SCS11) || rest[1] > byte(SCS18) {
			return f, ErrBlock
		}
		f.Block = BlockType(rest[1])
		if n > blockHead {
			f.BlockData = rest[blockHead:n]
		}
		rest = rest[n:]
	}
	if f.Block.Secured() {
		if len(rest) < 1+macSize {
			return f, ErrLength
		}
		copy(f.MAC[:], rest[len(rest)-macSize:])
		rest = rest[:len(rest)-macSize]
	}
	f.Code, f.Data = rest[0], rest[1:]
	return f, nil
}

// macCovers returns the part of a whole frame with a MAC that the MAC covers.
func macCovers(raw []byte) []byte { return raw[:len(raw)-checkSize(raw[4])-macSize] }

func checkSize(ctrl byte) int {
	if ctrl&ctrlCRC != 0 {
		return crcSize
	}
	return sumSize
}

// leastSize is the shortest that a frame with this control byte can be.
func leastSize(ctrl byte) int {
	n := headSize + 1 + checkSize(ctrl)
	if ctrl&ctrlBlock != 0 {
		n += blockHead
	}
	return n
}

func checkRight(raw []byte) bool {
	if raw[4]&ctrlCRC != 0 {
		end := len(raw) - crcSize
		return crc16(raw[:end]) == binary.LittleEndian.Uint16(raw[end:])
	}
	return checksum(raw) == 0
}

// hide writes what stands for something that must not be printed.
func hide(w io.Writer, what string) { _, _ = io.WriteString(w, what+":hidden") }
