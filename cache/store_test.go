package cache

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

var _ gateway.Directory = (*Store)(nil)

func TestRandomUpdatesAgainstModel(t *testing.T) {
	dir := t.TempDir()
	m := model{}
	n := uint64(1)
	for range 3 {
		s := open(t, dir, testOptions())
		if got := s.Position().Number; got != n-1 {
			t.Fatalf("reopened at entry %d, want %d", got, n-1)
		}
		verify(t, s, m)
		for range 60 {
			u := updateOf(n)
			apply(t, s, u)
			m.apply(u)
			n++
		}
		verify(t, s, m)
		closeStore(t, s)
	}
	s := open(t, dir, testOptions())
	verify(t, s, m)
	if got := s.Position(); got != at(n-1) {
		t.Fatalf("reopened at %v, want %v", got, at(n-1))
	}
}

func TestApplyValidation(t *testing.T) {
	record := gateway.Record{Class: gateway.ClassYellow}
	many := func(n int) (changes []gateway.Change) {
		for i := range n {
			changes = append(changes, gateway.Change{Token: tokenAt(i), Record: record})
		}
		return changes
	}
	one := many(1)
	terms := func(from ...uint64) (terms []gateway.KeyTerm) {
		for _, n := range from {
			terms = append(terms, gateway.KeyTerm{Key: gateway.FeedKey{1}, From: n})
		}
		return terms
	}
	tests := []struct {
		name  string
		start gateway.Position
		u     gateway.Update
		ok    bool
	}{
		{"first", gateway.Position{}, gateway.Update{To: at(1), Changes: one}, true},
		{"first in the middle of the feed", gateway.Position{}, gateway.Update{To: at(1 << 40), Changes: one}, true},
		{"next", at(5), gateway.Update{To: at(6), Changes: one}, true},
		{"later", at(5), gateway.Update{To: at(9), Changes: one}, true},
		{"largest", at(5), gateway.Update{To: at(6), Changes: many(gateway.MaxChanges)}, true},
		{"repeat", at(5), gateway.Update{To: at(5), Changes: one}, false},
		{"older", at(5), gateway.Update{To: at(4), Changes: one}, false},
		{"repeated heartbeat", at(5), gateway.Update{To: at(5)}, false},
		{"foreign epoch", at(5), gateway.Update{To: gateway.Position{Epoch: epoch + 1, Number: 6}, Changes: one}, false},
		{"no epoch", gateway.Position{}, gateway.Update{To: gateway.Position{Number: 6}, Changes: one}, false},
		{"number zero", gateway.Position{}, gateway.Update{To: gateway.Position{Epoch: epoch}, Changes: one}, false},
		{"too many", at(5), gateway.Update{To: at(6), Changes: many(gateway.MaxChanges + 1)}, false},
		{"invalid class", at(5), gateway.Update{To: at(6), Changes: append(many(3), gateway.Change{Token: tokenAt(9), Record: gateway.Record{Class: 4}})}, false},
		{"invalid minute", at(5), gateway.Update{To: at(6), Changes: []gateway.Change{{Token: tokenAt(9), Record: gateway.Record{AnchorMinute: 1}}}}, false},
		{"deleted record is not looked at", at(5), gateway.Update{To: at(6), Changes: []gateway.Change{{Token: tokenAt(9), Delete: true, Record: gateway.Record{Class: 4}}}}, true},
		{"token twice", at(5), gateway.Update{To: at(6), Changes: []gateway.Change{{Token: 8}, {Token: 9}, {Token: 8, Delete: true}}}, false},
		{"keys", at(5), gateway.Update{To: at(6), Keys: terms(1, 7)}, true},
		{"keys and changes", at(5), gateway.Update{To: at(6), Changes: one, Keys: terms(1)}, true},
		{"no keys", at(5), gateway.Update{To: at(6), Changes: one, Keys: terms()}, true},
		{"empty keys", at(5), gateway.Update{To: at(6), Changes: one, Keys: []gateway.KeyTerm{}}, false},
		{"keys of no number", at(5), gateway.Update{To: at(6), Keys: terms(0, 7)}, false},
		{"keys out of order", at(5), gateway.Update{To: at(6), Keys: terms(1, 7, 7)}, false},
		{"too many keys", at(5), gateway.Update{To: at(6), Keys: terms(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17)}, false},
		{"empty schedule", at(5), gateway.Update{To: at(6), Changes: one, Schedule: &gateway.Schedule{Version: 1}}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, t.TempDir(), testOptions())
			if tt.start != (gateway.Position{}) {
				apply(t, s, gateway.Update{To: tt.start, Changes: []gateway.Change{{Token: 99, Record: record}}})
			}
			before := contents(t, s)
			err := s.Apply(tt.u)
			if tt.ok {
				if err != nil || s.Position() != tt.u.To {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			wantErr(t, err, ErrUpdate)
			if s.Position() != tt.start || !maps.Equal(before, contents(t, s)) || s.Schedule() != nil || s.Keys() != nil {
				t.Fatal("a refused update left something")
			}
			apply(t, s, gateway.Update{To: at(1 << 50), Changes: one})
		})
	}
}

