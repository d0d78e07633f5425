package station

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gateline/central"
	"gateline/central/fleet"
	"gateline/gateway"
	"gateline/internal/logtest"
)

// storeKey returns the key that seals what a box's store holds of records.
func storeKey(t *testing.T, dir string) []byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "KEY-*"))
	if err != nil || len(names) != 1 {
		t.Fatalf("keys %v, %v", names, err)
	}
	key, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSpace(key)
}

// keyGone says that a key stands in no file of the store, so that nothing it has sealed
// can be read.
func keyGone(t *testing.T, dir string, key []byte) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, key) {
			t.Error("the key of before is still there")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b *box) holds(n int) {
	b.t.Helper()
	until(b.t, "the records are counted", func() bool { got, ok := b.cache.Records(); return ok && got == n })
}

// The end of a policy, from the first binding to the last receipt: a connected box, one
// that is cut off meanwhile, and the top-up gate at the gates.
func TestEndOfPolicy(t *testing.T) {
	centre, client := startCentre(t)
	ctx := t.Context()
	policy := gateway.DefaultPolicy(time.Now().Add(-time.Hour).Truncate(time.Second))
	policy.TopUpFrom = policy.Effective
	done(t)(client.SetPolicy(ctx, policy))
	today := gateway.DayOf(time.Now()).String()
	number := done(t)(client.Import(ctx, []central.Row{{Credential: riderCard, Person: riderID, Status: central.Status{Class: "normal", Anchor: today}}}))

	var boxes []*box
	var wires []*wire
	var roads []*road
	var keys [][]byte
	for _, station := range []string{"xizhimen", "xidan"} {
		w, r := newWire(t), newRoad(t)
		r.lead(centre.LeafAddr())
		cfg := testConfig(t, r.url(), w)
		cfg.Station = station
		b := startBox(t, cfg, Options{ReportEvery: 50 * time.Millisecond})
		b.reaches(number)
		until(t, "the box is complete", b.Usable)
		w.wants(t, riderCard, gateway.VerdictPass, gateway.R00)
		if a := w.tap(t, gateway.PurposeTopUp, parse(t, otherCard)); a.Reason != gateway.R20 {
			t.Errorf("a top-up while the policy holds: %v", a.Reason)
		}
		boxes, wires, roads, keys = append(boxes, b), append(wires, w), append(roads, r), append(keys, storeKey(t, cfg.CacheDir))
	}
	for _, b := range boxes {
		wantState(t, client, b.cfg.Station, fleet.OK)
	}
	roads[1].lead("") // the second hears nothing of all that follows

	policy.Mode = gateway.ModeOff
	done(t)(client.SetPolicy(ctx, policy))
	purge := done(t)(client.Purge(ctx, time.Time{}))
	receipts := func(want ...fleet.Receipt) {
		t.Helper()
		until(t, "the receipts are those", func() bool {
			page, err := client.Fleet(ctx)
			if err != nil || page.Purge == nil || page.Purge.Number != purge {
				t.Fatalf("the last purge is %+v, %v", page.Purge, err)
			}
			for _, r := range page.Stations {
				for i, b := range boxes {
					if r.Station == b.cfg.Station && fleet.ReceiptOf(r.Report, page.Purge) != want[i] {
						return false
					}
				}
			}
			return len(page.Stations) == len(boxes)
		})
	}
	ended := func(i int) {
		t.Helper()
		boxes[i].reaches(purge)
		boxes[i].holds(0)
		until(t, "it has carried it out", func() bool { return boxes[i].cache.Erased().Number == purge })
		keyGone(t, boxes[i].cfg.CacheDir, keys[i])
		wires[i].wants(t, riderCard, gateway.VerdictPass, gateway.R02)
		if a := wires[i].tap(t, gateway.PurposeTopUp, parse(t, otherCard)); a.Verdict != gateway.VerdictPass || a.Reason != gateway.R02 {
			t.Errorf("a top-up after the end: %v %v", a.Verdict, a.Reason)
		}
	}
	ended(0)
	receipts(fleet.Carried, fleet.NoReceipt)
	if !bytes.Equal(storeKey(t, boxes[1].cfg.CacheDir), keys[1]) {
		t.Error("the box that is cut off has heard of it")
	}
	wires[1].wants(t, riderCard, gateway.VerdictPass, gateway.R00)

	roads[1].lead(centre.LeafAddr())
	ended(1)
	receipts(fleet.Carried, fleet.Carried)
}

