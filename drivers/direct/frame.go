package direct

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"time"

	"gateline/gateway"
)

// Kind is what a frame is for.
type Kind uint8

const (
	KindTap       Kind = 1 // gate → box: a question
	KindVerdict   Kind = 2 // box → gate: the answer to a tap
	KindHeartbeat Kind = 3 // gate → box: a sign of life
	KindLane      Kind = 4 // box → gate: the answer to a heartbeat
)

// Version is the protocol's version, the high half of a frame's first byte.
const Version = 1

const (
	markProven = 0x08 // bit 3 of the first byte: counter and tag are there

	headSize    = 4
	crcSize     = 4
	counterSize = 4
	proofSize   = counterSize + tagSize
	maxBody     = headSize + 3 + gateway.MaxDigits/2 + proofSize + crcSize

	// maxEncoded is the longest frame between two delimiters.
	maxEncoded = maxBody + 1
	// MaxFrame is the longest frame on the wire in bytes, delimiters included.
	MaxFrame = maxEncoded + 2
)

// Flags of a verdict.
const (
	flagOpen = 1 << 0
	flagLamp = 1 << 1

	verdictFlags = flagOpen | flagLamp
)

// Frame is the content of one frame of any kind; fields that its kind does not
// have are zero.
type Frame struct {
	Kind    Kind
	Address uint8
	// Number is the gate's number of a tap or heartbeat, repeated in the answer.
	Number uint16

	// Of a tap. A credential that is not one of ours is the zero Credential.
	Purpose    gateway.Purpose
	Credential gateway.Credential

	// Of a verdict.
	Verdict gateway.Verdict
	Reason  gateway.Reason
	Open    bool
	Lamp    bool
	TTL     time.Duration // a multiple of gateway.VerdictTTLStep, at most 25.5 s

	// Of a lane answer.
	Lane gateway.Lane

	// Proven says that the frame carries Counter and a tag.
	Proven  bool
	Counter uint32
}

var (
	errNoise     = errors.New("not a frame")
	errMalformed = errors.New("the frame's check is right, its content is not")
	errVersion   = errors.New("the frame is of another protocol version")
)

// castagnoli is the table of CRC-32C, a constant in all but syntax.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendFrame appends f as it goes over the wire, delimiters included. mac is
// the gate's key; it is used where f.Proven is set.
func appendFrame(b []byte, f *Frame, mac *prover) []byte {
	start := len(b)
	b = append(b, 0, 0) // the delimiter and the place of the first COBS code
	body := append(b[start+2:], Version<<4|byte(f.Kind), f.Address, byte(f.Number), byte(f.Number>>8))
	switch f.Kind {
	case KindTap:
		body = appendCredential(append(body, byte(f.Purpose)), f.Credential)
	case KindVerdict:
		var flags byte
		if f.Open {
			flags |= flagOpen
		}
		if f.Lamp {
			flags |= flagLamp
		}
		body = append(body, byte(f.Verdict), byte(f.Reason), flags, byte(f.TTL/gateway.VerdictTTLStep))
	case KindLane:
		body = append(body, byte(f.Lane))
	}
	if f.Proven {
		body[0] |= markProven
		body = binary.LittleEndian.AppendUint32(body, f.Counter)
		body = mac.appendTag(body, body)
	}
	body = binary.LittleEndian.AppendUint32(body, crc32.Checksum(body, castagnoli))
	b = append(b, body...) // no copy where b had room
	encodeCOBS(b[start+1:])
	return append(b, 0)
}

// appendCredential appends scheme, count of digits and the digits two to a
// byte, the first in the high half; the last half byte of an odd count is F.
func appendCredential(b []byte, c gateway.Credential) []byte {
	var store [gateway.MaxDigits]byte
	digits := c.AppendNumber(store[:0])
	b = append(b, byte(c.Scheme()), byte(len(digits)))
	for i := 0; i < len(digits); i += 2 {
		low := byte(0xf)
		if i+1 < len(digits) {
			low = nibble(digits[i+1])
		}
		b = append(b, nibble(digits[i])<<4|low)
	}
	return b
}

func nibble(digit byte) byte {
	if digit >= 'A' {
		return digit - 'A' + 10
	}
	return digit - '0'
}

