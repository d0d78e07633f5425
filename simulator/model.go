package simulator

import (
	"sync"
	"time"

	"gateline/gateway"
)

// model knows what every answer had to be. It restates the decision in the
// simplest way that is right for what the simulator does, with calendar dates
// and no table, and takes nothing of the box but the position and the answers.
//
// A change counts from the feed entry that carries it. A tap was answered
// somewhere between the box's position before it was sent and after its answer
// came; any state of the world in that span makes a right answer, no other.
type model struct {
	city city

	mu       sync.Mutex // guards what follows
	bound    []bool     // by credential, at the start
	health   []status   // by person, at the start
	binds    map[int][]dated[bool]
	reports  map[int][]dated[status]
	policies []dated[policyFacts]
}

// dated is a value with the feed entry from which it counts.
type dated[T any] struct {
	number uint64
	value  T
}

// policyFacts is what the simulator's policies differ in.
type policyFacts struct {
	effective time.Time
	window    int
	fresh     time.Duration
	stale     time.Duration
}

// outcome is what a gate was told.
type outcome struct {
	verdict gateway.Verdict
	reason  gateway.Reason
	open    bool
}

// tapRecord is one tap with all that is needed to judge its answer.
type tapRecord struct {
	credential int // index; noCredential = the gate could not read it
	purpose    gateway.Purpose
	answered   bool
	abandoned  bool // the gate lost its power meanwhile
	got        outcome
	sent       time.Time // last byte of the question
	received   time.Time // last byte of the answer
	before     gateway.Position
	after      gateway.Position
	tries      int
	lineBytes  int // of the answer
	// blind says that the gate shows no reason: a reader does not.
	blind bool
	// loading says that the box was loading shards meanwhile, centre which entry
	// was the feed's last when the answer had come.
	loading bool
	centre  uint64
}

const noCredential = -1

func newModel(c city) *model {
	return &model{city: c, bound: make([]bool, c.credentials), health: make([]status, c.persons),
		binds: make(map[int][]dated[bool]), reports: make(map[int][]dated[status])}
}

// load sets a credential's and its owner's state before the first tap.
func (m *model) load(credential int, s status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	person, _ := owner(credential)
	m.bound[credential], m.health[person] = true, s
}

func (m *model) setBound(number uint64, credential int, bound bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.binds[credential] = append(m.binds[credential], dated[bool]{number, bound})
}

func (m *model) setStatus(number uint64, person int, s status) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reports[person] = append(m.reports[person], dated[status]{number, s})
}

func (m *model) setPolicy(number uint64, p policyFacts) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.policies = append(m.policies, dated[policyFacts]{number, p})
}

// at returns the last value that counts at number, else the first one.
func at[T any](history []dated[T], first T, number uint64) T {
	for _, h := range history {
		if h.number <= number {
			first = h.value
		}
	}
	return first
}

// right reports whether the answer to a tap was one the world allowed.
func (m *model) right(t tapRecord) bool {
	if !t.answered || t.got.open != (t.got.verdict == gateway.VerdictPass) {
		return false
	}
	_, ok := m.explain(t)
	return ok
}

// explain returns the right answer that a tap got, with its reason also where
// the gate shows none.
func (m *model) explain(t tapRecord) (outcome, bool) {
	for _, o := range m.allowed(t) {
		if o == t.got || t.blind && o.verdict == t.got.verdict && o.open == t.got.open {
			return o, true
		}
	}
	return t.got, false
}

