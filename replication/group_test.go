package replication

import (
	"testing"

	"gateline/gateway"
)

// A group is full before it takes two transactions, and not long before.
func TestGroupFitsOneTransaction(t *testing.T) {
	for _, size := range []int{0, 1, 500, gateway.MaxChanges} {
		var g group
		for !g.full() {
			g.add(gateway.Update{Changes: make([]gateway.Change, size)})
		}
		if g.changes > groupChanges || len(g.updates) > groupEntries {
			t.Errorf("%d entries with %d changes", len(g.updates), g.changes)
		}
		if g.changes+gateway.MaxChanges+size <= groupChanges && len(g.updates) < groupEntries {
			t.Errorf("full with %d entries and %d changes", len(g.updates), g.changes)
		}
	}
}
