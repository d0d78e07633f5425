package direct

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
)

// KeySize is the size of a gate's key in bytes (AES-128).
const KeySize = 16

// tagSize is the size in bytes of the truncated tag on the wire.
const tagSize = 8

// cmac computes AES-128-CMAC (RFC 4493, NIST SP 800-38B) without allocating.
type cmac struct {
	block  cipher.Block
	k1, k2 [aes.BlockSize]byte
	x      [aes.BlockSize]byte
}

func newCMAC(key [KeySize]byte) *cmac {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("direct: AES refuses a 16-byte key: " + err.Error()) // cannot be: the size is fixed
	}
	m := &cmac{block: block}
	block.Encrypt(m.x[:], m.x[:])
	m.k1 = double(m.x)
	m.k2 = double(m.k1)
	return m
}

// double multiplies by x in GF(2^128).
func double(in [aes.BlockSize]byte) (out [aes.BlockSize]byte) {
	for i := range in {
		out[i] = in[i] << 1
		if i+1 < len(in) {
			out[i] |= in[i+1] >> 7
		}
	}
	out[len(out)-1] ^= 0x87 * (in[0] >> 7)
	return out
}

// sum returns the full tag of message; it is valid until the next call.
func (m *cmac) sum(message []byte) []byte {
	clear(m.x[:])
	for len(message) > aes.BlockSize {
		subtle.XORBytes(m.x[:], m.x[:], message[:aes.BlockSize])
		m.block.Encrypt(m.x[:], m.x[:])
		message = message[aes.BlockSize:]
	}
	last := &m.k1
	if len(message) < aes.BlockSize {
		last = &m.k2
		m.x[len(message)] ^= 0x80
	}
	subtle.XORBytes(m.x[:], m.x[:], message)
	subtle.XORBytes(m.x[:], m.x[:], last[:])
	m.block.Encrypt(m.x[:], m.x[:])
	return m.x[:]
}

// appendTag appends the truncated tag of message to b.
func (m *cmac) appendTag(b, message []byte) []byte {
	return append(b, m.sum(message)[:tagSize]...)
}

// proves reports, in constant time, whether tag is the truncated tag of message.
func (m *cmac) proves(message, tag []byte) bool {
	return subtle.ConstantTimeCompare(m.sum(message)[:tagSize], tag) == 1
}
