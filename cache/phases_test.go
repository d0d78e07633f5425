package cache

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"gateline/gateway"
)

// BenchmarkPhases is how much memory a store has resident at the most, files that are
// mapped included, in each phase of its life: a first load, all shards loaded again,
// catching up as many changes as a fifth of the records, at least one cycle of folds, a
// start until the index is filled, and a purge. GOMEMLIMIT in the environment is Go's
// limit, as a box's would be.
func BenchmarkPhases(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		s := open(b, dir, Options{})
		waitForIndex(b, s)
		phase := func(name string, run func()) {
			resetPeak(b)
			began := time.Now()
			run()
			b.ReportMetric(float64(peak(b))/1e6, name+"-MB")
			b.ReportMetric(time.Since(began).Seconds(), name+"-s")
		}
		phase("load", func() { loadAll(b, s, 1, *loadRecords) })
		phase("again", func() { loadAll(b, s, 2, *loadRecords) })
		phase("catch-up", func() {
			r, n := rand.New(rand.NewPCG(9, 9)), uint64(2)
			for end := n + uint64(max(*loadRecords/5, s.foldEvery()*gateway.Shards)/entrySize); n < end; n += entriesTogether {
				if err := s.ApplyAll(entriesAfter(r, n)); err != nil {
					b.Fatal(err)
				}
			}
		})
		phase("start", func() {
			closeStore(b, s)
			s = open(b, dir, Options{})
			waitForIndex(b, s)
		})
		phase("purge", func() {
			apply(b, s, gateway.Update{To: at(s.Position().Number + 1), Purge: true})
		})
		closeStore(b, s)
	}
}

// resetPeak begins anew to note the most that this process has resident.
func resetPeak(tb testing.TB) {
	tb.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		tb.Fatal(err)
	}
}

// peak is the most that this process has had resident since, in bytes.
func peak(tb testing.TB) int64 {
	tb.Helper()
	return ofProcess(tb, "/proc/self/status", "VmHWM:") << 10
}