func contents(t *testing.T, s *Store) model {
	t.Helper()
	m := model{}
	err := s.Each(func(token gateway.Token, r gateway.Record) error { m[token] = r; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// largestSchedule is as close to gateway.MaxScheduleSize as station names let
// it come.
func largestSchedule(t *testing.T) *gateway.Schedule {
	t.Helper()
	s := scheduleOf(9)
	for day := range 3 {
		p := gateway.DefaultPolicy(time.Date(2022, 7, 1+day, 0, 0, 0, 0, gateway.Zone))
		p.Stations = map[string]gateway.Mode{}
		for i := range 1000 {
			p.Stations[fmt.Sprintf("station-%056d", i)] = gateway.ModeAdvisory
		}
		s.Policies = append(s.Policies, p)
	}
	b, err := gateway.EncodeSchedule(s)
	if err != nil {
		t.Fatal(err)
	}
	const entry = len(`"station-":"advisory",`) + 56
	for i := range (gateway.MaxScheduleSize - len(b)) / entry {
		s.Policies[3].Stations[fmt.Sprintf("station-%056d", 1000+i)] = gateway.ModeAdvisory
	}
	b, err = gateway.EncodeSchedule(s)
	if err != nil || len(b) < gateway.MaxScheduleSize-entry {
		t.Fatalf("the schedule has %d bytes, err %v", len(b), err)
	}
	return s
}

func TestLargestUpdateInSmallestMemtable(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	m := model{}
	schedule := largestSchedule(t)
	for n := uint64(1); n <= 10; n++ { // more than a memtable
		u := gateway.Update{To: at(n), Complete: true}
		if n%5 == 0 {
			u.Schedule = schedule
		}
		for i := range gateway.MaxChanges {
			u.Changes = append(u.Changes, gateway.Change{
				Token:  tokenAt((int(n)*100 + i) % universe),
				Record: gateway.Record{Class: 3, Flags: 1, Anchor: 1, HoldThrough: 30000, AnchorMinute: uint16(n)},
			})
		}
		apply(t, s, u)
		m.apply(u)
	}
	closeStore(t, s)
	s = open(t, dir, testOptions())
	verify(t, s, m)
	if !reflect.DeepEqual(s.Schedule().Policies[3].Stations, schedule.Policies[3].Stations) {
		t.Fatal("the schedule was not kept")
	}
}

func TestScheduleAndComplete(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	if s.Usable() || s.Schedule() != nil || s.Position() != (gateway.Position{}) {
		t.Fatal("a new store holds something")
	}
	given := scheduleOf(1)
	apply(t, s, gateway.Update{To: at(1), Schedule: given})
	given.Policies[0].Window = 9 // the store has its own copy
	if s.Schedule().Policies[0].Window != 2 || s.Usable() {
		t.Fatal("schedule shared with the caller, or usable without Complete")
	}
	apply(t, s, gateway.Update{To: at(2), Complete: true})
	apply(t, s, gateway.Update{To: at(3), Schedule: scheduleOf(2)})
	if !s.Usable() {
		t.Fatal("Complete was taken back")
	}
	closeStore(t, s)
	s = open(t, dir, testOptions())
	if !s.Usable() || s.Schedule() == nil || s.Schedule().Version != 2 || s.Position() != at(3) {
		t.Fatal("reopened store lost its state")
	}
}

// Keys without any other data are no heartbeat: they are on the disk at once,
// and what comes after them leaves them as they are.
func TestKeysAreKept(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	if s.Keys() != nil {
		t.Fatal("a new store has keys")
	}
	for n := uint64(1); n <= 3*rotateEvery; n++ {
		u := gateway.Update{To: at(n)}
		if n%rotateEvery == 1 {
			u.Keys = termsAt(n)
		}
		apply(t, s, u)
		if u.Keys != nil {
			u.Keys[0].From = 99 // the store has its own copy
		}
		if !slices.Equal(s.Keys(), termsAt(n)) {
			t.Fatalf("at %d: %v", n, s.Keys())
		}
	}
	closeStore(t, s)
	s = open(t, dir, testOptions())
	last := uint64(2*rotateEvery + 1)
	if s.Position() != at(last) || !slices.Equal(s.Keys(), termsAt(last)) {
		t.Fatalf("reopened at %v with keys %v", s.Position(), s.Keys())
	}
}

// The position of a heartbeat is on disk only once a minute has passed; that
// of an update always.
func TestHeartbeatIsWrittenOnceAMinute(t *testing.T) {
	dir := t.TempDir()
	c := &clock{now: time.Unix(1_650_000_000, 0)}
	o := testOptions()
	o.Now = c.Now
	reopened := func(s *Store) (*Store, gateway.Position) {
		closeStore(t, s)
		s = open(t, dir, o)
		return s, s.Position()
	}
	s := open(t, dir, o)
	apply(t, s, gateway.Update{To: at(1), Complete: true}) // the first Complete is data
	version := s.version
	for n := uint64(2); n <= 60; n++ {
		c.now = c.now.Add(time.Second)
		apply(t, s, gateway.Update{To: at(n), Complete: n%2 == 0})
	}
	if s.Position() != at(60) || s.version != version {
		t.Fatalf("at %v after %d writes; want entry 60 and none", s.Position(), s.version-version)
	}
	s, got := reopened(s)
	if got != at(1) {
		t.Fatalf("reopened at %v, want entry 1: heartbeats are not to be written yet", got)
	}
	for n := uint64(2); n <= 62; n++ {
		c.now = c.now.Add(time.Second)
		apply(t, s, gateway.Update{To: at(n)})
	}
	s, got = reopened(s)
	if got != at(61) {
		t.Fatalf("reopened at %v, want entry 61, the first after a minute", got)
	}
	apply(t, s, gateway.Update{To: at(70), Changes: []gateway.Change{{Token: 1}}})
	s, got = reopened(s)
	if got != at(70) {
		t.Fatalf("reopened at %v, want entry 70", got)
	}
	c.now = c.now.Add(-time.Hour) // a clock that was set back does not stop the writing
	apply(t, s, gateway.Update{To: at(71)})
	if _, got = reopened(s); got != at(71) {
		t.Fatalf("reopened at %v, want entry 71", got)
	}
}

func TestDiskFull(t *testing.T) {
	o := testOptions()
	o.MinFree = 1 << 60
	dir := t.TempDir()
	_, err := Open(dir, o)
	wantErr(t, err, ErrDiskFull)

	var log bytes.Buffer
	c := &clock{now: time.Unix(1_650_000_000, 0)}
	o = testOptions()
	o.Now, o.Log = c.Now, slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, dir, o)
	apply(t, s, gateway.Update{To: at(1), Changes: []gateway.Change{{Token: 5}}})
	s.minFree = 1 << 60 // as if something else had filled the disk
	err = s.Apply(gateway.Update{To: at(2), Changes: []gateway.Change{{Token: 6}}})
	wantErr(t, err, ErrDiskFull)
	wantErr(t, s.SaveLocal("switch", []byte("open")), ErrDiskFull)
	if _, ok, err := s.Lookup(5); !ok || err != nil || s.Position() != at(1) {
		t.Fatalf("lookups must go on where they were: known %v, err %v", ok, err)
	}
	for n := uint64(2); n < 5; n++ { // heartbeats go on too, in memory
		c.now = c.now.Add(time.Hour)
		apply(t, s, gateway.Update{To: at(n)})
	}
	if got := strings.Count(log.String(), "level=WARN"); got != 1 || s.Position() != at(4) {
		t.Fatalf("%d warnings, at %v; want one and entry 4:\n%s", got, s.Position(), log.String())
	}
	s.minFree = 1
	apply(t, s, gateway.Update{To: at(5), Changes: []gateway.Change{{Token: 6}}})
	if _, ok, err := s.Lookup(6); !ok || err != nil {
		t.Fatalf("known %v, err %v", ok, err)
	}
}

// Once a commit failed nobody knows what the disk holds: nothing more is
// written, lookups go on.
func TestFailedCommitStopsWriting(t *testing.T) {
	s := open(t, t.TempDir(), testOptions())
	apply(t, s, gateway.Update{To: at(1), Changes: []gateway.Change{{Token: 5}}})
	version := s.version
	s.version = 1<<64 - 1 // the next version is 0, which Badger refuses to commit at
	for n := uint64(2); n < 4; n++ {
		if err := s.Apply(gateway.Update{To: at(n), Changes: []gateway.Change{{Token: 6}}}); err == nil {
			t.Fatal("no error")
		}
		s.version = version
	}
	if _, ok, err := s.Lookup(5); !ok || err != nil || s.Position() != at(1) {
		t.Fatalf("known %v, err %v, at %v", ok, err, s.Position())
	}
}

func TestLocal(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	largest := bytes.Repeat([]byte{7}, MaxLocalValue)
	for name, value := range map[string][]byte{"switch/station": []byte("open"), "largest": largest, "gone": []byte("x")} {
		if err := s.SaveLocal(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SaveLocal("gone", nil); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = open(t, dir, testOptions())
	for name, want := range map[string][]byte{"switch/station": []byte("open"), "largest": largest, "gone": nil, "never": nil} {
		if got, err := s.LoadLocal(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d bytes", name, len(got), err, len(want))
		}
	}
	if s.Position() != (gateway.Position{}) || len(contents(t, s)) != 0 {
		t.Error("settings show among the records or moved the position")
	}
	if s.SaveLocal("too-large", append(largest, 1)) == nil {
		t.Error("a value above the limit was taken")
	}
	for _, name := range []string{"", "Upper", "a b", "é", strings.Repeat("a", MaxLocalName+1)} {
		if _, err := s.LoadLocal(name); err == nil || s.SaveLocal(name, []byte("x")) == nil {
			t.Errorf("name %q was taken", name)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{MemTableSize: 1}, {MemTableSize: MaxMemTableSize + 1}, {MinFree: -1}} {
		if _, err := Open(t.TempDir(), o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
