package replication

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

func testSchedule(documents int) *gateway.Schedule {
	s := &gateway.Schedule{Version: 3}
	for i := range documents {
		p := gateway.DefaultPolicy(time.Unix(1_660_000_000+int64(i), 0).In(gateway.Zone))
		p.Stations = map[string]gateway.Mode{"s-2": gateway.ModeOff, "s-1": gateway.ModeObserve}
		s.Policies = append(s.Policies, p)
	}
	return s
}

// someHash is the hash of an entry that is not there.
var someHash = gateway.Hash{0: 0xaa, 31: 0xbb}

// worked is the entry that DESIGN.md works through, signed with the secret of
// RFC 8032's first vector.
func worked() Entry {
	return Entry{
		Epoch: 0x1122334455667788, Number: 258, Time: 1_660_000_000_000_000, Source: 77, Before: someHash,
		Changes: []gateway.Change{
			{Token: 0x0102, Record: gateway.Record{Class: gateway.ClassYellow}},
			{Token: 0x8000000000000000, Delete: true},
			{Token: 0xfedcba9876543210, Record: gateway.Record{Anchor: 19213, Flags: gateway.FlagConcession}},
		},
	}
}

const workedHex = "0201" + "8877665544332211" + "0201000000000000" + "00c053dec2e50500" + "4d00000000000000" +
	"aa000000000000000000000000000000000000000000000000000000000000bb" +
	"03000300" + "00" + "0120" + "03010d4b" +
	"0000000000000204" + "dfffffffffffff7e" + "97db97530eca8641f0" +
	"21fe31dfa154a261"

func rfcSecret(t testing.TB) gateway.FeedSecret {
	t.Helper()
	s, err := gateway.ParseFeedSecret("feedsecret-9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// nextKey is a key that an entry may announce.
var nextKey = testSecret(2).Public()

func TestEntryRoundTrip(t *testing.T) {
	every := []gateway.Change{{Token: 0}, {Token: 1, Delete: true}, {Token: 256}, {Token: ^gateway.Token(0), Record: gateway.Record{
		Class: gateway.ClassRed, Flags: gateway.FlagConcession, Anchor: 32767, HoldThrough: 1, AnchorMinute: 1439}}}
	for name, e := range map[string]Entry{
		"first":      {Epoch: 1, Number: 1, Time: 1},
		"heartbeat":  {Epoch: 1, Number: 2, Time: 1, Before: someHash},
		"worked":     worked(),
		"extremes":   {Epoch: ^uint64(0), Number: ^uint64(0), Time: 1<<63 - 1, Source: ^uint64(0), Before: someHash, Changes: every},
		"schedule":   {Epoch: 1, Number: 2, Time: 3, Before: someHash, Schedule: testSchedule(2)},
		"key":        {Epoch: 1, Number: 2, Time: 3, Before: someHash, NextKey: nextKey},
		"everything": {Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: every, Schedule: testSchedule(1), NextKey: nextKey},
		"full":       {Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: randomChanges(gateway.MaxChanges)},
		"purge":      {Epoch: 1, Number: 2, Time: 3, Before: someHash, Purge: true, Ordered: 1<<63 - 1},
		"end":        {Epoch: 1, Number: 2, Time: 3, Before: someHash, Purge: true, Ordered: 2, Schedule: testSchedule(1), NextKey: nextKey},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(e.Changes)
			b := sign(t, 1, e)
			if !slices.Equal(before, e.Changes) {
				t.Error("the changes of the caller were moved")
			}
			if len(b) > MaxEntrySize {
				t.Errorf("%d bytes", len(b))
			}
			got := decode(t, b)
			if !got.Verify(testKeys[0]) || got.Verify(nextKey) || got.Signer != testKeys[0].ID() {
				t.Error("the signature")
			}
			slices.SortFunc(e.Changes, byToken)
			if !slices.Equal(got.Changes, e.Changes) {
				t.Error("changes differ")
			}
			if jsonOf(t, got.Schedule) != jsonOf(t, e.Schedule) {
				t.Error("schedule differs")
			}
			got.Changes, got.Schedule, e.Changes, e.Schedule = nil, nil, nil, nil
			if !reflect.DeepEqual(got.Entry, e) {
				t.Errorf("%+v, want %+v", got.Entry, e)
			}
		})
	}
}

