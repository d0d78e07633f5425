package gateway

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkMAC is a MAC over one AES block and over three; a tap that a gate proves
// has two.
func BenchmarkMAC(b *testing.B) {
	mac := NewMAC(make([]byte, 16))
	for name, size := range map[string]int{"16-bytes": 16, "40-bytes": 40} {
		message := make([]byte, size)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mac.Sum(message)
			}
		})
	}
}

// BenchmarkShardSum is the sum of a shard of a city of 25 million: 6,100 records.
func BenchmarkShardSum(b *testing.B) {
	const records = 6100
	r := rand.New(rand.NewPCG(1, 1))
	changes := make([]Change, records)
	for i := range changes {
		changes[i] = Change{Token: Token(i)<<38 | 1, Record: Record{Class: Class(r.IntN(4)), Anchor: Day(19000 + r.IntN(14))}}
	}
	b.ReportAllocs()
	for b.Loop() {
		s := NewShardSummer(0)
		for _, c := range changes {
			s.Add(c.Token, c.Record)
		}
		if s.Sum().Records != records {
			b.Fatal("records are missing")
		}
	}
}
