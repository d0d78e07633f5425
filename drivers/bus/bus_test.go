package bus

import (
	"testing"
	"time"
)

var start = time.Date(2022, 5, 30, 8, 0, 0, 0, time.UTC)

// line is a bus with devices that take so long to answer, or never do.
type line struct {
	*Bus
	now   time.Time
	takes []time.Duration // 0 = silent
	turns []int
	waits map[int]int // waits for a silent device
}

func newLine(baud int, takes ...time.Duration) *line {
	return &line{Bus: New(len(takes), baud, start), now: start, takes: takes, waits: map[int]int{}}
}

// turn lets the bus have one exchange of 15 bytes each way, or idle.
func (l *line) turn() int {
	i, wake := l.Next(l.now)
	if i < 0 {
		l.now = wake
		return -1
	}
	l.turns = append(l.turns, i)
	l.now = l.now.Add(l.Wire(15))
	if took := l.takes[i]; took > 0 && took <= l.Timeout(i) {
		l.now = l.now.Add(took + l.Wire(15))
		l.Answered(i, l.now, took, false, false)
	} else {
		l.now = l.now.Add(l.Timeout(i))
		l.Missed(i, l.now, false)
		l.waits[i]++
	}
	l.now = l.now.Add(l.Gap())
	return i
}

func (l *line) until(t time.Time) {
	for l.now.Before(t) {
		l.turn()
	}
}

const ms = time.Millisecond

func TestTurnsAreFair(t *testing.T) {
	l := newLine(115200, ms, ms, ms, ms)
	l.until(start.Add(2 * time.Second))
	count := map[int]int{}
	for _, i := range l.turns {
		count[i]++
	}
	for i := range l.takes {
		if n := len(l.turns) / len(l.takes); count[i] < n-1 || count[i] > n+1 {
			t.Errorf("device %d had %d of %d turns", i, count[i], len(l.turns))
		}
	}
}

func TestUrgentGoesFirst(t *testing.T) {
	l := newLine(115200, ms, ms, ms, ms)
	l.until(start.Add(time.Second))
	l.SetUrgent(2, true, l.now)
	l.SetUrgent(0, true, l.now.Add(ms))
	if i := l.turn(); i != 2 {
		t.Errorf("device %d went before the one that has waited longest", i)
	}
	l.SetUrgent(2, false, l.now)
	if i := l.turn(); i != 0 {
		t.Errorf("device %d went before an urgent one", i)
	}
}

// A device whose turn is not over has the next one too.
func TestTurnGoesOn(t *testing.T) {
	l := newLine(115200, ms, ms, ms, ms)
	l.until(start.Add(time.Second))
	i, _ := l.Next(l.now)
	l.Answered(i, l.now, ms, false, true)
	if again := l.turn(); again != i {
		t.Errorf("in the turn of device %d device %d is addressed", i, again)
	}
	if again := l.turn(); again == i {
		t.Error("it had two turns in a row")
	}
}

// Something urgent for a device that does not answer holds the others up for a
// moment only, the shorter the longer the device takes.
func TestUrgentForASilentDevice(t *testing.T) {
	for _, c := range []struct {
		takes time.Duration
		most  int // attempts in a row
	}{{ms, 4}, {150 * ms, 1}} {
		l := newLine(115200, ms, ms, c.takes)
		l.Late(2) // a slow one is found
		l.until(start.Add(20 * time.Second))
		l.takes[2] = 0
		l.SetUrgent(2, true, l.now)
		begin, attempts := l.now, 0
		for l.turn() == 2 {
			attempts++
		}
		if attempts == 0 || attempts > c.most || l.now.Sub(begin) > MaxTimeout+urgentPatience {
			t.Errorf("a device that took %v: %d attempts in a row, %v", c.takes, attempts, l.now.Sub(begin))
		}
	}
}

func TestActiveIsAskedMoreOften(t *testing.T) {
	l := newLine(115200, ms, ms, ms, ms)
	l.until(start.Add(time.Second))
	l.Answered(1, l.now, ms, true, false)
	l.until(l.now.Add(activeAfter))
	l.turns = nil
	l.until(l.now.Add(time.Second))
	count := map[int]int{}
	for _, i := range l.turns {
		count[i]++
	}
	if count[1] < count[0]*5/4 {
		t.Errorf("the active device had %d turns, another %d", count[1], count[0])
	}
}

