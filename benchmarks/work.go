package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"gateline/gateway"
)

// The work: records of tokens 0 … n−1, which stand in no order that a store
// could profit from, and updates that go through all of them in turn. Everything
// follows from numbers, so nobody needs a table of what is right.

const (
	// leastRecords is more than a batch has, so that none changes a token twice.
	leastRecords = 1000
	// mostRecords keeps the products of order within 64 bits.
	mostRecords = 1<<31 - 1
	// updatesPerSecond and batchSize are what a writer does beside the lookups: a
	// feed in a very bad hour.
	updatesPerSecond = 10_000
	batchSize        = 500
)

// item is a token and the value it is to have.
type item struct{ token, value uint64 }

// spread is a bijection whose values look random (the finaliser of SplitMix64).
func spread(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// tokenOf returns token number i. All differ and none is 0, which a table may
// keep for an empty place.
func tokenOf(i uint64) uint64 { return spread(i + 1<<40) }

// A value is a record in 44 bits: from below minute, hold-through day, anchor day,
// flags and class.
const (
	holdAt, anchorAt, flagsAt, classAt = 11, 26, 41, 42

	minuteMask, dayMask = 1<<11 - 1, 1<<15 - 1
)

// valueOf returns the value of a token after so many updates.
func valueOf(token uint64, updates uint64) uint64 {
	h := spread(token ^ spread(updates+1<<41))
	class, flags := h&3, h>>2&1
	anchor, hold, minute := 1+h>>3%30_000, h>>24%30_000, h>>44%1440
	return class<<classAt | flags<<flagsAt | anchor<<anchorAt | hold<<holdAt | minute
}

// recordOf returns the record that a value stands for.
func recordOf(value uint64) gateway.Record {
	return gateway.Record{
		Class: gateway.Class(value >> classAt), Flags: gateway.Flags(value >> flagsAt & 1),
		Anchor: gateway.Day(value >> anchorAt & dayMask), HoldThrough: gateway.Day(value >> holdAt & dayMask),
		AnchorMinute: uint16(value & minuteMask),
	}
}

// valueIn is the inverse of recordOf.
func valueIn(r gateway.Record) uint64 {
	return uint64(r.Class)<<classAt | uint64(r.Flags)<<flagsAt | uint64(r.Anchor)<<anchorAt |
		uint64(r.HoldThrough)<<holdAt | uint64(r.AnchorMinute)
}

// order is the order in which updates go through the records: update k changes
// token number k·step mod records, so that after any number of updates it is
// known without a table how many a token has had.
type order struct{ records, step, back uint64 }

// orderPrime is above mostRecords and so has no divisor in common with any
// number of records.
const orderPrime = 1<<32 - 5

func newOrder(records uint64) order {
	o := order{records: records, step: orderPrime % records}
	// Euclid: back·step ≡ 1 (mod records).
	a, b, x, y := int64(o.step), int64(records), int64(1), int64(0)
	for b != 0 {
		q := a / b
		a, b, x, y = b, a-q*b, y, x-q*y
	}
	if x %= int64(records); x < 0 {
		x += int64(records)
	}
	o.back = uint64(x)
	return o
}

// number returns which token update k changes; the first update is 0.
func (o order) number(k uint64) uint64 { return k % o.records * o.step % o.records }

// had returns how many of the first k updates changed token number i.
func (o order) had(i, k uint64) uint64 {
	turn := i * o.back % o.records
	if k <= turn {
		return 0
	}
	return (k-turn-1)/o.records + 1
}

// batch fills into with updates from, from+1 … in the order of their tokens.
func (o order) batch(into []item, from uint64) {
	for j := range into {
		k := from + uint64(j)
		i := o.number(k)
		token := tokenOf(i)
		into[j] = item{token: token, value: valueOf(token, o.had(i, k+1))}
	}
	slices.SortFunc(into, func(a, b item) int {
		if a.token < b.token {
			return -1
		}
		return 1
	})
}

// writeTokens writes tokens 0 … n−1 in ascending order, 8 bytes each: the order
// in which every store loads fastest.
func writeTokens(path string, n int) (err error) {
	tokens := make([]uint64, n)
	for i := range tokens {
		tokens[i] = tokenOf(uint64(i))
	}
	slices.Sort(tokens)
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write the tokens: %w; choose another folder with --dir", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	var b [8]byte
	for _, t := range tokens {
		binary.LittleEndian.PutUint64(b[:], t)
		if _, err := w.Write(b[:]); err != nil {
			return fmt.Errorf("write the tokens: %w; choose another folder with --dir", err)
		}
	}
	return w.Flush()
}

// source reads the records to load, in ascending order of their tokens, from a
// file of writeTokens.
type source struct {
	f      *os.File
	r      *bufio.Reader
	n      int
	failed error
}

func openSource(path string) (*source, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the tokens: %w; start the run again", err)
	}
	return &source{f: f, r: bufio.NewReaderSize(f, 1<<20)}, nil
}

// next returns false at the end or after an error, which close tells.
func (s *source) next() (item, bool) {
	var b [8]byte
	if _, err := io.ReadFull(s.r, b[:]); err != nil {
		if !errors.Is(err, io.EOF) {
			s.failed = fmt.Errorf("read the tokens: %w; start the run again", err)
		}
		return item{}, false
	}
	s.n++
	token := binary.LittleEndian.Uint64(b[:])
	return item{token: token, value: valueOf(token, 0)}, true
}

func (s *source) close() error { return errors.Join(s.failed, s.f.Close()) }

// since is the time from base in nanoseconds. Both ends of a measurement take it,
// because it reads one clock where time.Now reads two.
func since(base time.Time) int64 { return int64(time.Since(base)) }
