// Package bus decides whom to address next on a line that many devices share
// and on which one party asks and the others answer: whose turn it is, how long
// to wait for him, and when to try one again that is silent. It does no I/O,
// reads no clock and knows no protocol.
//
// A waiting verdict goes before everything. A device that was just active is
// asked more often. Silent devices together cost the others at most one wait in
// a second, however many there are.
package bus

import (
	"math"
	"time"
)

// Bounds of a bus.
const (
	// MaxDevices is how many devices one bus may have.
	MaxDevices = 127
	// MaxTimeout is how long any device may take to answer (OSDP: 200 ms).
	MaxTimeout = 200 * time.Millisecond
	// OfflineAfter is how long a device may be silent before it counts as
	// offline (OSDP: 8 s).
	OfflineAfter = 8 * time.Second

	// minMargin is added to what a device was seen to take, for the scheduling
	// of the machine that hosts us.
	minMargin = 5 * time.Millisecond
	// window is over how many answers the slowest one is remembered.
	window = 64
	// patience is how many turns in a row a device may miss before it counts as
	// silent: noise damages several frames in a row often enough. One whose
	// answers come, and come damaged, is there, and has more.
	patience        = 4
	patienceDamaged = 16
	// urgentPatience is for how long a device that does not answer may hold up
	// the others because something urgent waits for it; then it takes its turn.
	urgentPatience = 50 * time.Millisecond
	// stallEvery spaces the waits for silent devices.
	stallEvery = time.Second
	// probeFirst and probeMost bound the pause before an offline device is
	// tried again; it doubles between them.
	probeFirst = time.Second
	probeMost  = 30 * time.Second
	// A device that has never answered is given shortProbe, five times what
	// readers usually take, and the line goes on without it. Where something is
	// heard then that nobody was asked for, it may be a slow one, and its next
	// probe is given the whole allowance; every so many probes are in any case.
	// After forgetAfter the same holds for one that answered once: it may have
	// been replaced.
	shortProbe     = 15 * time.Millisecond
	fullProbeEvery = 64
	forgetAfter    = 5 * time.Minute
	// A device that had something to say is asked half as often again, a share
	// of 1/activeShare, from activeAfter on, when its next rider can have come, for activeFor.
	// At once it would only take the turns of those who tapped with it.
	activeAfter = 700 * time.Millisecond
	activeFor   = 2 * time.Second
	activeShare = 2
	// longAgo is the most that a device counts as having waited for its turn;
	// since Reset it has waited for ever.
	longAgo = time.Hour
	// turnBytes is what a turn without anything to say has on the line, both ways.
	turnBytes = 30
	// smoothing is over how many answers a mean turnaround is taken.
	smoothing = 8
)

// Bus is the schedule of one line. One goroutine uses it.
type Bus struct {
	char    time.Duration
	devices []device
	// lastStall is when a silent device was last waited for.
	lastStall time.Time
	stalled   bool // lastStall counts
}

// device is what the schedule knows of one device.
type device struct {
	asked   time.Time // end of its last turn
	started time.Time // of the present silence: last good answer, or the start; zero after Reset
	active  time.Time // it last had something to say
	urgent  bool
	since   time.Time // urgent since

	held  bool
	until time.Time // held until

	late    bool // it answered after its time
	stray   bool // something was heard since its last wait that came to nothing
	strays  int  // such waits in a row, all but the last, behind which something was heard
	misses  int  // waits in a row that came to nothing
	damaged int  // of those, waits for an answer that was damaged
	offline bool
	pause   time.Duration // before the next probe
	notYet  time.Time     // no probe before

	// mean is the turnaround, smoothed. weight follows from it: a device that
	// takes long is asked less often, or the others would wait for it in every
	// round.
	mean   time.Duration
	weight float64

	took [window]time.Duration // turnarounds, newest at next-1
	next int
	n    int
}

// New returns the schedule of n devices on a line of this speed; all count as
// silent until they answer, and have never been asked.
func New(n, baud int, now time.Time) *Bus {
	b := &Bus{char: 10 * time.Second / time.Duration(baud), devices: make([]device, n)}
	for i := range b.devices {
		b.devices[i].started = now
		b.devices[i].asked = now.Add(-longAgo)
		b.devices[i].weight = 1
	}
	return b
}

// Reset forgets who was silent, because the line was opened anew: everybody is
// asked at once. How long each takes is remembered.
func (b *Bus) Reset() {
	b.lastStall, b.stalled = time.Time{}, false
	for i := range b.devices {
		d := &b.devices[i]
		d.asked, d.started, d.notYet = time.Time{}, time.Time{}, time.Time{}
		d.misses, d.damaged, d.offline, d.pause, d.urgent = 0, 0, false, 0, false
	}
}

// Wire returns how long n bytes take on the line.
func (b *Bus) Wire(n int) time.Duration { return time.Duration(n) * b.char }

// Gap is how long the line stays idle between two senders: two characters.
func (b *Bus) Gap() time.Duration { return 2 * b.char }

// SetUrgent says whether something waits for device i that may not wait.
func (b *Bus) SetUrgent(i int, urgent bool, now time.Time) {
	d := &b.devices[i]
	if urgent && !d.urgent {
		d.since = now
	}
	d.urgent = urgent
}

// Hold says whether device i is not to be asked before an instant, because it
// said that it is busy or because it is not worth the line's time.
func (b *Bus) Hold(i int, until time.Time, held bool) {
	b.devices[i].held, b.devices[i].until = held, until
}

