package replication

import (
	"errors"
	"testing"

	"gateline/gateway"
)

func TestFollowerStep(t *testing.T) {
	at := gateway.Position{Epoch: 7, Number: 100, Watermark: 5000}
	for _, test := range []struct {
		name   string
		at     gateway.Position
		entry  Entry
		action Action
		err    error
	}{
		{"first contact, entry 1", gateway.Position{}, Entry{Epoch: 9, Number: 1, Time: 1}, ActionApply, nil},
		{"first contact, later entry", gateway.Position{}, Entry{Epoch: 9, Number: 2, Time: 1}, ActionGap, nil},
		{"next", at, Entry{Epoch: 7, Number: 101, Time: 5001}, ActionApply, nil},
		{"one missing", at, Entry{Epoch: 7, Number: 102, Time: 5002}, ActionGap, nil},
		{"far ahead", at, Entry{Epoch: 7, Number: 1 << 60, Time: 6000}, ActionGap, nil},
		{"the one applied last", at, Entry{Epoch: 7, Number: 100, Time: 5000}, ActionRepeat, nil},
		{"an older one", at, Entry{Epoch: 7, Number: 99, Time: 4999}, ActionRepeat, nil},
		{"the first", at, Entry{Epoch: 7, Number: 1, Time: 1}, ActionRepeat, nil},
		{"foreign, next", at, Entry{Epoch: 8, Number: 101, Time: 5001}, ActionRefuse, ErrForeignEpoch},
		{"foreign, first", at, Entry{Epoch: 8, Number: 1, Time: 5001}, ActionRefuse, ErrForeignEpoch},
		{"foreign, ahead", at, Entry{Epoch: 8, Number: 500, Time: 5001}, ActionRefuse, ErrForeignEpoch},
		{"went back, rewritten later", at, Entry{Epoch: 7, Number: 90, Time: 5001}, ActionRefuse, ErrWentBack},
		{"another in our place, later", at, Entry{Epoch: 7, Number: 100, Time: 5001}, ActionRefuse, ErrWentBack},
		{"another in our place, earlier", at, Entry{Epoch: 7, Number: 100, Time: 4999}, ActionRefuse, ErrWentBack},
		{"next, not newer", at, Entry{Epoch: 7, Number: 101, Time: 5000}, ActionRefuse, ErrTimeBack},
		{"next, older", at, Entry{Epoch: 7, Number: 101, Time: 4000}, ActionRefuse, ErrTimeBack},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := NewFollower(test.at, true)
			action, err := f.Step(&test.entry)
			if action != test.action || !errors.Is(err, test.err) {
				t.Errorf("%v, %v; want %v, %v", action, err, test.action, test.err)
			}
			if f.Position() != test.at {
				t.Error("Step moved the position")
			}
		})
	}
	var zero Action
	if zero != ActionRefuse || zero.String() != "refuse" {
		t.Error("the zero Action does not refuse")
	}
}

func TestFollowerComplete(t *testing.T) {
	const never = ^uint64(0)
	for _, test := range []struct {
		name     string
		usable   bool
		askedAt  uint64 // position at which the centre is first asked
		last     uint64 // the feed's last entry then
		complete uint64 // the entry that carries Complete, 0 = none of 1 … 9
	}{
		{"empty feed", false, 0, 0, 1},
		{"five to fetch", false, 0, 5, 5},
		{"one to fetch", false, 0, 1, 1},
		{"feed ends at our position", false, 3, 3, 4},
		{"asked on the way", false, 2, 6, 6},
		{"more than there will be", false, 0, 12, 0},
		{"never asked", false, never, 0, 0},
		{"usable already", true, 0, 5, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := NewFollower(gateway.Position{}, test.usable)
			complete := uint64(0)
			for n := uint64(1); n < 10; n++ {
				if n == test.askedAt+1 {
					f.Asked(test.last)
					f.Asked(test.last + 1000) // only the first counts
				}
				e := Entry{Epoch: 9, Number: n, Time: int64(n)}
				if action, err := f.Step(&e); action != ActionApply {
					t.Fatal(n, action, err)
				}
				u := f.Update(&e)
				if u.Complete && complete != 0 {
					t.Errorf("complete at %d and %d", complete, n)
				}
				if u.Complete {
					complete = n
				}
				f.Applied(&u)
			}
			if complete != test.complete {
				t.Errorf("complete at %d, want %d", complete, test.complete)
			}
		})
	}
}
