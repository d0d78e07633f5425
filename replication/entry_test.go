package replication

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
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

// worked is the entry that DESIGN.md works through.
func worked() (Entry, string) {
	return Entry{
			Epoch: 0x1122334455667788, Number: 258, Time: 1_660_000_000_000_000, Source: 77,
			Changes: []gateway.Change{
				{Token: 0x0102, Record: gateway.Record{Class: gateway.ClassYellow}},
				{Token: 0x0203, Delete: true},
				{Token: 0xfedcba9876543210, Record: gateway.Record{Anchor: 19213, Flags: gateway.FlagConcession}},
			},
		}, "0101" + "8877665544332211" + "0201000000000000" + "00c053dec2e50500" + "4d00000000000000" +
			"0300" + "090201" + "20" + "010101" + "170d305476" + "98badcfe" + "010d4b"
}

func TestEntryRoundTrip(t *testing.T) {
	every := []gateway.Change{{Token: 0}, {Token: 1, Delete: true}, {Token: 256}, {Token: ^gateway.Token(0), Record: gateway.Record{
		Class: gateway.ClassRed, Flags: gateway.FlagConcession, Anchor: 32767, HoldThrough: 1, AnchorMinute: 1439}}}
	example, _ := worked()
	for name, e := range map[string]Entry{
		"heartbeat": {Epoch: 1, Number: 1, Time: 1},
		"worked":    example,
		"extremes":  {Epoch: ^uint64(0), Number: ^uint64(0), Time: 1<<63 - 1, Source: ^uint64(0), Changes: every},
		"schedule":  {Epoch: 1, Number: 2, Time: 3, Schedule: testSchedule(2)},
		"both":      {Epoch: 1, Number: 2, Time: 3, Changes: every, Schedule: testSchedule(1)},
		"full":      {Epoch: 1, Number: 2, Time: 3, Changes: randomChanges(gateway.MaxChanges)},
	} {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(e.Changes)
			b, err := AppendEntry([]byte("kept"), &e)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(before, e.Changes) {
				t.Error("the changes of the caller were moved")
			}
			if len(b)-4 > MaxEntrySize || string(b[:4]) != "kept" {
				t.Errorf("%d bytes, start %q", len(b), b[:4])
			}
			got, err := DecodeEntry(b[4:])
			if err != nil {
				t.Fatal(err)
			}
			slices.SortFunc(e.Changes, func(a, b gateway.Change) int {
				if a.Token < b.Token {
					return -1
				}
				return 1
			})
			if !slices.Equal(got.Changes, e.Changes) {
				t.Error("changes differ")
			}
			if !reflect.DeepEqual(jsonOf(t, got.Schedule), jsonOf(t, e.Schedule)) {
				t.Error("schedule differs")
			}
			got.Changes, got.Schedule, e.Changes, e.Schedule = nil, nil, nil, nil
			if !reflect.DeepEqual(got, e) {
				t.Errorf("%+v, want %+v", got, e)
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
	e, want := worked()
	b, err := AppendEntry(nil, &e)
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("worked example of DESIGN.md:\n got %s\nwant %s", got, want)
	}
	path := filepath.Join("testdata", "schedule.entry")
	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err = AppendEntry(nil, &Entry{Epoch: 1, Number: 2, Time: 3, Schedule: testSchedule(1)})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, stored) {
		t.Errorf("%s was written by another form of schedule: stored entries of this version cannot be read; the format needs a new version", path)
	}
}