// The sunset of a policy at a box without a link: it erases its records by itself, once,
// and answers as the document says, also after a power cut that has set its clock to
// 1970; a clock that is not trusted erases nothing. With the link it says what it did,
// takes no record, and carries the centre's own end out.
func TestSunsetWithoutLink(t *testing.T) {
	centre, client := startCentre(t)
	ctx := t.Context()
	policy := gateway.DefaultPolicy(time.Now().Add(-2 * time.Hour).Truncate(time.Second))
	policy.TopUpFrom, policy.Sunset = policy.Effective, policy.Effective.Add(5*time.Hour)
	done(t)(client.SetPolicy(ctx, policy))
	today := gateway.DayOf(time.Now()).String()
	row := central.Row{Credential: riderCard, Person: riderID, Status: central.Status{Class: "normal", Anchor: today}}
	number := done(t)(client.Import(ctx, []central.Row{row}))

	road, w, log := newRoad(t), newWire(t), new(logtest.Buffer)
	road.lead(centre.LeafAddr())
	cfg := testConfig(t, road.url(), w)
	var shift atomic.Int64 // of the box's clock
	o := Options{Log: log.Logger(), ReportEvery: 50 * time.Millisecond, Now: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }}
	b := startBox(t, cfg, o)
	b.reaches(number)
	w.wants(t, riderCard, gateway.VerdictPass, gateway.R00)
	before := storeKey(t, cfg.CacheDir)
	road.lead("")

	shift.Store(int64(-50 * 365 * 24 * time.Hour))
	until(t, "the clock is not trusted", func() bool { return b.metric("gateline_clock_trusted") == "0" })
	w.wants(t, riderCard, gateway.VerdictManual, gateway.R23)
	b.holds(1)
	shift.Store(int64(4 * time.Hour))
	b.holds(0)
	w.wants(t, riderCard, gateway.VerdictPass, gateway.R02)
	until(t, "the log tells", func() bool { return strings.Count(log.String(), "every record of this box was erased") == 1 })
	keyGone(t, cfg.CacheDir, before)
	if bytes.Equal(storeKey(t, cfg.CacheDir), before) {
		t.Error("the key is the same")
	}

	b.stop() // power cycle
	shift.Store(int64(-50 * 365 * 24 * time.Hour))
	b = startBox(t, cfg, o)
	w.wants(t, riderCard, gateway.VerdictPass, gateway.R02)
	w.lane(t, gateway.LaneAuto)
	if a := w.tap(t, gateway.PurposeTopUp, parse(t, otherCard)); a.Reason != gateway.R02 {
		t.Errorf("a top-up after the sunset: %v", a.Reason)
	}
	b.holds(0)
	keyGone(t, cfg.CacheDir, before)

	shift.Store(int64(4 * time.Hour))
	row.Class = "red"
	number = done(t)(client.Import(ctx, []central.Row{row, {Credential: otherCard, Person: riderID}}))
	road.lead(centre.LeafAddr())
	b.reaches(number)
	b.holds(0)
	if b.cache.Loaded() != 0 {
		t.Errorf("%d shards are loaded", b.cache.Loaded())
	}
	until(t, "the box says so", func() bool {
		r, there := stateOf(t, client, cfg.Station)
		return there && r.Report.Purge != nil && r.Report.Purge.Sunset.Equal(policy.Sunset) && r.Report.Purge.Number == 0
	})

	policy.Sunset = time.Now().Add(-time.Minute).Truncate(time.Second) // the centre's own clock is not there yet
	done(t)(client.SetPolicy(ctx, policy))
	b.reaches(done(t)(client.Purge(ctx, time.Time{})))
	b.holds(0)
	until(t, "the receipt is there", func() bool {
		page, err := client.Fleet(ctx)
		return err == nil && page.Purge != nil && len(page.Stations) == 1 && fleet.ReceiptOf(page.Stations[0].Report, page.Purge) == fleet.Carried
	})
	if n := strings.Count(log.String(), "every record of this box was erased"); n != 1 {
		t.Errorf("erased %d times", n)
	}
	b.stop()
	noSecrets(t, "the log", log.String())
}