// allowed returns every right answer to a tap. A shard that is being loaded may
// be as new as the feed, however far the box has followed that; one that is not
// loaded yet says R24.
func (m *model) allowed(t tapRecord) []outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	var unknown []outcome
	if t.loading && t.credential != noCredential && t.purpose == gateway.PurposeEntry {
		unknown = append(unknown, outcome{gateway.VerdictManual, gateway.R24, false})
	}
	if t.loading {
		// A position that does not say how old the data are is none yet.
		if t.before.Number == 0 {
			t.before = t.after
		}
		t.before.Number, t.after.Number = min(t.before.Number, t.after.Number), max(t.after.Number, t.centre)
	}
	numbers := []uint64{t.before.Number}
	if t.credential >= 0 && t.credential < m.city.credentials {
		person, _ := owner(t.credential)
		numbers = between(numbers, m.binds[t.credential], t)
		numbers = between(numbers, m.reports[person], t)
	}
	numbers = between(numbers, m.policies, t)
	all := unknown
	for _, number := range numbers {
		for _, now := range []time.Time{t.sent, t.received} {
			for _, age := range []time.Duration{t.sent.Sub(t.after.Time()), t.received.Sub(t.before.Time())} {
				all = append(all, m.answer(t, number, now, age))
			}
		}
	}
	return all
}

// boundThroughout reports whether a tap's credential was bound at every place
// that the box may have answered from.
func (m *model) boundThroughout(t tapRecord) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t.credential < 0 || t.credential >= m.city.credentials {
		return false
	}
	bound := m.bound[t.credential]
	for _, h := range m.binds[t.credential] {
		bound = bound && h.value
	}
	return bound
}

// between adds the entries that the box may have applied during the tap.
func between[T any](numbers []uint64, history []dated[T], t tapRecord) []uint64 {
	for _, h := range history {
		if h.number > t.before.Number && h.number <= t.after.Number {
			numbers = append(numbers, h.number)
		}
	}
	return numbers
}

// answer says what a box that has applied everything up to number, and whose
// watermark is age old, had to say at now.
func (m *model) answer(t tapRecord, number uint64, now time.Time, age time.Duration) outcome {
	passes := func(r gateway.Reason) outcome { return outcome{gateway.VerdictPass, r, true} }
	refuses := func(r gateway.Reason) outcome { return outcome{gateway.VerdictRefuse, r, false} }
	staff := func(r gateway.Reason) outcome { return outcome{gateway.VerdictManual, r, false} }

	if t.purpose == gateway.PurposeExit || t.purpose == gateway.PurposeTopUp {
		return passes(gateway.R02) // exits are free, and no run has a top-up rule
	}
	if t.credential == noCredential {
		return staff(gateway.R25)
	}
	policy, ok := m.policyAt(number, now)
	if !ok {
		return staff(gateway.R24)
	}
	if t.credential >= m.city.credentials {
		return staff(gateway.R20)
	}
	person, _ := owner(t.credential)
	if !at(m.binds[t.credential], m.bound[t.credential], number) {
		return staff(gateway.R20)
	}
	s := at(m.reports[person], m.health[person], number)
	centreHeard, dataAlive := age <= policy.fresh, age <= policy.stale
	if s.class == gateway.ClassRed {
		return refuses(gateway.R13)
	}
	if s.class == gateway.ClassPopup || s.class == gateway.ClassYellow {
		if !centreHeard {
			return staff(gateway.R22)
		}
		if s.class == gateway.ClassPopup {
			return refuses(gateway.R11)
		}
		return refuses(gateway.R12)
	}
	if s.anchor == 0 {
		return staff(gateway.R21)
	}
	tested := civil(s.anchor.Start())
	today := civil(now)
	if tested.After(today) {
		return staff(gateway.R23)
	}
	good := !today.After(tested.AddDate(0, 0, policy.window)) || s.hold != 0 && !today.After(civil(s.hold.Start()))
	switch {
	case good && centreHeard:
		return passes(gateway.R00)
	case good && dataAlive:
		return passes(gateway.R01)
	case !good && centreHeard:
		return refuses(gateway.R10)
	}
	return staff(gateway.R22)
}

// civil is the date of an instant in Asia/Shanghai.
func civil(t time.Time) time.Time {
	y, month, d := t.In(gateway.Zone).Date()
	return time.Date(y, month, d, 0, 0, 0, 0, time.UTC)
}

// policyAt returns the document in force for a box at number.
func (m *model) policyAt(number uint64, now time.Time) (best policyFacts, ok bool) {
	for _, p := range m.policies {
		if p.number <= number && !p.value.effective.After(now) && (!ok || !p.value.effective.Before(best.effective)) {
			best, ok = p.value, true
		}
	}
	return best, ok
}
