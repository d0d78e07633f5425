package replication

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"gateline/gateway"
)

// memory is a Store that refuses whatever does not continue it.
type memory struct {
	mu       sync.Mutex
	position gateway.Position
	records  map[gateway.Token]gateway.Record
	schedule *gateway.Schedule
	terms    []gateway.KeyTerm
	complete uint64 // number of the update that carried Complete
	marks    []gateway.ShardMark
	erased   gateway.Erasure
	erasures int
	loads    int // of shards
	onLoad   func(gateway.Load)
	faults   []string
	failing  error
	half     bool // of several updates it takes the first half, although it fails
	failed   int
	before   []gateway.ShardMark // of the load that is under way
	largest  int                 // number of updates given at once
}

func newMemory() *memory {
	return &memory{records: map[gateway.Token]gateway.Record{}, marks: make([]gateway.ShardMark, gateway.Shards)}
}

func (s *memory) Position() gateway.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.position
}

func (s *memory) Usable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.complete != 0
}

func (s *memory) Keys() []gateway.KeyTerm {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.terms
}

func (s *memory) ApplyAll(updates []gateway.Update) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, u := range updates {
		if s.failing != nil && (!s.half || len(updates) > 1 && i >= len(updates)/2) {
			s.failed++
			return s.failing
		}
		s.apply(u)
	}
	s.largest = max(s.largest, len(updates))
	return nil
}

// apply needs mu.
func (s *memory) apply(u gateway.Update) {
	if u.To.Number != s.position.Number+1 || s.position.Epoch != 0 && u.To.Epoch != s.position.Epoch {
		s.faults = append(s.faults, fmt.Sprintf("entry %d applied at %d", u.To.Number, s.position.Number))
	}
	if u.Complete && s.complete != 0 {
		s.faults = append(s.faults, fmt.Sprintf("complete twice, at %d and %d", s.complete, u.To.Number))
	}
	if u.Complete {
		s.complete = u.To.Number
	}
	if u.To.Number == 1 && s.position == (gateway.Position{}) {
		for i := range s.marks {
			s.marks[i].Epoch = u.To.Epoch
		}
	}
	if u.Purge {
		s.erased.Ordered, s.erased.Epoch, s.erased.Number = u.Ordered, u.To.Epoch, u.To.Number
		clear(s.records)
		for i, m := range s.marks {
			s.marks[i] = gateway.ShardMark{}
			if s.erased.Sunset.IsZero() && (m.Epoch != u.To.Epoch || m.Number <= u.To.Number) {
				s.marks[i] = gateway.ShardMark{Epoch: u.To.Epoch, Number: u.To.Number}
			}
		}
	}
	for _, c := range u.Changes {
		mark := s.marks[gateway.ShardOf(c.Token)]
		if !mark.Loaded() || mark.Epoch == u.To.Epoch && mark.Number >= u.To.Number {
			continue
		}
		if c.Delete {
			delete(s.records, c.Token)
		} else {
			s.records[c.Token] = c.Record
		}
	}
	if u.Schedule != nil {
		s.schedule = u.Schedule
	}
	if u.Keys != nil {
		s.terms = u.Keys
	}
	s.position = u.To
}

func (s *memory) Marks() []gateway.ShardMark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.marks)
}

// Load refuses what gateway.Load does not allow, as a fault of the test.
func (s *memory) Load(l gateway.Load) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil {
		s.failed++
		return s.failing
	}
	if s.onLoad != nil {
		s.onLoad(l)
	}
	s.before = slices.Clone(s.marks)
	if !s.erased.Sunset.IsZero() && len(l.Shards) > 0 {
		s.faults = append(s.faults, "shards loaded into a store that rests")
	}
	for i, shard := range l.Shards {
		if i > 0 && shard.ID <= l.Shards[i-1].ID {
			s.faults = append(s.faults, "shards out of order")
		}
		maps.DeleteFunc(s.records, func(t gateway.Token, _ gateway.Record) bool { return gateway.ShardOf(t) == shard.ID })
		for _, c := range shard.Records {
			s.records[c.Token] = c.Record
		}
		s.marks[shard.ID] = gateway.ShardMark{Epoch: shard.At.Epoch, Number: shard.At.Number}
		s.loads++
	}
	if l.To != nil {
		s.moveTo(*l.To)
	}
	if l.Schedule != nil {
		s.schedule = l.Schedule
	}
	if l.Keys != nil {
		s.terms = l.Keys
	}
	return nil
}

// moveTo needs mu.
func (s *memory) moveTo(to gateway.Position) {
	at, held := s.position, slices.ContainsFunc(s.before, gateway.ShardMark.Loaded)
	for i := range s.marks {
		m := &s.marks[i]
		reached := m.Number
		if m.Epoch == at.Epoch {
			reached = max(reached, at.Number)
		}
		if m.Loaded() && m.Epoch == at.Epoch && to.Epoch == at.Epoch && to.Number < at.Number {
			m.Number = reached
		}
		if m.Loaded() && (m.Epoch != to.Epoch || reached < to.Number) || !m.Loaded() && held && at.Epoch != 0 && to.Epoch != at.Epoch {
			s.faults = append(s.faults, fmt.Sprintf("moved to entry %d with shard %d at %+v", to.Number, i, *m))
			break
		}
	}
	s.position = to
}

func (s *memory) Sum(id gateway.ShardID) (gateway.ShardSum, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return sumOf(&gateway.Shard{ID: id, Records: shardOf(s.records, id)}), nil
}

// shardOf returns the records of a shard as gateway.Shard wants them.
func shardOf(records map[gateway.Token]gateway.Record, id gateway.ShardID) (shard []gateway.Change) {
	for t, r := range records {
		if gateway.ShardOf(t) == id {
			shard = append(shard, gateway.Change{Token: t, Record: r})
		}
	}
	slices.SortFunc(shard, byToken)
	return shard
}

func (s *memory) Erase(e gateway.Erasure) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil {
		s.failed++
		return s.failing
	}
	clear(s.records)
	clear(s.marks)
	s.erasures++
	if e.Ordered != 0 {
		e.Sunset, s.erased = s.erased.Sunset, e
	} else {
		s.erased.Sunset = e.Sunset
	}
	return nil
}

func (s *memory) Wake() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erased.Sunset = time.Time{}
	return nil
}

func (s *memory) Erased() gateway.Erasure {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.erased
}

func (s *memory) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing, s.half = err, false
}

// failHalf has the store fail at the second half of what it is given.
func (s *memory) failHalf() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.half = true
}

func (s *memory) at() uint64 { return s.Position().Number }

func (s *memory) check(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fault := range s.faults {
		t.Error(fault)
	}
}
