package main

import "math/bits"

// histogram counts times in nanoseconds. Its memory is fixed, so that measuring
// allocates nothing; a time is kept to less than 1 %, the longest exactly.
type histogram struct {
	counts [histogramSize]uint64
	n      uint64
	most   int64
}

const (
	// Each power of two is divided into 1<<histogramFine parts.
	histogramFine = 7
	// histogramSize covers all of int64.
	histogramSize = (64 - histogramFine) << histogramFine
)

// slotOf is where a time is counted: below 1<<histogramFine exactly, above it by
// its leading bits.
func slotOf(ns int64) int {
	v := uint64(max(ns, 0))
	if v < 1<<histogramFine {
		return int(v)
	}
	e := bits.Len64(v) - 1 - histogramFine
	return e<<histogramFine + int(v>>e)
}

// slotTime is the middle of the times that a slot counts.
func slotTime(slot int) float64 {
	if slot < 2<<histogramFine {
		return float64(slot)
	}
	e := slot>>histogramFine - 1
	low := uint64(slot-e<<histogramFine) << e
	return float64(low) + float64(uint64(1)<<e-1)/2
}

func (h *histogram) add(ns int64) {
	h.counts[slotOf(ns)]++
	h.n++
	h.most = max(h.most, ns)
}

// quantile returns the time that the given part of all did not exceed, 0 where
// there are none.
func (h *histogram) quantile(part float64) float64 {
	want := uint64(part * float64(h.n))
	seen := uint64(0)
	for slot, c := range h.counts {
		if seen += c; c > 0 && seen > want {
			return slotTime(slot)
		}
	}
	return float64(h.most)
}

// latency is what is told of many times, nanoseconds.
type latency struct {
	Lookups uint64  `json:"lookups"`
	P50     float64 `json:"p50"`
	P99     float64 `json:"p99"`
	P999    float64 `json:"p999"`
	Max     float64 `json:"max"`
}

func (h *histogram) latency() latency {
	return latency{Lookups: h.n, P50: h.quantile(0.5), P99: h.quantile(0.99), P999: h.quantile(0.999), Max: float64(h.most)}
}
