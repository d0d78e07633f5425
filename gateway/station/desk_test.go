package station

import (
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gateline/gateway"
)

// fakeDirectory holds records, or fails.
type fakeDirectory struct {
	records map[gateway.Token]gateway.Record
	err     error
}

func (d *fakeDirectory) Lookup(t gateway.Token) (gateway.Record, bool, error) {
	r, ok := d.records[t]
	return r, ok, d.err
}

// fakeStore keeps the switches in memory.
type fakeStore struct {
	saved map[string][]byte
	err   error
}

func (s *fakeStore) LoadLocal(name string) ([]byte, error) { return s.saved[name], s.err }

func (s *fakeStore) SaveLocal(name string, value []byte) error {
	if s.err == nil {
		s.saved[name] = value
	}
	return s.err
}

// newTestDesk is a desk with one gate, G1 at address 1, complete and fresh.
func newTestDesk(t *testing.T, directory *fakeDirectory) *desk {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	switches, err := openSwitches(&fakeStore{saved: map[string][]byte{}}, []string{"G1"}, log)
	if err != nil {
		t.Fatal(err)
	}
	position := gateway.Position{Epoch: 1, Number: 1, Watermark: time.Now().UnixMicro()}
	schedule := new(atomic.Pointer[gateway.Schedule])
	schedule.Store(&gateway.Schedule{Version: 1, Policies: []gateway.Policy{gateway.DefaultPolicy(time.Now().Add(-time.Hour))}})
	return newDesk(&shared{
		directory: directory, usable: func() bool { return true }, erased: func() gateway.Erasure { return gateway.Erasure{} }, position: func() gateway.Position { return position },
		schedule: schedule, switches: switches, metrics: newMetrics("v0", "test"),
		clock: newClock(time.Now, func() (kernelClock, error) { return kernelClock{synced: true}, nil }, func() time.Time { return position.Time() }, clockWatch{requireSync: true}, log),
	}, testKey(), []GateConfig{{Name: "G1", Address: 1}})
}

func entryOf(t *testing.T, credential string) gateway.Tap {
	return gateway.Tap{Gate: 1, Number: 1, Purpose: gateway.PurposeEntry, Credential: parse(t, credential)}
}

func tested(t *testing.T, credential string) *fakeDirectory {
	return &fakeDirectory{records: map[gateway.Token]gateway.Record{tokenOf(t, credential): {Anchor: gateway.DayOf(time.Now())}}}
}