func TestAppendEntryRefuses(t *testing.T) {
	good := Entry{Epoch: 1, Number: 1, Time: 1}
	for name, change := range map[string]func(*Entry){
		"no epoch":      func(e *Entry) { e.Epoch = 0 },
		"no number":     func(e *Entry) { e.Number = 0 },
		"no time":       func(e *Entry) { e.Time = 0 },
		"negative time": func(e *Entry) { e.Time = -1 },
		"too many":      func(e *Entry) { e.Changes = randomChanges(gateway.MaxChanges + 1) },
		"same token":    func(e *Entry) { e.Changes = []gateway.Change{{Token: 5}, {Token: 1}, {Token: 5, Delete: true}} },
		"token 0 twice": func(e *Entry) { e.Changes = []gateway.Change{{}, {}} },
		"bad record":    func(e *Entry) { e.Changes = []gateway.Change{{Record: gateway.Record{Class: 9}}} },
		"bad schedule":  func(e *Entry) { e.Schedule = &gateway.Schedule{} },
	} {
		e := good
		change(&e)
		if b, err := AppendEntry([]byte("kept"), &e); !errors.Is(err, ErrEntry) || string(b) != "kept" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

func TestDecodeEntryRefuses(t *testing.T) {
	e, _ := worked()
	good, err := AppendEntry(nil, &e)
	if err != nil {
		t.Fatal(err)
	}
	const count, first = headerSize, headerSize + 2
	edit := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(good)) }
	set := func(at int, value byte) []byte {
		return edit(func(b []byte) []byte { b[at] = value; return b })
	}
	cases := map[string][]byte{
		"version":         set(0, 2),
		"unknown section": set(1, 5),
		"missing section": set(1, 3),
		"extra section":   set(1, 0),
		"no epoch":        edit(func(b []byte) []byte { clear(b[2:10]); return b }),
		"no number":       edit(func(b []byte) []byte { clear(b[10:18]); return b }),
		"no time":         edit(func(b []byte) []byte { clear(b[18:26]); return b }),
		"negative time":   set(25, 0x80),
		"no changes":      set(count, 0),
		"fewer changes":   set(count, 2),
		"more changes":    set(count, 4),
		"many changes":    set(count+1, 0xff),
		"long record":     set(first, 0x29),
		"high head bits":  set(first, 0x49),
		"long form":       set(first+2, 0),
		"same token":      edit(func(b []byte) []byte { b[first+4], b[first+5], b[first+6] = 0, 0, 0; return b }),
		"bad record":      set(first+3, 0xf0),
		"trailing byte":   edit(func(b []byte) []byte { return append(b, 0) }),
	}
	for n := range good {
		cases["cut short"] = good[:n]
		for name, b := range cases {
			if got, err := DecodeEntry(b); !errors.Is(err, ErrEntry) || got.Epoch != 0 {
				t.Errorf("%s: %d bytes: %v", name, len(b), err)
			}
		}
	}
	// Tokens that wrap round.
	wrap := append(bytes.Clone(good[:headerSize]), 2, 0, 0x07, 255, 255, 255, 255, 255, 255, 255, 255, 0x00, 1)
	if _, err := DecodeEntry(wrap); !errors.Is(err, ErrEntry) {
		t.Errorf("wrapped token: %v", err)
	}
	// A schedule that is right but not as we write it.
	text, err := gateway.EncodeSchedule(testSchedule(1))
	if err != nil {
		t.Fatal(err)
	}
	loose := append(bytes.Clone(good[:headerSize]), byte(len(text)+1), byte((len(text)+1)>>8), 0, 0)
	loose = append(append(loose, ' '), text...)
	loose[1] = sectionSchedule
	if _, err := DecodeEntry(loose); !errors.Is(err, ErrEntry) {
		t.Errorf("loose schedule: %v", err)
	}
}

func FuzzDecodeEntry(f *testing.F) {
	example, _ := worked()
	for _, e := range []Entry{
		{Epoch: 1, Number: 1, Time: 1}, example,
		{Epoch: 1, Number: 2, Time: 3, Changes: randomChanges(40)},
		{Epoch: 1, Number: 2, Time: 3, Schedule: testSchedule(1)},
		{Epoch: 1, Number: 2, Time: 3, Changes: randomChanges(3), Schedule: testSchedule(1)},
	} {
		b, err := AppendEntry(nil, &e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	seeds, err := filepath.Glob(filepath.Join("testdata", "fuzz", "FuzzDecodeEntry", "*"))
	if err != nil || len(seeds) < 3 {
		f.Fatalf("%d seeds in testdata, want at least 3 (%v)", len(seeds), err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEntry(b)
		if err != nil {
			if !errors.Is(err, ErrEntry) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		again, err := AppendEntry(nil, &e)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("accepted %x, encodes to %x (%v)", b, again, err)
		}
	})
}

func BenchmarkEntryEncode(b *testing.B) {
	e := Entry{Epoch: 1, Number: 2, Time: 3, Changes: randomChanges(500)}
	buf := make([]byte, 0, MaxEntrySize)
	var size int
	b.ReportAllocs()
	for b.Loop() {
		out, err := AppendEntry(buf[:0], &e)
		if err != nil {
			b.Fatal(err)
		}
		size = len(out)
	}
	b.ReportMetric(float64(size)/500, "bytes/change")
}

func BenchmarkEntryDecode(b *testing.B) {
	in, err := AppendEntry(nil, &Entry{Epoch: 1, Number: 2, Time: 3, Changes: randomChanges(500)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeEntry(in); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(in))/500, "bytes/change")
}