func jsonOf(t *testing.T, s *gateway.Schedule) string {
	t.Helper()
	if s == nil {
		return ""
	}
	b, err := gateway.EncodeSchedule(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The bytes of a stored feed never change their meaning: what a release wrote,
// every later one reads.
func TestEntryGolden(t *testing.T) {
	e, s := worked(), newSigner(rfcSecret(t))
	b, err := s.sign(&e)
	if err != nil {
		t.Fatal(err)
	}
	const signature = "074ebfbf746f3d1023cc83c56c10d77d865ad11ddc3c4e259851a587600633b93f33cba9931e1bff0363dcd95fb50b96dca5c91930e4567bdfd44106c4aecf0c"
	if got := hex.EncodeToString(b); got != workedHex+signature {
		t.Errorf("worked example of DESIGN.md:\n got %s\nwant %s", got, workedHex+signature)
	}
	path := filepath.Join("testdata", "schedule.entry")
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b := sign(t, 1, Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash, Schedule: testSchedule(1)}); !bytes.Equal(b, stored) {
		t.Errorf("%s was written by another form of schedule: stored entries of this version cannot be read; the format needs a new version", path)
	}
}

func TestSignRefuses(t *testing.T) {
	s := newSigner(testSecret(1))
	for name, change := range map[string]func(*Entry){
		"no epoch":       func(e *Entry) { e.Epoch = 0 },
		"no number":      func(e *Entry) { e.Number = 0 },
		"no time":        func(e *Entry) { e.Time = 0 },
		"negative time":  func(e *Entry) { e.Time = -1 },
		"no hash":        func(e *Entry) { e.Before = gateway.Hash{} },
		"hash of none":   func(e *Entry) { e.Number = 1 },
		"too many":       func(e *Entry) { e.Changes = randomChanges(gateway.MaxChanges + 1) },
		"same token":     func(e *Entry) { e.Changes = []gateway.Change{{Token: 5}, {Token: 1}, {Token: 5, Delete: true}} },
		"token 0 twice":  func(e *Entry) { e.Changes = []gateway.Change{{}, {}} },
		"greatest twice": func(e *Entry) { e.Changes = []gateway.Change{{Token: ^gateway.Token(0)}, {Token: ^gateway.Token(0)}} },
		"bad record":     func(e *Entry) { e.Changes = []gateway.Change{{Record: gateway.Record{Class: 9}}} },
		"bad schedule":   func(e *Entry) { e.Schedule = &gateway.Schedule{} },
		"purge, changes": func(e *Entry) { e.Purge, e.Ordered, e.Changes = true, 1, []gateway.Change{{Token: 5}} },
		"purge, checkpoint": func(e *Entry) {
			e.Purge, e.Ordered, e.Checkpoint = true, 1, &gateway.Checkpoint{Shard: 5}
		},
		"purge, never ordered":   func(e *Entry) { e.Purge = true },
		"purge, ordered in 1969": func(e *Entry) { e.Purge, e.Ordered = true, -1 },
		"ordered, no purge":      func(e *Entry) { e.Ordered = 1 },
	} {
		e := Entry{Epoch: 1, Number: 2, Time: 1, Before: someHash}
		change(&e)
		if b, err := s.sign(&e); !errors.Is(err, ErrEntry) || b != nil {
			t.Errorf("%s: %x, %v", name, b, err)
		}
	}
}

func TestDecodeEntryRefuses(t *testing.T) {
	good := sign(t, 1, worked())
	const count, outcomes, packed = headerSize, headerSize + 4, headerSize + 4 + 1 + 2 + 4
	edit := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(good)) }
	set := func(at int, value byte) []byte {
		return edit(func(b []byte) []byte { b[at] = value; return b })
	}
	end := len(good) - trailerSize
	cases := map[string][]byte{
		"version 1":          set(0, 1),
		"version 3":          set(0, 3),
		"unknown section":    set(1, 33),
		"purge and changes":  set(1, 17),
		"missing checkpoint": set(1, 9),
		"purge, no instant": func() []byte {
			b := sign(t, 1, Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash})
			b[1] = 16
			return b
		}(),
		"purge in 1970": func() []byte {
			b := sign(t, 1, Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash, Purge: true, Ordered: 1})
			b[headerSize] = 0
			return b
		}(),
		"missing section":   set(1, 3),
		"missing key":       set(1, 5),
		"extra section":     set(1, 0),
		"no epoch":          edit(func(b []byte) []byte { clear(b[2:10]); return b }),
		"no number":         edit(func(b []byte) []byte { clear(b[10:18]); return b }),
		"no time":           edit(func(b []byte) []byte { clear(b[18:26]); return b }),
		"negative time":     set(25, 0x80),
		"no hash":           edit(func(b []byte) []byte { clear(b[34:66]); return b }),
		"hash of none":      edit(func(b []byte) []byte { clear(b[10:18]); b[10] = 1; return b }),
		"no changes":        set(count, 0),
		"fewer changes":     set(count, 2),
		"more changes":      set(count, 4),
		"many changes":      set(count+1, 0xff),
		"no outcomes":       set(count+2, 0),
		"more outcomes":     set(count+2, 4),
		"fewer outcomes":    set(count+2, 2),
		"even record":       set(outcomes+1, 2),
		"long record":       set(outcomes+1, 9),
		"bad record":        set(outcomes+2, 0xf0),
		"outcomes descend":  edit(func(b []byte) []byte { copy(b[outcomes:], []byte{1, 0x20, 0}); return b }),
		"outcome twice":     edit(func(b []byte) []byte { copy(b[outcomes:], []byte{1, 0, 1, 0, 1, 1, 0}); return b }),
		"outcome 4 of 3":    edit(func(b []byte) []byte { b[packed+7] |= 1; return b }),
		"bits after end":    edit(func(b []byte) []byte { b[end-1] |= 1; return b }),
		"byte after end":    edit(func(b []byte) []byte { return slices.Insert(b, end, 0) }),
		"hello":             []byte("hello"),
		"nothing":           {},
		"only the version":  {2},
		"zero key":          append(append(bytes.Clone(good[:headerSize]), make([]byte, 32)...), good[end:]...),
		"key cut short":     append(append(bytes.Clone(good[:headerSize]), make([]byte, 31)...), good[end:]...),
		"token out of room": edit(func(b []byte) []byte { b[packed] = 0xff; return b }),
	}
	cases["zero key"][1], cases["key cut short"][1] = sectionKey, sectionKey
	for n := range good {
		cases["cut short"] = good[:n]
		for name, b := range cases {
			if got, err := DecodeEntry(b); !errors.Is(err, ErrEntry) || got.Epoch != 0 {
				t.Errorf("%s: %d bytes: %v", name, len(b), err)
			}
		}
		if t.Failed() {
			return
		}
	}
	for _, name := range []string{"version 1", "version 3"} {
		if _, err := DecodeEntry(cases[name]); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), name+" of its format, this program reads version 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A schedule that is right but not as we write it.
	text := append([]byte(" "), jsonOf(t, testSchedule(1))...)
	loose := append(bytes.Clone(good[:headerSize]), byte(len(text)), byte(len(text)>>8), 0, 0)
	loose = append(append(loose, text...), good[end:]...)
	loose[1] = sectionSchedule
	if _, err := DecodeEntry(loose); !errors.Is(err, ErrEntry) || !strings.Contains(err.Error(), "canonical") {
		t.Errorf("loose schedule: %v", err)
	}
}