func TestDecideAllocatesNothing(t *testing.T) {
	d, tap := newTestDesk(t, tested(t, riderCard)), entryOf(t, riderCard)
	now := time.Now()
	if a := d.Decide(now, tap); a.Verdict != gateway.VerdictPass || a.Reason != gateway.R00 {
		t.Fatalf("answered %v %v", a.Verdict, a.Reason)
	}
	if n := testing.AllocsPerRun(1000, func() { d.Decide(now, tap); d.Lane(now, 1) }); n != 0 {
		t.Errorf("%v allocations a tap", n)
	}
	if n := testing.AllocsPerRun(1000, func() { d.Decide(now, tap); d.Answered(time.Microsecond, time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations with the counting", n)
	}
}

// A store that cannot tell accuses nobody.
func TestLookupError(t *testing.T) {
	directory := tested(t, riderCard)
	d, tap := newTestDesk(t, directory), entryOf(t, riderCard)
	directory.err = errors.New("the disk is gone")
	now := time.Now()
	if a := d.Decide(now, tap); a.Verdict != gateway.VerdictManual || a.Reason != gateway.R24 || a.Open {
		t.Errorf("an entry is answered %+v", a)
	}
	tap.Purpose = gateway.PurposeExit
	if a := d.Decide(now, tap); a.Verdict != gateway.VerdictPass || !a.Open {
		t.Errorf("an exit is answered %+v", a)
	}
	tap.Credential = gateway.Credential{} // nothing to look up
	tap.Purpose = gateway.PurposeEntry
	if a := d.Decide(now, tap); a.Verdict != gateway.VerdictManual || a.Reason != gateway.R25 {
		t.Errorf("an unreadable card is answered %+v", a)
	}
	d.Answered(0, 0)
	if got := value(t, d, "gateline_lookup_errors_total"); got != 2 {
		t.Errorf("%v lookup errors are counted", got)
	}
	directory.err = nil
	if a := d.Decide(now, entryOf(t, riderCard)); a.Reason != gateway.R00 {
		t.Errorf("afterwards %+v", a)
	}
}

// value returns the sum of a counter over all its labels.
func value(t *testing.T, d *desk, name string) (sum float64) {
	t.Helper()
	families, err := d.shared.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// Taps whose answers never got to a port are counted all the same, and what
// waits to be counted is bounded.
func TestUncountedTaps(t *testing.T) {
	d, tap := newTestDesk(t, tested(t, riderCard)), entryOf(t, riderCard)
	const taps = 3*mostUncounted + 5
	for range taps {
		d.Decide(time.Now(), tap)
	}
	if cap(d.made) != mostUncounted {
		t.Errorf("room for %d", cap(d.made))
	}
	d.Answered(0, 0)
	if got := value(t, d, "gateline_answers_total"); got != taps {
		t.Errorf("%v answers are counted of %d", got, taps)
	}
}

func TestSwitchesAtTheDesk(t *testing.T) {
	d, tap := newTestDesk(t, tested(t, riderCard)), entryOf(t, otherCard)
	now := time.Now()
	for _, c := range []struct {
		gate   string
		to     gateway.Switch
		reason gateway.Reason
		lane   gateway.Lane
	}{
		{"", gateway.SwitchAuto, gateway.R20, gateway.LaneAuto},
		{"", gateway.SwitchManual, gateway.R26, gateway.LaneManual},
		{"G1", gateway.SwitchOpen, gateway.R02, gateway.LaneOpen}, // open wins
		{"", gateway.SwitchAuto, gateway.R02, gateway.LaneOpen},
		{"G1", gateway.SwitchManual, gateway.R26, gateway.LaneManual},
		{"G1", gateway.SwitchAuto, gateway.R20, gateway.LaneAuto},
	} {
		if err := d.shared.switches.Set(c.gate, c.to); err != nil {
			t.Fatal(err)
		}
		if a := d.Decide(now, tap); a.Reason != c.reason {
			t.Errorf("%q %v: %v", c.gate, c.to, a.Reason)
		}
		if lane := d.Lane(now, 1); lane != c.lane {
			t.Errorf("%q %v: lane %v", c.gate, c.to, lane)
		}
	}
	if lane := d.Lane(now, 2); lane != gateway.LaneAuto {
		t.Errorf("an address without a gate: lane %v", lane)
	}
}

// A switch that cannot be saved is in force all the same, and says so.
func TestSwitchesThatCannotBeSaved(t *testing.T) {
	store := &fakeStore{saved: map[string][]byte{}}
	s, err := openSwitches(store, []string{"G1"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	store.err = errors.New("the disk is full")
	if err := s.Set("", gateway.SwitchManual); err == nil || !strings.Contains(err.Error(), "in force but will not survive a restart") {
		t.Errorf("got %v", err)
	}
	if s.State().Station != gateway.SwitchManual {
		t.Error("the switch is not in force")
	}
	if _, err := openSwitches(store, nil, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("switches that cannot be read are taken for auto")
	}
	store.err, store.saved[switchesName] = nil, []byte("{")
	s, err = openSwitches(store, []string{"G1"}, slog.New(slog.DiscardHandler))
	if err != nil || s.State().Station != gateway.SwitchManual {
		t.Errorf("switches that make no sense do not start on manual: %v", err)
	}
}

// The verdict that stands beside a reason in the metrics is the one the
// decision gives with it.
func TestVerdictOf(t *testing.T) {
	want := map[gateway.Verdict]string{
		gateway.VerdictPass: "R00 R01 R02", gateway.VerdictRefuse: "R10 R11 R12 R13", gateway.VerdictManual: "R20 R21 R22 R23 R24 R25 R26",
	}
	for _, r := range gateway.Reasons() {
		if !strings.Contains(want[r.Verdict()], r.String()) {
			t.Errorf("%v stands beside %v", r, r.Verdict())
		}
	}
}

// The age of the centre's last word decides what may still be said.
func TestAge(t *testing.T) {
	d, tap := newTestDesk(t, tested(t, riderCard)), entryOf(t, riderCard)
	for _, c := range []struct {
		age    time.Duration
		reason gateway.Reason
		lane   gateway.Lane
	}{
		{0, gateway.R00, gateway.LaneAuto},
		{14 * time.Minute, gateway.R00, gateway.LaneAuto},
		{16 * time.Minute, gateway.R01, gateway.LaneAuto},
		{25 * time.Hour, gateway.R22, gateway.LaneManual},
		{gateway.AgeUnknown, gateway.R22, gateway.LaneManual},
		{-2 * time.Hour, gateway.R23, gateway.LaneManual}, // the centre is ahead of the box's clock
	} {
		now := time.Now()
		position := gateway.Position{Epoch: 1, Number: 1, Watermark: now.Add(-c.age).UnixMicro()}
		if c.age == gateway.AgeUnknown {
			position.Watermark = 0
		}
		d.shared.position = func() gateway.Position { return position }
		if a := d.Decide(now, tap); a.Reason != c.reason {
			t.Errorf("%v old: %v, want %v", c.age, a.Reason, c.reason)
		}
		if lane := d.Lane(now, 1); lane != c.lane {
			t.Errorf("%v old: lane %v, want %v", c.age, lane, c.lane)
		}
	}
}

// While shards are still being loaded, a record that is there answers, and one
// that is not means nothing.
func TestDecideWhileLoading(t *testing.T) {
	d := newTestDesk(t, tested(t, riderCard))
	d.shared.usable = func() bool { return false }
	now := time.Now()
	if a := d.Decide(now, entryOf(t, riderCard)); a.Verdict != gateway.VerdictPass {
		t.Errorf("a rider of a loaded shard: %v %v", a.Verdict, a.Reason)
	}
	if a := d.Decide(now, entryOf(t, "3104770000000000002")); a.Reason != gateway.R24 {
		t.Errorf("a rider without a record: %v", a.Reason)
	}
}
