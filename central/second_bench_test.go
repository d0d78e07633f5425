package central

import (
	"encoding/binary"
	"errors"
	"flag"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"gateline/central/ledgercopy"
	"gateline/central/rules"
	"gateline/gateway"
	"gateline/internal/logtest"
)

var (
	replayEvents  = flag.Int("events", 200_000, "events in the ledger of BenchmarkReplay")
	replayPersons = flag.Int("persons", 50_000, "persons in the ledger of BenchmarkReplay, at most half as many as events")
	replayEach    = flag.Int("each", 500, "events in a message of BenchmarkReplay")
)

// benchMessage is a ledger message of so many events from number first on: a binding
// and a report for every person, then reports of persons at random.
func benchMessage(b *testing.B, r *rand.Rand, first, events, persons int) []byte {
	message := appendHeader(nil, time.Now().UnixMicro(), newKeyCheck(testKey()), 0)
	for i := first; i < first+events; i++ {
		var err error
		if message, err = appendEvent(message, benchEvent(r, i, persons)); err != nil {
			b.Fatal(err)
		}
	}
	return message
}

func benchEvent(r *rand.Rand, i, persons int) *event {
	// A pseudonym is a keyed hash, so what stands for it has to look random.
	person := func(n int) (p rules.Person) {
		s := rand.NewPCG(uint64(n), 7)
		binary.BigEndian.PutUint64(p[:8], s.Uint64())
		binary.BigEndian.PutUint64(p[8:], s.Uint64())
		return p
	}
	if i < 2*persons && i%2 == 0 {
		return &event{registry: rules.Bound{Binding: rules.Binding{
			Card: rules.Card{Token: gateway.Token(r.Uint64()), Kind: 1}, Person: person(i / 2), Medium: rules.MediumPhysical, Source: rules.SourceSelf,
			Slot: true, Lamp: true, Since: 1_650_000_000 + int64(i), Consent: 1}}}
	}
	n := i / 2
	if i >= 2*persons {
		n = r.IntN(persons)
	}
	return &event{registry: rules.Reported{Person: person(n), Revision: 1_650_000_000_000 + uint64(i),
		Record: gateway.Record{Class: gateway.ClassNormal, Anchor: 19000 + gateway.Day(i%200), AnchorMinute: uint16(r.IntN(1440))}}}
}

// fillCopy makes the copy in dir and returns how many bytes its messages have.
func fillCopy(b *testing.B, dir string) (text int) {
	c, err := ledgercopy.Open(dir, ledgercopy.KeyCheck(newKeyCheck(testKey())), nil)
	if err != nil {
		b.Fatal(err)
	}
	each := *replayEach
	r := rand.New(rand.NewPCG(1, 2))
	var few [][]byte
	for i := 0; i < *replayEvents; i += each {
		few = append(few, benchMessage(b, r, i, each, *replayPersons))
		text += len(few[len(few)-1])
		if len(few)*each >= 8000 || i+each >= *replayEvents {
			if err := c.Append(few); err != nil {
				b.Fatal(err)
			}
			few = few[:0]
		}
	}
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	return text
}

// What a compaction of a ledger takes, from the first read to the receipt; with the same
// flags.
func BenchmarkCompact(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		cfg := testConfig(b.TempDir(), &logtest.Buffer{})
		text := fillCopy(b, filepath.Join(cfg.Dir, CopyFolder))
		if _, err := Rebuild(b.Context(), RebuildConfig{Config: cfg}); err != nil {
			b.Fatal(err)
		}
		runtime.GC()
		b.StartTimer()
		r, err := Compact(b.Context(), CompactConfig{Config: cfg, NewEpoch: true})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric(float64(text), "text-B")
		b.ReportMetric(float64(r.Persons), "persons")
		b.StartTimer()
	}
}

// What a start reads from a copy: -args -events 5000000 -persons 1250000 for a city.
func BenchmarkReplay(b *testing.B) {
	dir := filepath.Join(b.TempDir(), CopyFolder)
	check := ledgercopy.KeyCheck(newKeyCheck(testKey()))
	text := fillCopy(b, dir)
	var c *ledgercopy.Copy
	var err error
	var w *writer
	for b.Loop() {
		began := time.Now()
		if c, err = ledgercopy.Open(dir, check, nil); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "open-s")
		rs := rules.DefaultRules()
		w = &writer{state: newState(rs), ledger: &ledger{first: 1}, kept: &keeper{copy: c}, check: newKeyCheck(testKey()), now: time.Now, log: (&logtest.Buffer{}).Logger()}
		p := &replaying{w: w, began: time.Now(), said: time.Now(), published: 1 << 62}
		if err := p.copy(b.Context()); err != nil {
			b.Fatal(err)
		}
		if err := c.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(*replayEvents)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(text)/float64(*replayEvents), "text-B/event")
	b.ReportMetric(float64(size(b, dir))/float64(*replayEvents), "disk-B/event")
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
	b.ReportMetric(float64(w.state.registry.Stats().Persons), "persons")
}

func size(b *testing.B, dir string) (all int64) {
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			all += info.Size()
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return all
}
