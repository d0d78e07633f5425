package direct

import (
	"crypto/subtle"

	"gateline/gateway"
)

// KeySize is the size of a gate's key in bytes (AES-128).
const KeySize = 16

// tagSize is the size in bytes of the truncated tag on the wire.
const tagSize = 8

// prover makes and checks the tags of proven frames: AES-128-CMAC, truncated.
type prover struct{ mac *gateway.MAC }

func newProver(key [KeySize]byte) *prover { return &prover{gateway.NewMAC(key[:])} }

// appendTag appends the truncated tag of message to b.
func (p *prover) appendTag(b, message []byte) []byte {
	return append(b, p.mac.Sum(message)[:tagSize]...)
}

// proves reports, in constant time, whether tag is the truncated tag of message.
func (p *prover) proves(message, tag []byte) bool {
	return subtle.ConstantTimeCompare(p.mac.Sum(message)[:tagSize], tag) == 1
}