// Whatever byte of an entry is changed, it does not verify any more.
func TestVerifyEveryByte(t *testing.T) {
	good := sign(t, 1, Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: randomChanges(2), NextKey: nextKey})
	verified := 0
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		if s, err := DecodeEntry(b); err == nil && s.Verify(testKeys[0]) {
			t.Errorf("byte %d can be changed", i)
		} else if err == nil {
			verified++
		}
	}
	if verified < 100 {
		t.Errorf("the signature was asked %d times only", verified)
	}
	// The domain keeps a signature over the bare bytes from being one.
	s := newSigner(testSecret(1))
	bare, err := s.key.Sign(nil, good[:len(good)-64], crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	if decode(t, append(bytes.Clone(good[:len(good)-64]), bare...)).Verify(testKeys[0]) {
		t.Error("signed without the domain")
	}
}

func FuzzDecodeEntry(f *testing.F) {
	for _, e := range []Entry{
		{Epoch: 1, Number: 1, Time: 1}, worked(),
		{Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: randomChanges(40)},
		{Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: realisticChanges(5)},
		{Epoch: 1, Number: 2, Time: 3, Before: someHash, Schedule: testSchedule(1)},
		{Epoch: 1, Number: 2, Time: 3, Before: someHash, Schedule: testSchedule(1), Purge: true, Ordered: 4},
		{Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: randomChanges(3), Schedule: testSchedule(1), NextKey: nextKey,
			Checkpoint: &gateway.Checkpoint{Shard: 5, Sum: gateway.ShardSum{Records: 9, Hash: someHash}}},
	} {
		f.Add(sign(f, 1, e))
	}
	seeds, err := filepath.Glob(filepath.Join("testdata", "fuzz", "FuzzDecodeEntry", "*"))
	if err != nil || len(seeds) < 3 {
		f.Fatalf("%d seeds in testdata, want at least 3 (%v)", len(seeds), err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := DecodeEntry(b)
		if err != nil {
			if !errors.Is(err, ErrEntry) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		again, err := appendSections(nil, &s.Entry)
		if end := len(b) - trailerSize; err != nil || !bytes.Equal(again, b[:end]) || !bytes.Equal(s.Signer[:], b[end:end+8]) || len(b) > MaxEntrySize {
			t.Errorf("accepted %x, encodes to %x (%v)", b, again, err)
		}
	})
}

func BenchmarkEntryEncode(b *testing.B) {
	e := Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: realisticChanges(500)}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if out, err = appendSections(out[:0], &e); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEntrySign encodes and signs.
func BenchmarkEntrySign(b *testing.B) {
	e, s := Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: realisticChanges(500)}, newSigner(testSecret(1))
	var size int
	b.ReportAllocs()
	for b.Loop() {
		out, err := s.sign(&e)
		if err != nil {
			b.Fatal(err)
		}
		size = len(out)
	}
	b.ReportMetric(float64(size)/500, "bytes/change")
}

func BenchmarkEntryDecode(b *testing.B) {
	in := sign(b, 1, Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: realisticChanges(500)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeEntry(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEntryVerify(b *testing.B) {
	s := decode(b, sign(b, 1, Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: realisticChanges(500)}))
	b.ReportAllocs()
	for b.Loop() {
		if !s.Verify(testKeys[0]) {
			b.Fatal("not genuine")
		}
	}
}
