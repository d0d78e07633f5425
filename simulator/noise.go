package simulator

import (
	"math"
	"math/rand/v2"
)

// noise damages the bits of bytes on a wire at a rate, each by itself. A data
// bit is turned over; of a byte whose start bit is damaged nothing arrives, and
// a damaged stop bit is taken for the start of a byte that nobody sent.
type noise struct {
	rate float64 // of damaged bits, below 1; 0 = none
	r    *rand.Rand
	left int // bits until the next one that is damaged
}

func newNoise(rate float64, r *rand.Rand) *noise {
	n := &noise{rate: rate, r: r}
	n.left = n.draw()
	return n
}

// draw returns how many bits go well before one is damaged.
func (n *noise) draw() int {
	if n.rate <= 0 {
		return math.MaxInt
	}
	return int(min(n.r.ExpFloat64()/-math.Log1p(-n.rate), math.MaxInt32))
}

// pass appends what arrives of a byte, and reports whether it is damaged.
func (n *noise) pass(dst []byte, b byte) (_ []byte, damaged bool) {
	if n.rate <= 0 {
		return append(dst, b), false
	}
	lost, extra := false, false
	for n.left < bitsPerByte {
		switch bit := n.left; bit {
		case 0:
			lost = true
		case bitsPerByte - 1:
			extra = true
		default:
			b ^= 1 << (bit - 1)
		}
		damaged = true
		n.left += 1 + n.draw()
	}
	n.left -= bitsPerByte
	if !lost {
		dst = append(dst, b)
	}
	if extra {
		dst = append(dst, byte(n.r.Uint32()))
	}
	return dst, damaged
}