// parsed is a frame with what is needed to prove it.
type parsed struct {
	Frame
	signed []byte // what the tag covers; nil without one
	tag    []byte
	// body is the whole body; two frames with equal bodies are the same frame.
	body []byte
}

// parse reads what stood between two delimiters, decoding it in place. The
// slices of the result point into block. The tag is not checked yet.
func parse(block []byte) (parsed, error) {
	body, ok := decodeCOBS(block)
	if !ok || len(body) < headSize+crcSize || len(body) > maxBody {
		return parsed{}, errNoise
	}
	content, sum := body[:len(body)-crcSize], body[len(body)-crcSize:]
	if crc32.Checksum(content, castagnoli) != binary.LittleEndian.Uint32(sum) {
		return parsed{}, errNoise
	}
	if content[0]>>4 != Version {
		return parsed{}, errVersion
	}
	p := parsed{body: body}
	p.Kind = Kind(content[0] & 0x07)
	p.Address = content[1]
	p.Number = binary.LittleEndian.Uint16(content[2:])
	if content[0]&markProven != 0 {
		if len(content) < headSize+proofSize {
			return parsed{}, errMalformed
		}
		p.Proven = true
		p.signed, p.tag = content[:len(content)-tagSize], content[len(content)-tagSize:]
		content = content[:len(content)-proofSize]
		p.Counter = binary.LittleEndian.Uint32(p.signed[len(content):])
	}
	if !p.parsePayload(content[headSize:]) {
		return parsed{}, errMalformed
	}
	return p, nil
}

func (p *parsed) parsePayload(b []byte) bool {
	switch p.Kind {
	case KindTap:
		if len(b) < 3 || b[0] > byte(gateway.PurposeTopUp) {
			return false
		}
		p.Purpose = gateway.Purpose(b[0])
		return p.parseCredential(b[1], int(b[2]), b[3:])
	case KindVerdict:
		if len(b) != 4 || b[0] > byte(gateway.VerdictRefuse) || b[2]&^verdictFlags != 0 {
			return false
		}
		p.Verdict, p.Reason = gateway.Verdict(b[0]), gateway.Reason(b[1])
		p.Open, p.Lamp = b[2]&flagOpen != 0, b[2]&flagLamp != 0
		p.TTL = time.Duration(b[3]) * gateway.VerdictTTLStep
		return true
	case KindHeartbeat:
		return len(b) == 0
	case KindLane:
		if len(b) != 1 || b[0] > byte(gateway.LaneOpen) {
			return false
		}
		p.Lane = gateway.Lane(b[0])
		return true
	}
	return false
}

// parseCredential reads count digits from packed. A number that is well packed
// and not one of a scheme we know is no fault of the frame: the credential is
// then the zero one and the rider is sent to the manual lane (row 5, KIND-08).
func (p *parsed) parseCredential(scheme byte, count int, packed []byte) bool {
	if count > gateway.MaxDigits || len(packed) != (count+1)/2 {
		return false
	}
	if count%2 == 1 && packed[len(packed)-1]&0x0f != 0x0f {
		return false
	}
	var digits [gateway.MaxDigits]byte
	for i := range count {
		digits[i] = "0123456789ABCDEF"[packed[i/2]>>(4*(1-i%2))&0x0f]
	}
	if c, err := gateway.NewCredential(gateway.Scheme(scheme), digits[:count]); err == nil {
		p.Credential = c
	}
	return true
}

// scanner cuts a stream of bytes into what stands between delimiters.
type scanner struct {
	block [maxEncoded]byte
	n     int
	over  bool // the block is longer than any frame; wait for the delimiter
}

// next consumes bytes up to and including a delimiter. block is what stood
// before it, valid until the next call; it is nil where in holds no delimiter
// any more or where nothing stood before it. tooLong reports that what stood
// there cannot be a frame.
func (s *scanner) next(in []byte) (block, rest []byte, tooLong bool) {
	for i, c := range in {
		switch {
		case c != 0 && s.n == len(s.block):
			s.over = true
		case c != 0:
			s.block[s.n] = c
			s.n++
		default:
			block, tooLong = s.block[:s.n], s.over
			s.n, s.over = 0, false
			if len(block) > 0 {
				return block, in[i+1:], tooLong
			}
		}
	}
	return nil, nil, false
}

func (s *scanner) reset() { s.n, s.over = 0, false }
