package main

import (
	"crypto/aes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkReference measures the machine and nothing of ours: memory is one read
// that depends on the one before, in 64 MB that no cache holds; processor is one
// block of AES-128 on the one before; disk is 4 kB written and synced.
func BenchmarkReference(b *testing.B) {
	b.Run("memory", func(b *testing.B) {
		next := cycle(64 << 20 / 8)
		at := uint64(0)
		for b.Loop() {
			at = next[at]
		}
		if at >= uint64(len(next)) {
			b.Fatal("out of the cycle")
		}
	})
	b.Run("processor", func(b *testing.B) {
		block, err := aes.NewCipher(make([]byte, 16))
		if err != nil {
			b.Fatal(err)
		}
		var x [aes.BlockSize]byte
		for b.Loop() {
			block.Encrypt(x[:], x[:])
		}
	})
	b.Run("disk", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "synced"))
		if err != nil {
			b.Fatal(err)
		}
		page := make([]byte, 4096)
		for b.Loop() {
			if _, err := f.WriteAt(page, 0); err != nil {
				b.Fatal(err)
			}
			if err := unix.Fdatasync(int(f.Fd())); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

// cycle returns a way through all n numbers in a random order that comes back to
// where it began (Sattolo's algorithm).
func cycle(n int) []uint64 {
	next := make([]uint64, n)
	for i := range next {
		next[i] = uint64(i)
	}
	r := rand.New(rand.NewPCG(1, 1))
	for i := n - 1; i > 0; i-- {
		j := r.IntN(i)
		next[i], next[j] = next[j], next[i]
	}
	return next
}

// A chain that is shorter than the memory would fit a cache.
func TestCycleIsWhole(t *testing.T) {
	next := cycle(1000)
	at, steps := next[0], 1
	for ; at != 0 && steps <= len(next); steps++ {
		at = next[at]
	}
	if steps != len(next) {
		t.Errorf("it comes back after %d of %d", steps, len(next))
	}
}
