package drivers

import (
	"fmt"
	"sync/atomic"
	"time"
)

// Gate is one reader on a line.
type Gate struct {
	// Name is unique in the station and stands in metrics and logs.
	Name string
	// Address is the gate's address on its line.
	Address uint8

	heard atomic.Int64 // Unix nanoseconds of the last good frame, 0 = never
}

// MarkHeard notes that a good frame of the gate arrived.
func (g *Gate) MarkHeard(now time.Time) { g.heard.Store(now.UnixNano()) }

// Heard returns when a good frame last arrived; the zero Time if never.
func (g *Gate) Heard() time.Time {
	if n := g.heard.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

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
