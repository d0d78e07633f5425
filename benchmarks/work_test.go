package main

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func TestOrderCountsUpdates(t *testing.T) {
	for _, records := range []uint64{1000, 1024, 4999, 65_537} {
		o := newOrder(records)
		had := make([]uint64, records)
		check := func(k uint64) {
			for i := range records {
				if got := o.had(i, k); got != had[i] {
					t.Fatalf("%d records, %d updates: token number %d had %d, counted %d", records, k, i, had[i], got)
				}
			}
		}
		check(0)
		for k := range 2*records + 7 {
			had[o.number(k)]++
			if k%(records/3) == 0 || k > 2*records {
				check(k + 1)
			}
		}
	}
}

func TestOrderOfManyRecords(t *testing.T) {
	for _, records := range []uint64{25_000_000, mostRecords} {
		o := newOrder(records)
		for k := range uint64(1000) {
			k *= records / 999
			if i := o.number(k); o.had(i, k+1) != o.had(i, k)+1 {
				t.Fatalf("%d records: update %d does not count for token number %d", records, k, i)
			}
		}
	}
}

func TestBatch(t *testing.T) {
	o := newOrder(leastRecords)
	items := make([]item, batchSize)
	o.batch(items, 3*leastRecords)
	if !slices.IsSortedFunc(items, func(a, b item) int {
		if a.token < b.token {
			return -1
		}
		return 1 // two of one token are out of order
	}) {
		t.Error("a batch is not in the order of its tokens, or has one twice")
	}
	for _, it := range items {
		if it.value != valueOf(it.token, 4) {
			t.Fatal("the fourth update of a token has another value")
		}
	}
}

func TestValuesAreRecords(t *testing.T) {
	seen := map[uint64]bool{0: true}
	for i := range uint64(50_000) {
		token := tokenOf(i)
		if seen[token] {
			t.Fatal("a token comes twice or is 0")
		}
		seen[token] = true
		value := valueOf(token, i%3)
		r := recordOf(value)
		if !r.Valid() || valueIn(r) != value {
			t.Fatalf("value %#x: its record is valid %v and stands for %#x", value, r.Valid(), valueIn(r))
		}
		if value == valueOf(token, i%3+1) {
			t.Fatalf("an update of token number %d changes nothing", i)
		}
	}
}

func TestHistogram(t *testing.T) {
	h := new(histogram)
	r := rand.New(rand.NewPCG(1, 2))
	var all []int64
	for range 100_000 {
		ns := int64(1) << r.IntN(40)
		ns += r.Int64N(ns)
		all = append(all, ns)
		h.add(ns)
	}
	slices.Sort(all)
	for _, part := range []float64{0, 0.5, 0.99, 0.999} {
		want := float64(all[int(part*float64(len(all)))])
		if got := h.quantile(part); got < want*0.99 || got > want*1.01 {
			t.Errorf("quantile %v: %v, want %v", part, got, want)
		}
	}
	if l := h.latency(); l.Max != float64(all[len(all)-1]) || l.Lookups != 100_000 {
		t.Errorf("longest of all: %v, number %d", l.Max, l.Lookups)
	}
	h = new(histogram)
	for ns := range int64(3) {
		h.add(ns + 1)
	}
	if got := h.quantile(0.5); got != 2 {
		t.Errorf("the median of 1, 2, 3 is %v", got)
	}
	h = new(histogram)
	h.add(-5)
	if h.quantile(0.5) != 0 || new(histogram).quantile(0.5) != 0 {
		t.Error("what took less than measuring does, or nothing, is not 0")
	}
	h.add(1<<63 - 1)
	if h.latency().Max != 1<<63-1 {
		t.Error("the longest time that there is")
	}
}

func TestMedian(t *testing.T) {
	var rounds []round
	for _, n := range []float64{30, 10, 20, 40} {
		var r round
		r.Load.Seconds, r.Lookups.Quiet = n, latency{P50: n, P99: 2 * n, Max: n, Lookups: 5}
		r.Lookups.Memory.Mapped = int64(n)
		rounds = append(rounds, r)
	}
	m := medianOf(rounds)
	if m.Load.Seconds != 25 || m.Lookups.Quiet != (latency{P50: 25, P99: 50, Max: 40, Lookups: 20}) || m.Lookups.Memory.Mapped != 25 {
		t.Errorf("%+v", m)
	}
	if m := medianOf(rounds[:3]); m.Load.Seconds != 20 {
		t.Errorf("of three: %v", m.Load.Seconds)
	}
}

func TestShortTime(t *testing.T) {
	for ns, want := range map[float64]string{
		0: "0 ns", 12.4: "12 ns", 999.4: "999 ns", 999.6: "1.00 µs", 1234: "1.23 µs", 12_340: "12.3 µs",
		99_960: "100 µs", 1_500_000: "1.50 ms", 2.5e9: "2.50 s", 100e9: "100 s",
	} {
		if got := shortTime(ns); got != want {
			t.Errorf("%v: %q, want %q", ns, got, want)
		}
	}
}

func TestField(t *testing.T) {
	const text = "Rss:   \t 12 kB\nAnonymous:  3 kB\n"
	if n, err := field(text, "Anonymous"); n != 3<<10 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := field(text, "Pss"); err == nil {
		t.Error("a line that is not there is found")
	}
}
