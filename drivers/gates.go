package drivers

import (
	"fmt"
	"sync/atomic"
	"time"
)

// GateState says how far the box is with a gate. The zero GateState is silent.
type GateState uint32

const (
	// GateSilent: the gate has never been heard, or not for SilentAfter.
	GateSilent GateState = 0
	// GateStarting: it answers and is being set up; a tap there has to wait.
	GateStarting GateState = 1
	// GateServing: taps are answered.
	GateServing GateState = 2
	// GateRefused: it answers, and the box does not serve it, because it does
	// not prove the key that it has to have.
	GateRefused GateState = 3
)

// String returns the state's name.
func (s GateState) String() string {
	switch s {
	case GateStarting:
		return "starting"
	case GateServing:
		return "serving"
	case GateRefused:
		return "refused"
	}
	return "silent"
}

const (
	// SilentAfter is how long a gate may send no good frame before it is silent.
	SilentAfter = 3 * time.Second
	// RefusedSilentAfter is the same for a gate that is refused, which is asked
	// only now and then.
	RefusedSilentAfter = 15 * time.Second
)

// Trouble is a set of things that somebody ought to see to at a gate.
type Trouble uint32

const (
	// TroubleDuplicate: its answers are damaged again and again while those of
	// the others are not, or come twice: two readers may have its address.
	TroubleDuplicate Trouble = 1 << iota
	// TroubleTamper: its case is open.
	TroubleTamper
	// TroublePower: it reports trouble with its power.
	TroublePower
	// TroubleKey: it does not prove its key.
	TroubleKey
)

var troubleNames = [...]string{"duplicate_address", "tamper", "power", "key"}

// Names returns the names of all troubles of the set.
func (t Trouble) Names() (names []string) {
	for i, name := range troubleNames {
		if t&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// TroubleNames returns the name of every trouble that there is.
func TroubleNames() []string { return troubleNames[:] }

// Gate is one reader on a line. The line's goroutine writes, anybody reads.
type Gate struct {
	// Name is unique in the station and stands in metrics and logs.
	Name string
	// Address is the gate's address on its line.
	Address uint8

	Counters GateCounters

	heard     atomic.Int64 // Unix nanoseconds of the last good frame, 0 = never
	state     atomic.Uint32
	trouble   atomic.Uint32
	roundTrip atomic.Int64 // nanoseconds, smoothed
}

// GateCounters count what happens with one gate.
type GateCounters struct {
	Taps     atomic.Uint64 // questions answered afresh
	Asked    atomic.Uint64 // times it was asked; only where the box asks
	Missed   atomic.Uint64 // times it did not answer in time
	Damaged  atomic.Uint64 // answers that were damaged
	Refusals atomic.Uint64 // commands that it refused
	Stale    atomic.Uint64 // reads from before it was heard again, which nobody may act on
}

// MarkHeard notes that a good frame of the gate arrived and how far the box is
// with it.
func (g *Gate) MarkHeard(now time.Time, state GateState) {
	g.heard.Store(now.UnixNano())
	g.state.Store(uint32(state))
}

// Heard returns when a good frame last arrived; the zero Time if never.
func (g *Gate) Heard() time.Time {
	if n := g.heard.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

// State returns how far the box is with the gate at now.
func (g *Gate) State(now time.Time) GateState {
	state, limit := GateState(g.state.Load()), SilentAfter
	if state == GateRefused {
		limit = RefusedSilentAfter
	}
	if heard := g.Heard(); heard.IsZero() || now.Sub(heard) > limit {
		return GateSilent
	}
	return state
}

// SetTrouble says whether the gate has a trouble.
func (g *Gate) SetTrouble(t Trouble, has bool) {
	if has {
		g.trouble.Or(uint32(t))
	} else {
		g.trouble.And(^uint32(t))
	}
}

// Trouble returns what somebody ought to see to at the gate.
func (g *Gate) Trouble() Trouble { return Trouble(g.trouble.Load()) }

// NoteRoundTrip notes how long the gate took from the first byte of a question
// to the last of its answer. RoundTrip is a running mean over some 16 of them.
func (g *Gate) NoteRoundTrip(d time.Duration) {
	if old := g.roundTrip.Load(); old != 0 {
		d = time.Duration(old + (int64(d)-old)/16)
	}
	g.roundTrip.Store(int64(max(d, 1)))
}

// RoundTrip returns what NoteRoundTrip was told, smoothed; 0 = nothing yet, or
// a protocol in which the box does not ask.
func (g *Gate) RoundTrip() time.Duration { return time.Duration(g.roundTrip.Load()) }

// GateTable is the gates of one line by address. It does not change once it is
// in use.
type GateTable struct {
	gates     []*Gate
	byAddress [256]*Gate
}

// NewGateTable returns a table of the gates, or an error that names an address
// used twice.
func NewGateTable(gates ...*Gate) (*GateTable, error) {
	t := &GateTable{gates: gates}
	for _, g := range gates {
		if other := t.byAddress[g.Address]; other != nil {
			return nil, fmt.Errorf("gates %q and %q have the same address %d on one line", other.Name, g.Name, g.Address)
		}
		t.byAddress[g.Address] = g
	}
	return t, nil
}

// At returns the gate with this address, nil if there is none.
func (t *GateTable) At(address uint8) *Gate { return t.byAddress[address] }

// All returns the gates in the order of the configuration. The caller does not
// change the slice.
func (t *GateTable) All() []*Gate { return t.gates }
