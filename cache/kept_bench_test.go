package cache

import (
	"math/rand/v2"
	"testing"

	"gateline/gateway"
)

// BenchmarkEntryApply is one entry of 500 changes at 100,000 records, durable; the
// wait for the disk is most of it. BenchmarkApply is the same at a city's size.
func BenchmarkEntryApply(b *testing.B) {
	s := benchStore(b)
	r := rand.New(rand.NewPCG(8, 8))
	b.ReportAllocs()
	for n := s.Position().Number + 1; b.Loop(); n++ {
		u := gateway.Update{To: at(n), Changes: make([]gateway.Change, 0, entrySize)}
		for i := range entrySize {
			// Each of another part of them, so that no token comes twice.
			u.Changes = append(u.Changes, gateway.Change{Token: tokenAt(i*(benchRecords/entrySize) + r.IntN(benchRecords/entrySize)), Record: randomRecord(r)})
		}
		apply(b, s, u)
	}
}
