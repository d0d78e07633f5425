package gateway

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"fmt"
	"io"
)

// MAC computes AES-CMAC (RFC 4493, NIST SP 800-38B) without allocating. It is
// what tokens are made with, and what gates prove their frames with. It is not
// safe for concurrent use. Every fmt verb hides it.
type MAC struct {
	block  cipher.Block
	k1, k2 [aes.BlockSize]byte
	x      [aes.BlockSize]byte
}

// Format hides the key, whatever the verb.
func (m *MAC) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "mac:hidden") }

// NewMAC returns a MAC under a key of 16, 24 or 32 bytes; any other length is
// the caller's fault and panics.
func NewMAC(key []byte) *MAC {
	block, err := aes.NewCipher(key)
	if err != nil {
		panic("gateway: " + err.Error())
	}
	m := &MAC{block: block}
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

// Sum returns the full tag of message, 16 bytes, valid until the next call.
func (m *MAC) Sum(message []byte) []byte {
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
