package replication

import (
	"math/rand/v2"
	"slices"
	"testing"

	"gateline/gateway"
)

// randomChanges returns n changes of tokens spread as keyed hashes are, one in
// eight a deletion, most with class, flags and anchor day.
func randomChanges(n int) []gateway.Change {
	random := rand.New(rand.NewPCG(1, 2))
	changes := make([]gateway.Change, n)
	for i := range changes {
		changes[i] = gateway.Change{Token: gateway.Token(random.Uint64())}
		switch random.IntN(8) {
		case 0:
			changes[i].Delete = true
		case 1:
			changes[i].Record = gateway.Record{Class: gateway.ClassPopup}
		case 2:
			changes[i].Record = gateway.Record{Anchor: 19200, HoldThrough: 19203}
		default:
			changes[i].Record = gateway.Record{Anchor: gateway.Day(19200 + random.IntN(10)), Flags: gateway.FlagConcession}
		}
	}
	return changes
}

// realisticChanges returns n changes as a city makes them: results of
// yesterday's and today's tests above all, some of the days before, one rider
// in eight with a concession, a few without a test on record, with a result
// pending, of another class, or unbound.
func realisticChanges(n int) []gateway.Change {
	const today = 19213
	random := rand.New(rand.NewPCG(3, 4))
	changes := make([]gateway.Change, n)
	for i := range changes {
		c := &changes[i]
		c.Token = gateway.Token(random.Uint64())
		age := 0
		for age < 13 && random.IntN(5) < 2 {
			age++
		}
		c.Record.Anchor = gateway.Day(today - age)
		if random.IntN(8) == 0 {
			c.Record.Flags = gateway.FlagConcession
		}
		switch random.IntN(50) {
		case 0:
			c.Record, c.Delete = gateway.Record{}, true
		case 1:
			c.Record.Anchor = 0
		case 2:
			c.Record.Class = gateway.Class(1 + random.IntN(3))
		case 3:
			c.Record.HoldThrough = today + 1
		}
	}
	return changes
}

// What a change costs on the wire, all of its entry counted. The tokens alone
// have an entropy of 7.06 bytes each: there is little left to gain.
func TestBytesPerChange(t *testing.T) {
	minutes := realisticChanges(500)
	random := rand.New(rand.NewPCG(5, 6))
	for i := range minutes {
		if minutes[i].Record.Anchor != 0 {
			minutes[i].Record.AnchorMinute = uint16(random.IntN(24 * 60))
		}
	}
	for _, test := range []struct {
		name    string
		changes []gateway.Change
		most    float64
	}{
		{"500", realisticChanges(500), 8.5},
		{"2048", realisticChanges(2048), 8},
		{"50", realisticChanges(50), 13},
		{"500 with the minute of the sample", minutes, 17},
	} {
		size := len(sign(t, 1, Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: test.changes}))
		per := float64(size) / float64(len(test.changes))
		t.Logf("%s changes: %.2f bytes each", test.name, per)
		if per > test.most {
			t.Errorf("%s changes: %.2f bytes each, at most %v", test.name, per, test.most)
		}
	}
}

// The bound on an entry's size holds for the tokens that pack worst.
func TestChangesSizeBound(t *testing.T) {
	for name, token := range map[string]func(i int) gateway.Token{
		"all at the end":   func(i int) gateway.Token { return ^gateway.Token(0) - gateway.Token(i) },
		"all at the start": func(i int) gateway.Token { return gateway.Token(i) },
		"far apart":        func(i int) gateway.Token { return gateway.Token(i+1)<<53 - 1 },
	} {
		for _, n := range []int{1, 2, 3, 31, 32, 33, 1024, gateway.MaxChanges} {
			changes := make([]gateway.Change, n)
			for i := range changes {
				changes[i] = gateway.Change{Token: token(i), Record: gateway.Record{Anchor: gateway.Day(1 + i), AnchorMinute: 1}}
			}
			slices.SortFunc(changes, byToken)
			b, err := appendChanges(nil, changes)
			if err != nil || len(b) > 4+8*n+(67*n+7)/8 {
				t.Errorf("%s: %d changes take %d bytes, %v", name, n, len(b), err)
			}
			got, rest, err := readChanges(b)
			if err != nil || len(rest) != 0 || !slices.Equal(got, changes) {
				t.Errorf("%s: %d changes do not come back: %v", name, n, err)
			}
		}
	}
}

func TestBits(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	type field struct {
		value uint64
		size  uint // 65 = unary
	}
	fields := make([]field, 5000)
	var w bitWriter
	for i := range fields {
		f := &fields[i]
		if f.size = uint(random.IntN(66)); f.size == 65 {
			f.value = uint64(random.IntN(200))
			w.unary(f.value)
			continue
		}
		f.value = random.Uint64() & (1<<f.size - 1)
		w.write(f.value, f.size)
	}
	b := append(w.end(), 0xee)
	r := bitReader{b: b}
	for i, f := range fields {
		got := uint64(0)
		if f.size == 65 {
			got = r.unary(200)
		} else {
			got = r.read(f.size)
		}
		if got != f.value {
			t.Fatalf("field %d: %x, want %x", i, got, f.value)
		}
	}
	if rest, well := r.end(); !well || len(rest) != 1 {
		t.Errorf("%d bytes left, well %v", len(rest), well)
	}
	r = bitReader{b: []byte{0xff, 0x80}}
	if n := r.unary(3); n != 4 {
		t.Errorf("more bits of 1 than allowed: %d", n)
	}
	if _, well := r.end(); well {
		t.Error("bits that were not read are taken for filling")
	}
	r = bitReader{b: []byte{0}}
	if r.read(8); r.read(1) != 0 {
		t.Error("past the end there is no zero")
	}
	if _, well := r.end(); well {
		t.Error("reading past the end is well")
	}
}
