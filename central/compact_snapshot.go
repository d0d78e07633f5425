package central

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"gateline/central/ledgercopy"
	"gateline/central/rules"
	"gateline/gateway"
)

// sum is over the events of a state, whatever their order: a state that was made of a
// snapshot has its persons in other places.
type sum struct {
	events uint64
	lanes  [4]uint64
}

func (s *sum) add(line []byte) {
	hash := sha256.Sum256(line)
	for i := range s.lanes {
		s.lanes[i] += binary.BigEndian.Uint64(hash[8*i:])
	}
	s.events++
}

// eachBatch hands the lines of the ledger's messages that make a state to fn, at least
// one message, and returns the sum of all. fn may not keep what it is given.
func (s *state) eachBatch(fn func(lines []byte) error) (all sum, err error) {
	var lines []byte
	bindings, messages := 0, 0
	flush := func() error {
		err := fn(lines)
		lines, bindings, messages = lines[:0], 0, messages+1
		return err
	}
	add := func(e *event) (err error) {
		before := len(lines)
		if lines, err = appendEvent(lines, e); err != nil {
			return err
		}
		all.add(lines[before:])
		if _, is := e.registry.(rules.Bound); is {
			bindings++
		}
		if len(lines) < maxBatchBytes && bindings < gateway.MaxChanges && e.erased == 0 {
			return nil
		}
		return flush()
	}
	// The last order to erase stays: who has not carried it out yet is to hear of it. It
	// has a message of its own.
	if s.erased != 0 {
		if err := add(&event{erased: s.erased}); err != nil {
			return all, err
		}
	}
	if s.schedule != nil {
		if err := add(&event{schedule: s.schedule}); err != nil {
			return all, err
		}
	}
	for e := range s.registry.Snapshot() {
		if err := add(&event{registry: e}); err != nil {
			return all, err
		}
	}
	if len(lines) > 0 || messages == 0 {
		return all, flush()
	}
	return all, nil
}

// writeSnapshot writes the state into a new copy whose first message has the given
// number.
func (c *compactor) writeSnapshot(ctx context.Context, first uint64) (sum, error) {
	if err := removeCompacted(c.cfg.Config.Dir); err != nil {
		return sum{}, err
	}
	// Each message says where the snapshot ends.
	end := first - 1
	want, err := c.state.eachBatch(func([]byte) error { end++; return ctx.Err() })
	if err != nil {
		return want, err
	}
	check := newKeyCheck(c.cfg.Config.TokenKey)
	to, err := ledgercopy.Open(c.path(compactedFolder), ledgercopy.KeyCheck(check), c.cfg.Config.Log)
	if err != nil {
		return want, err
	}
	if err := to.Begin(first); err != nil {
		return want, errors.Join(err, to.Close())
	}
	var messages [][]byte
	size := 0
	store := func() error {
		err := to.Append(messages)
		messages, size = messages[:0], 0
		c.cfg.Progress("write the snapshot", to.Last()-first+1, end-first+1)
		return err
	}
	now := c.cfg.Config.Now().UnixMicro()
	_, err = c.state.eachBatch(func(lines []byte) error {
		message := append(appendHeader(make([]byte, 0, len(lines)+96), now, check, end), lines...)
		if messages, size = append(messages, message), size+len(message); size < copyChunk {
			return ctx.Err()
		}
		return errors.Join(ctx.Err(), store())
	})
	if err == nil && len(messages) > 0 {
		err = store()
	}
	return want, errors.Join(err, to.Close())
}

// prove makes a state of the new copy and compares it with the one that was written.
// Only one of the two is in memory.
func (c *compactor) prove(ctx context.Context, compacted *ledgercopy.Copy, want sum) error {
	c.state = newState(rules.DefaultRules())
	total := compacted.Last() - compacted.First() + 1
	if err := readCopy(ctx, compacted, c.state, newKeyCheck(c.cfg.Config.TokenKey), func(n uint64) {
		if done := n - compacted.First() + 1; done%64 == 0 || done == total {
			c.cfg.Progress("prove the snapshot", done, total)
		}
	}); err != nil {
		return err
	}
	got, err := c.state.eachBatch(func([]byte) error { return ctx.Err() })
	if err == nil && got != want {
		err = errors.New("the snapshot says something else than the ledger; nothing was changed, report this")
	}
	return err
}