// Silent devices cost the others at most one wait in a second together, once
// their first misses are over.
func TestSilentDevicesShareTheirWaits(t *testing.T) {
	l := newLine(115200, ms, 0, ms, 0, ms, 0)
	l.until(start.Add(2 * time.Second))
	clear(l.waits)
	from := l.now
	l.until(from.Add(30 * time.Second))
	if waits := l.waits[1] + l.waits[3] + l.waits[5]; waits > 31 {
		t.Errorf("%d waits for silent devices in 30 s", waits)
	}
	if l.Online(1, l.now) || !l.Online(0, l.now) {
		t.Error("who is online is wrong")
	}
}

func TestOfflineIsReportedOnceAndProbedRarely(t *testing.T) {
	l := newLine(115200, ms, ms)
	l.until(start.Add(time.Second))
	l.takes[1] = 0
	silent := l.now
	reports := 0
	var probes []time.Duration
	for l.now.Before(silent.Add(5 * time.Minute)) {
		i, wake := l.Next(l.now)
		if i < 0 {
			l.now = wake
			continue
		}
		if i == 0 {
			l.now = l.now.Add(5 * ms)
			l.Answered(0, l.now, ms, false, false)
			continue
		}
		l.now = l.now.Add(l.Timeout(1))
		if l.Missed(1, l.now, false) {
			reports++
			if since := l.now.Sub(silent); since < OfflineAfter || since > OfflineAfter+2*time.Second {
				t.Errorf("offline after %v", since)
			}
		}
		probes = append(probes, l.now.Sub(silent))
	}
	if reports != 1 {
		t.Errorf("reported offline %d times", reports)
	}
	for i := 1; i < len(probes); i++ {
		if pause := probes[i] - probes[i-1]; pause > 31*time.Second {
			t.Errorf("no probe for %v", pause)
		}
	}
	if late := probes[len(probes)-1] - probes[len(probes)-2]; late < 29*time.Second {
		t.Errorf("after minutes it is still probed every %v", late)
	}
	// One answer and it is back among the others.
	l.Answered(1, l.now, ms, false, false)
	l.takes[1] = ms
	l.turns = nil
	l.until(l.now.Add(100 * ms))
	if !l.Online(1, l.now) || len(l.turns) < 4 {
		t.Error("a device that answers again is not served at once")
	}
}

// A device that has never answered is asked also after the line was opened anew.
func TestUnknownDeviceAfterReset(t *testing.T) {
	l := newLine(115200, 3*ms, 0)
	l.until(start.Add(time.Minute))
	l.Reset()
	l.takes[1] = 3 * ms
	l.until(l.now.Add(time.Second))
	if !l.Online(1, l.now) {
		t.Error("it is never asked")
	}
}

func TestTimeoutFollowsTheDevice(t *testing.T) {
	b := New(1, 9600, start)
	if b.Timeout(0) != shortProbe {
		t.Error("an unknown device costs the others more than a short probe")
	}
	b.Missed(0, start, false)
	b.Stray(start.Add(time.Second))
	if b.Timeout(0) != shortProbe {
		t.Error("what was heard long after a probe is taken for the answer to it")
	}
	strayTwice := func() {
		b.Stray(start.Add(100 * ms))
		if b.Timeout(0) == MaxTimeout {
			t.Error("noise once, and a silent device is given the whole allowance")
		}
		b.Missed(0, start, false)
		b.Stray(start.Add(100 * ms))
	}
	for _, heard := range []func(){strayTwice, func() { b.Late(0) }} {
		heard()
		if b.Timeout(0) != MaxTimeout {
			t.Error("a device that may have answered late is not given the whole allowance")
		}
		b.Missed(0, start, false)
		if b.Timeout(0) != shortProbe {
			t.Error("it did not answer, and is given the whole allowance again")
		}
	}
	for range 10 {
		b.Answered(0, start, 3*ms, false, false)
	}
	quick := b.Timeout(0)
	if quick <= 3*ms || quick > 20*ms {
		t.Errorf("a device that takes 3 ms is given %v", quick)
	}
	b.Answered(0, start, 60*ms, false, false)
	if slow := b.Timeout(0); slow < 60*ms {
		t.Errorf("a device that took 60 ms just now is given %v", slow)
	}
	for range window {
		b.Answered(0, start, 3*ms, false, false)
	}
	if again := b.Timeout(0); again != quick {
		t.Errorf("one slow answer long ago still counts: %v", again)
	}
	b.Missed(0, start, false)
	if b.Timeout(0) != 2*quick {
		t.Errorf("after a miss it is given %v, not twice as long", b.Timeout(0))
	}
	// It may take longer for some questions, or from now on.
	for _, heard := range []func(){strayTwice, func() { b.Late(0) }} {
		heard()
		if b.Timeout(0) != MaxTimeout {
			t.Error("a device that answered late, and used to be quick, is not given the whole allowance")
		}
		b.Missed(0, start, false)
	}
	// It may have been replaced by a slower one.
	slower := false
	for i := range 2 * fullProbeEvery {
		b.Missed(0, start.Add(forgetAfter+time.Duration(i)*time.Minute), false)
		slower = slower || b.Timeout(0) == MaxTimeout
	}
	if !slower {
		t.Error("a device that has been silent for minutes is never given the whole allowance")
	}
	for range 2 * window {
		b.Answered(0, start, time.Second, false, false)
	}
	if b.Timeout(0) != MaxTimeout {
		t.Error("the timeout exceeds the standard's")
	}
}

