package station

import (
	"testing"
	"time"

	"gateline/gateway"
	"gateline/replication"
)

var hourOfTest = time.Date(2022, 5, 30, 8, 0, 0, 0, gateway.Zone)

// wantSums compares the hours, as their distance from hourOfTest in hours, and
// their counts of R00.
func wantSums(t *testing.T, what string, h *hourSums, want ...[2]int) {
	t.Helper()
	ok := len(h.hours) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = h.hours[i].Start.Equal(hourOfTest.Add(time.Duration(want[i][0])*time.Hour)) && h.hours[i].Answers["R00"] == uint64(want[i][1])
	}
	if !ok {
		t.Errorf("%s: %+v, want %v", what, h.hours, want)
	}
}

func TestHourSums(t *testing.T) {
	var c counts
	h := hourSums{hours: []replication.Hour{}}
	at := func(after time.Duration, n uint64) {
		c.answers[gateway.R00].Add(n)
		h.add(hourOfTest.Add(after), &c)
	}
	at(0, 0)
	wantSums(t, "nothing counted", &h)
	at(time.Second, 3)
	at(time.Minute, 4)
	wantSums(t, "one hour", &h, [2]int{0, 7})
	at(time.Minute, 0)
	wantSums(t, "again", &h, [2]int{0, 7})
	at(time.Hour, 5)
	wantSums(t, "the next hour", &h, [2]int{0, 7}, [2]int{1, 5})
	at(time.Hour-time.Second, 2) // the clock was set back a little
	wantSums(t, "set back", &h, [2]int{0, 7}, [2]int{1, 7})
	at(5*time.Hour, 1)
	wantSums(t, "hours without a tap", &h, [2]int{0, 7}, [2]int{1, 7}, [2]int{5, 1})

	c.answers[gateway.R02].Add(9)
	c.observed[gateway.R13].Add(2)
	h.add(hourOfTest.Add(5*time.Hour), &c)
	if last := h.hours[2]; last.Answers["R02"] != 9 || last.Observed["R13"] != 2 || last.Answers["R13"] != 0 {
		t.Errorf("observed: %+v", last)
	}

	at(48*time.Hour, 1)
	wantSums(t, "48 hours ago is kept", &h, [2]int{0, 7}, [2]int{1, 7}, [2]int{5, 1}, [2]int{48, 1})
	at(49*time.Hour, 0)
	wantSums(t, "49 hours ago is not", &h, [2]int{1, 7}, [2]int{5, 1}, [2]int{48, 1})
	at(-24*time.Hour, 1) // the clock had been wrong by days
	wantSums(t, "hours still to come", &h, [2]int{-24, 1})

	for i := range 200 {
		at(time.Duration(i)*time.Hour, 1)
	}
	if n := len(h.hours); n != replication.MaxHours {
		t.Errorf("%d hours are kept", n)
	}
	if _, err := (&replication.Hours{Station: "a", Hours: h.hours}).Encode(); err != nil {
		t.Error(err)
	}
}
