package rules

import (
	"cmp"
	"slices"

	"gateline/gateway"
)

// Shard returns the records of a shard in ascending order of their tokens. It
// looks at no other binding.
func (m *Memory) Shard(id gateway.ShardID) []gateway.Change {
	var records []gateway.Change
	for slot := m.shards[id]; slot != none; slot = m.bindings[slot].shardNext {
		records = append(records, m.record(slot))
	}
	slices.SortFunc(records, func(a, b gateway.Change) int { return cmp.Compare(a.Token, b.Token) })
	return records
}

// record is what a box holds of a binding.
func (m *Memory) record(slot int32) gateway.Change {
	s := &m.bindings[slot]
	record := m.persons[s.person].record
	if s.packed&packedLamp != 0 {
		record.Flags |= gateway.FlagConcession
	}
	return gateway.Change{Token: s.token, Record: record}
}

// enterShard puts a binding at the head of its shard's list.
func (m *Memory) enterShard(slot int32) {
	b := &m.bindings[slot]
	head := &m.shards[gateway.ShardOf(b.token)]
	b.shardNext, b.shardBefore = *head, none
	if b.shardNext != none {
		m.bindings[b.shardNext].shardBefore = slot
	}
	*head = slot
}

// leaveShard takes a binding out of its shard's list.
func (m *Memory) leaveShard(slot int32) {
	b := &m.bindings[slot]
	if b.shardBefore != none {
		m.bindings[b.shardBefore].shardNext = b.shardNext
	} else {
		m.shards[gateway.ShardOf(b.token)] = b.shardNext
	}
	if b.shardNext != none {
		m.bindings[b.shardNext].shardBefore = b.shardBefore
	}
}