func TestUnknownDeviceIsProbedBriefly(t *testing.T) {
	b := New(1, 115200, start)
	var full, short int
	for range 10 * fullProbeEvery {
		switch b.Timeout(0) {
		case MaxTimeout:
			full++
		case shortProbe:
			short++
		}
		b.Missed(0, start, false)
	}
	if full != 10 || short != 10*(fullProbeEvery-1) {
		t.Errorf("%d full probes, %d short ones", full, short)
	}
}

// Devices that are not there cost the others at the start no more than a short
// probe each, and then one wait a second together.
func TestAbsentDevicesAtTheStart(t *testing.T) {
	takes := make([]time.Duration, 32)
	takes[31] = ms
	l := newLine(115200, takes...)
	var first time.Time
	for first.IsZero() {
		if l.turn() == 31 {
			first = l.now
		}
	}
	if wait := first.Sub(start); wait > 32*(shortProbe+3*ms) {
		t.Errorf("the one that is there was first asked after %v", wait)
	}
	waits := 0
	for _, n := range l.waits {
		waits += n
	}
	l.until(first.Add(10 * time.Second))
	for _, n := range l.waits {
		waits -= n
	}
	if -waits > 11 {
		t.Errorf("%d waits for absent devices in ten seconds", -waits)
	}
}

// One that was just lost is found again before those that never were there.
func TestLostGoesBeforeGone(t *testing.T) {
	l := newLine(115200, ms, ms, 0, 0, 0, 0)
	l.until(start.Add(20 * time.Second))
	for range patience {
		l.Missed(1, l.now, false)
		l.now = l.now.Add(10 * ms)
	}
	lost := l.now
	l.turns = nil
	for len(l.turns) == 0 || l.turns[len(l.turns)-1] != 1 {
		l.turn()
	}
	if wait := l.now.Sub(lost); wait > stallEvery+100*ms {
		t.Errorf("it was asked after %v", wait)
	}
	for _, i := range l.turns[:len(l.turns)-1] {
		if i > 1 {
			t.Errorf("device %d, which never was there, was asked first", i)
		}
	}
}

// Damaged answers are no silence for a good while.
func TestDamagedIsNotSilent(t *testing.T) {
	b := New(2, 115200, start)
	now := start
	for range window {
		b.Answered(0, now, ms, false, false)
		b.Answered(1, now, ms, false, false)
	}
	for n := 1; n < patienceDamaged; n++ {
		now = now.Add(10 * ms)
		b.Missed(1, now, true)
		b.Answered(0, now.Add(ms), ms, false, false)
		if i, _ := b.Next(now.Add(2 * ms)); i != 1 {
			t.Fatalf("after %d damaged answers it does not have its turn", n)
		}
	}
	b.Missed(1, now, true)
	if i, _ := b.Next(now.Add(2 * ms)); i == 1 {
		t.Error("damaged answers go on and on, and it costs the other one every turn")
	}
}

// A slow device does not make the others wait for it in every round.
func TestSlowDeviceIsAskedLessOften(t *testing.T) {
	l := newLine(115200, ms, ms, ms, 150*ms)
	l.until(start.Add(20 * time.Second))
	count := map[int]int{}
	for _, i := range l.turns[len(l.turns)/2:] {
		count[i]++
	}
	if count[3] == 0 || count[0] < 4*count[3] {
		t.Errorf("a quick device has %d turns, the slow one %d", count[0], count[3])
	}
}

func BenchmarkNext(b *testing.B) {
	bus := New(32, 115200, start)
	now := start
	b.ReportAllocs()
	for b.Loop() {
		i, _ := bus.Next(now)
		now = now.Add(5 * ms)
		bus.Answered(i, now, ms, false, false)
	}
}
