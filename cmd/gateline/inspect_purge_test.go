package main

import (
	"testing"

	"gateline/gateway"
	"gateline/replication"
)

// What a purge between a snapshot and the box means for their comparison.
func TestComparisonOverPurge(t *testing.T) {
	change := func(id gateway.ShardID) gateway.Change {
		first, _ := id.Range()
		return gateway.Change{Token: first + 1}
	}
	x := &comparison{tail: map[int][]gateway.Change{}, emptied: map[int]bool{}, ahead: map[int]bool{},
		made: map[int]uint64{1: 2, 2: 4, 3: 9, 4: 2}, stands: map[int]uint64{1: 8, 2: 8, 3: 3, 4: 3}}
	entry := func(number uint64, purge bool, ids ...gateway.ShardID) {
		e := &replication.Signed{Entry: replication.Entry{Number: number, Purge: purge}}
		for _, id := range ids {
			e.Changes = append(e.Changes, change(id))
		}
		x.take(e)
	}
	entry(3, false, 1, 2)
	entry(4, true)
	entry(5, false, 1)
	for id, want := range map[int]struct {
		emptied, ahead bool
		tail           int
	}{
		1: {true, false, 1},  // its snapshot is from before, the box from after it
		2: {false, false, 0}, // both are from after it
		3: {false, true, 0},  // the box has not come to it
		4: {false, false, 0}, // neither has
	} {
		if x.emptied[id] != want.emptied || x.ahead[id] != want.ahead || len(x.tail[id]) != want.tail {
			t.Errorf("shard %d: emptied %v, ahead %v, %d changes", id, x.emptied[id], x.ahead[id], len(x.tail[id]))
		}
	}
	if n := x.tail[1][0]; n != change(1) {
		t.Error("the change after it is another")
	}
}
