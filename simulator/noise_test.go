package simulator

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// Bits are damaged at the rate that was asked for, each way in which a byte can
// suffer its share of them, and the same seed damages the same.
func TestNoise(t *testing.T) {
	const n, rate = 400_000, 1e-3
	run := func(seed uint64) (out []byte, damaged int) {
		air := newNoise(rate, rand.New(rand.NewPCG(seed, 1)))
		for range n {
			var hurt bool
			if out, hurt = air.pass(out, 0x55); hurt {
				damaged++
			}
		}
		return out, damaged
	}
	out, damaged := run(1)
	if want := n * bitsPerByte * rate; float64(damaged) < want*0.9 || float64(damaged) > want*1.1 {
		t.Errorf("%d bytes are damaged, want some %.0f", damaged, want)
	}
	flipped := 0
	for _, b := range out {
		if b != 0x55 {
			flipped++
		}
	}
	// Eight of ten are turned over, one more byte comes of a stop bit.
	if want := n * rate * 9; float64(flipped) < want*0.9 || float64(flipped) > want*1.1 {
		t.Errorf("%d bytes are others, want some %.0f", flipped, want)
	}
	// As many are lost as come from nowhere: 400 each, so the lengths agree within a fifth of that.
	if d := len(out) - n; d < -120 || d > 120 {
		t.Errorf("%d bytes of %d arrived", len(out), n)
	}
	if again, _ := run(1); !bytes.Equal(again, out) {
		t.Error("the same seed damages otherwise")
	}
	if other, _ := run(2); bytes.Equal(other, out) {
		t.Error("another seed damages the same")
	}
}

func TestNoNoise(t *testing.T) {
	air := newNoise(0, nil) // draws nothing
	if out, hurt := air.pass(nil, 7); hurt || !bytes.Equal(out, []byte{7}) {
		t.Errorf("arrived % x, damaged %v", out, hurt)
	}
}
