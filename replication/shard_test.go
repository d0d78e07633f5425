package replication

import (
	"bytes"
	"encoding/hex"
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"gateline/gateway"
)

var someAt = gateway.Position{Epoch: 7, Number: 300, Watermark: 1_660_000_000_000_000, Hash: someHash}

// cityShard returns a shard of n records as a city has them.
func cityShard(id gateway.ShardID, n int) gateway.Shard {
	s := gateway.Shard{ID: id, At: someAt}
	first, _ := id.Range()
	for _, c := range realisticChanges(n + n/10) {
		if !c.Delete && len(s.Records) < n {
			c.Token = first | c.Token>>12
			s.Records = append(s.Records, c)
		}
	}
	slices.SortFunc(s.Records, byToken)
	return s
}

func signShard(t testing.TB, secret byte, shard gateway.Shard, scheduleAt uint64) []byte {
	t.Helper()
	s := newSigner(testSecret(secret))
	b, sum, err := s.signSnapshot(&shard, scheduleAt)
	if err != nil || sum != sumOf(&shard) {
		t.Fatal(err)
	}
	return b
}

func signHead(t testing.TB, secret byte, h Head) []byte {
	t.Helper()
	s := newSigner(testSecret(secret))
	b, err := s.signHead(&h)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decodeHead(t testing.TB, b []byte) *Head {
	t.Helper()
	h, err := DecodeHead(b)
	if err != nil {
		t.Fatal(err)
	}
	return &h
}

func TestSnapshotRoundTrip(t *testing.T) {
	one, greatest := gateway.Change{Token: 0xfff << 52}, gateway.Change{Token: ^gateway.Token(0)}
	for name, shard := range map[string]gateway.Shard{
		"empty":          {ID: 0, At: someAt},
		"before entry 1": {ID: 4095, At: gateway.Position{Epoch: 7}},
		"both ends":      {ID: 4095, At: someAt, Records: []gateway.Change{one, greatest}},
		"the last":       {ID: 4095, At: someAt, Records: []gateway.Change{greatest}},
		"a city's":       cityShard(0x407, 6100),
		"the first":      cityShard(0, 300),
	} {
		schedule := min(shard.At.Number, 12)
		b := signShard(t, 1, shard, schedule)
		s, err := DecodeSnapshot(b)
		if err != nil || s.Shard.ID != shard.ID || s.Shard.At != shard.At || !slices.Equal(s.Shard.Records, shard.Records) || s.ScheduleAt != schedule || s.Sum != sumOf(&shard) {
			t.Errorf("%s: does not come back: %v", name, err)
			continue
		}
		if !s.Verify(testKeys[0]) || s.Verify(nextKey) || s.Signer != testKeys[0].ID() {
			t.Errorf("%s: signature", name)
		}
	}
	for name, h := range map[string]Head{
		"nothing yet": {At: gateway.Position{Epoch: 7}},
		"all":         {At: someAt, Schedule: testSchedule(3), ScheduleAt: 300, Complete: true},
		"purged":      {At: someAt, Complete: true, Purge: Order{Number: someAt.Number, Ordered: 1<<63 - 1}},
		"purged, all": {At: someAt, Schedule: testSchedule(3), ScheduleAt: 300, Purge: Order{Number: 1, Ordered: 1}},
	} {
		got := decodeHead(t, signHead(t, 1, h))
		if got.At != h.At || got.ScheduleAt != h.ScheduleAt || got.Complete != h.Complete || got.Purge != h.Purge || (got.Schedule == nil) != (h.Schedule == nil) || !got.Verify(testKeys[0]) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// The bytes of the format, so that it does not change unnoticed.
func TestSnapshotWorked(t *testing.T) {
	shard := gateway.Shard{ID: 0x407, At: gateway.Position{Epoch: 0x1122334455667788, Number: 258, Watermark: 1_660_000_000_000_000, Hash: someHash}}
	for i, r := range []gateway.Record{{Anchor: 19213}, {}, {Anchor: 19213}} {
		shard.Records = append(shard.Records, gateway.Change{Token: 0x407<<52 | gateway.Token(i+1)<<50, Record: r})
	}
	b := signShard(t, 1, shard, 77)
	sum := sumOf(&shard).Hash
	want := "0101" + "8877665544332211" + "0201000000000000" + "00c053dec2e50500" + hex.EncodeToString(someHash[:]) + "4d00000000000000" +
		"0704" + "03000000" + "02000000" + "0100" + "03000d4b" +
		// k = 50, w = 1: 10 0…0, then 1 and 0 1…1, then 0 and 0 1…1, then 1 and
		// filling.
		"8000000000000" + "bffffffffffff" + "3ffffffffffff" + "8" + hex.EncodeToString(sum[:])
	got := hex.EncodeToString(b[:len(b)-trailerSize])
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestSnapshotSize(t *testing.T) {
	b := signShard(t, 1, cityShard(0x407, 6100), 12)
	per := float64(len(b)) / 6100
	t.Logf("6100 records: %d bytes, %.2f a record", len(b), per)
	if per > 8 {
		t.Errorf("%.2f bytes a record, at most 8", per)
	}
	for name, token := range map[string]func(i int) gateway.Token{
		"all at the end":   func(i int) gateway.Token { return 1<<52 - 1<<12 + gateway.Token(i) },
		"all at the start": func(i int) gateway.Token { return gateway.Token(i) },
		"far apart":        func(i int) gateway.Token { return gateway.Token(i+1)<<36 - 1 },
	} {
		s, n := gateway.Shard{At: someAt}, gateway.MaxShardRecords
		if name != "far apart" {
			n = 1 << 12 // enough for tokens that pack better
		}
		for i := range n {
			r := gateway.Record{Anchor: gateway.Day(1 + i/1440), HoldThrough: 1, AnchorMinute: uint16(i % 1440)}
			s.Records = append(s.Records, gateway.Change{Token: token(i), Record: r})
		}
		if b := signShard(t, 1, s, 0); len(b) > MaxSnapshotSize || MaxSnapshotSize > 1<<20-1024 {
			t.Errorf("%s: %d bytes, bound %d, a message may have %d", name, len(b), MaxSnapshotSize, 1<<20)
		} else if got, err := DecodeSnapshot(b); err != nil || len(got.Shard.Records) != len(s.Records) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSignSnapshotRefuses(t *testing.T) {
	first := gateway.Token(0x407) << 52
	for name, change := range map[string]func(*gateway.Shard){
		"no epoch":        func(s *gateway.Shard) { s.At.Epoch = 0 },
		"no time":         func(s *gateway.Shard) { s.At.Watermark = 0 },
		"no hash":         func(s *gateway.Shard) { s.At.Hash = gateway.Hash{} },
		"before entry 1":  func(s *gateway.Shard) { s.At = gateway.Position{Epoch: 1} },
		"no such shard":   func(s *gateway.Shard) { s.ID = gateway.Shards },
		"another shard":   func(s *gateway.Shard) { s.ID = 0x408 },
		"deletion":        func(s *gateway.Shard) { s.Records[0].Delete = true },
		"out of order":    func(s *gateway.Shard) { s.Records[0].Token = first + 9 },
		"twice":           func(s *gateway.Shard) { s.Records[0].Token = first + 2 },
		"bad record":      func(s *gateway.Shard) { s.Records[0].Record.Class = 9 },
		"too many":        func(s *gateway.Shard) { s.Records = make([]gateway.Change, gateway.MaxShardRecords+1) },
		"schedule beyond": nil,
	} {
		s, scheduleAt := gateway.Shard{ID: 0x407, At: someAt, Records: []gateway.Change{{Token: first + 1}, {Token: first + 2}}}, uint64(0)
		if change == nil {
			scheduleAt = 301
		} else {
			change(&s)
		}
		signs := newSigner(testSecret(1))
		if b, _, err := signs.signSnapshot(&s, scheduleAt); !errors.Is(err, ErrShard) || b != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	signs := newSigner(testSecret(1))
	for _, h := range []Head{{}, {At: someAt, ScheduleAt: 1}, {At: someAt, Schedule: testSchedule(1)}, {At: someAt, Schedule: &gateway.Schedule{}, ScheduleAt: 1}} {
		if _, err := signs.signHead(&h); !errors.Is(err, ErrShard) {
			t.Errorf("%+v: %v", h, err)
		}
	}
}

// Whatever byte of a snapshot or a head is changed, it is not taken; and neither
// is one for the other, nor an entry.
func TestSnapshotEveryByte(t *testing.T) {
	snapshot, head := signShard(t, 1, cityShard(3, 5), 12), signHead(t, 1, Head{At: someAt, Complete: true})
	verified := 0
	purged := signHead(t, 1, Head{At: someAt, Schedule: testSchedule(1), ScheduleAt: 1, Purge: Order{Number: 9, Ordered: 10}})
	for _, good := range [][]byte{snapshot, head, purged} {
		for i := range good {
			b := bytes.Clone(good)
			b[i] ^= 0x10
			s, err := DecodeSnapshot(b)
			if err == nil {
				verified++
				if s.Verify(testKeys[0]) {
					t.Errorf("byte %d of a snapshot can be changed", i)
				}
			} else if !errors.Is(err, ErrShard) {
				t.Error(err)
			}
			if h, err := DecodeHead(b); err == nil && h.Verify(testKeys[0]) {
				t.Errorf("byte %d of a head can be changed", i)
			}
		}
		for n := range good {
			if _, err := DecodeSnapshot(good[:n]); !errors.Is(err, ErrShard) {
				t.Errorf("%d bytes: %v", n, err)
			}
			if _, err := DecodeHead(good[:n]); !errors.Is(err, ErrShard) {
				t.Errorf("%d bytes: %v", n, err)
			}
		}
	}
	if verified < 100 {
		t.Errorf("the signature was asked %d times only", verified)
	}
	// The sum is looked at before the signature: its bytes follow the records.
	b := bytes.Clone(snapshot)
	b[len(b)-trailerSize-1] ^= 1
	if _, err := DecodeSnapshot(b); !errors.Is(err, ErrShard) {
		t.Errorf("wrong sum: %v", err)
	}
	b = bytes.Clone(snapshot)
	b[0] = 2
	if _, err := DecodeSnapshot(b); !errors.Is(err, ErrVersion) {
		t.Errorf("version 2: %v", err)
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(signShard(f, 1, gateway.Shard{ID: 5, At: someAt}, 0))
	f.Add(signShard(f, 1, cityShard(4095, 40), 300))
	f.Add(signHead(f, 1, Head{At: someAt, Schedule: testSchedule(1), ScheduleAt: 9}))
	seeds, err := filepath.Glob(filepath.Join("testdata", "fuzz", "FuzzDecodeSnapshot", "*"))
	if err != nil || len(seeds) < 3 {
		f.Fatalf("%d seeds in testdata, want at least 3 (%v)", len(seeds), err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var again []byte
		s, err := DecodeSnapshot(b)
		if err == nil {
			again, _, err = appendSnapshot(nil, &s.Shard, s.ScheduleAt)
		} else {
			var h Head
			if h, err = DecodeHead(b); err != nil {
				if !errors.Is(err, ErrShard) {
					t.Errorf("error of another kind: %v", err)
				}
				return
			}
			again, err = appendHead(nil, &h)
		}
		if err != nil || !bytes.Equal(again, b[:len(b)-trailerSize]) || len(b) > MaxSnapshotSize {
			t.Errorf("accepted %x, encodes to %x (%v)", b, again, err)
		}
	})
}

func BenchmarkSnapshot(b *testing.B) {
	shard, signs := cityShard(0x407, 6100), newSigner(testSecret(1))
	in := signShard(b, 1, shard, 12)
	s, err := DecodeSnapshot(in)
	if err != nil {
		b.Fatal(err)
	}
	for name, f := range map[string]func() error{
		"sign": func() error { _, _, err := signs.signSnapshot(&shard, 12); return err },
		// With the sum compared.
		"decode": func() error { _, err := DecodeSnapshot(in); return err },
		"verify": func() error {
			if !s.Verify(testKeys[0]) {
				return errors.New("not genuine")
			}
			return nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*6100/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(len(in))/6100, "bytes/record")
		})
	}
}

// What an entry's checkpoint says comes back, and what cannot be is refused.
func TestCheckpointSection(t *testing.T) {
	c := gateway.Checkpoint{Shard: 4095, Sum: gateway.ShardSum{Records: gateway.MaxShardRecords, Hash: someHash}}
	e := Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash, Changes: randomChanges(3), Checkpoint: &c}
	if got := decode(t, sign(t, 1, e)); got.Checkpoint == nil || *got.Checkpoint != c || len(got.Changes) != 3 {
		t.Errorf("%+v", got.Checkpoint)
	}
	signs := newSigner(testSecret(1))
	for _, bad := range []gateway.Checkpoint{{Shard: 4096}, {Sum: gateway.ShardSum{Records: gateway.MaxShardRecords + 1}}} {
		e.Checkpoint = &bad
		if _, err := signs.sign(&e); !errors.Is(err, ErrEntry) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	e = Entry{Epoch: 1, Number: 2, Time: 3, Before: someHash, Checkpoint: &c}
	good := sign(t, 1, e)
	for name, at := range map[string]int{"shard": headerSize + 1, "records": headerSize + 4} {
		b := bytes.Clone(good)
		b[at] |= 0xf0
		if _, err := DecodeEntry(b); !errors.Is(err, ErrEntry) {
			t.Errorf("%s out of range: %v", name, err)
		}
	}
	for n := range checkpointSize {
		if _, err := DecodeEntry(slices.Delete(bytes.Clone(good), headerSize+n, headerSize+n+1)); !errors.Is(err, ErrEntry) {
			t.Errorf("without its byte %d: %v", n, err)
		}
	}
}