// Next returns whose turn it is now, or -1 and when to ask again. Of the silent
// ones, who share what time there is for them, one that was just lost goes
// before those that have been gone for long.
func (b *Bus) Next(now time.Time) (i int, wake time.Time) {
	urgent, here, gone := turn{i: -1}, turn{i: -1}, turn{i: -1}
	lost := false
	wake = now.Add(probeMost)
	for i := range b.devices {
		d := &b.devices[i]
		if at := b.allowed(d); at.After(now) {
			if at.Before(wake) {
				wake = at
			}
			continue
		}
		if d.urgent && (d.misses == 0 || time.Duration(d.misses)*b.Timeout(i) <= urgentPatience) {
			urgent.offer(i, now.Sub(d.since))
		}
		wait := time.Duration(float64(min(now.Sub(d.asked), longAgo)) * d.weight)
		if since := now.Sub(d.active); since >= activeAfter && since < activeAfter+activeFor {
			wait += wait / activeShare
		}
		if d.offline {
			gone.offer(i, wait)
			continue
		}
		here.offer(i, wait)
		lost = lost || d.silent()
	}
	switch {
	case urgent.i >= 0:
		return urgent.i, now
	case gone.i >= 0 && !lost && (here.i < 0 || gone.wait > here.wait):
		return gone.i, now
	}
	return here.i, wake
}

// turn is who has waited longest.
type turn struct {
	i    int
	wait time.Duration
}

func (t *turn) offer(i int, wait time.Duration) {
	if t.i < 0 || wait > t.wait {
		t.i, t.wait = i, wait
	}
}

// allowed returns from when a device may be asked. One that missed a turn or
// two is asked again in its next one, for frames may just have been damaged;
// one that goes on missing shares the waits of all silent ones.
func (b *Bus) allowed(d *device) time.Time {
	at := d.asked
	if d.held && d.until.After(at) {
		at = d.until
	}
	if !d.silent() {
		return at
	}
	if d.notYet.After(at) {
		at = d.notYet
	}
	if stall := b.lastStall.Add(stallEvery); b.stalled && stall.After(at) {
		at = stall
	}
	return at
}

// silent reports whether a device shares the waits of all silent ones. One that
// has never answered has no turn that noise could have cost it.
func (d *device) silent() bool {
	return d.misses-d.damaged >= patience || d.misses >= patienceDamaged || d.n == 0 && d.misses > 0
}

// Timeout returns how long after the last byte of a question the first byte of
// the answer may take to come: what the device took at most in its last answers
// and half as much again, and a margin; twice that once it has missed a turn.
// One that has never answered is given much less than the whole allowance, so
// that it costs the others little. One that may have answered after its time is
// given all of it: it may be slow, or slow with what it was asked.
func (b *Bus) Timeout(i int) time.Duration {
	d := &b.devices[i]
	switch {
	case d.late, d.stray && d.strays > 0, d.n == 0 && d.misses%fullProbeEvery == fullProbeEvery-1:
		return MaxTimeout
	case d.n == 0:
		return shortProbe
	}
	var most time.Duration
	for _, t := range d.took[:d.n] {
		most = max(most, t)
	}
	limit := most*3/2 + minMargin + b.Gap()
	if d.misses > 0 {
		limit *= 2
	}
	return min(limit, MaxTimeout)
}

// Late notes that device i answered when its time was over.
func (b *Bus) Late(i int) { b.devices[i].late = true }

// Stray notes that something was heard that is nobody's answer. It may be that of
// a silent device which was not waited for long enough; twice in a row, it is
// waited for in full.
func (b *Bus) Stray(now time.Time) {
	for i := range b.devices {
		if d := &b.devices[i]; d.misses > d.damaged && now.Sub(d.asked) < MaxTimeout {
			d.stray = true
		}
	}
}

// Answered notes a good answer of device i. took is the time from the last
// byte of the question to the first of the answer; event says that the device
// had something to say, more that its turn is not over, because it is to be told
// something.
func (b *Bus) Answered(i int, now time.Time, took time.Duration, event, more bool) {
	d := &b.devices[i]
	d.started = now
	if !more {
		d.asked = now
	}
	d.misses, d.damaged, d.late, d.stray, d.strays, d.offline, d.pause = 0, 0, false, false, 0, false, 0
	if event {
		d.active = now
	}
	d.took[d.next] = max(took, 0)
	d.next = (d.next + 1) % window
	d.n = min(d.n+1, window)
	d.mean += (max(took, 0) - d.mean) / smoothing
	// Where turns cost differently, the mean wait of all is least if each comes
	// in inverse proportion to the root of its cost.
	wire := b.Wire(turnBytes)
	d.weight = math.Sqrt(float64(wire) / float64(wire+d.mean))
}

// Missed notes that device i did not answer in time, or that its answer was
// damaged. It reports whether the device is offline from now on, true once for
// each silence.
func (b *Bus) Missed(i int, now time.Time, damaged bool) (offline bool) {
	d := &b.devices[i]
	if d.strays++; !d.stray || d.strays > 1 { // above 1, it was waited for in full
		d.strays = 0
	}
	d.asked, d.late, d.stray = now, false, false
	if d.started.IsZero() {
		d.started = now // the first time since Reset
	}
	d.misses++
	if damaged {
		d.damaged++
	}
	if d.silent() {
		b.lastStall, b.stalled = now, true
	}
	if now.Sub(d.started) < OfflineAfter {
		return false
	}
	if now.Sub(d.started) >= forgetAfter {
		d.n = 0
	}
	first := !d.offline
	d.offline = true
	d.pause = min(max(2*d.pause, probeFirst), probeMost)
	d.notYet = now.Add(d.pause)
	return first
}

// Online reports whether device i has answered within OfflineAfter.
func (b *Bus) Online(i int, now time.Time) bool {
	d := &b.devices[i]
	return !d.offline && d.n > 0 && now.Sub(d.started) < OfflineAfter
}
