package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"gateline/gateway"
	"gateline/replication"
)

// against is how a box's shards compare with the centre's.
type against struct {
	Same          int `json:"same"`
	Differ        int `json:"differ"`
	NotComparable int `json:"not_comparable"`
	// Why is the reason of the first shard that is not comparable.
	Why        string `json:"why,omitempty"`
	Signatures proofs `json:"signatures"` // of what the centre's sums were made of
}

func (a *against) text(b *fields) {
	if a == nil {
		return
	}
	b.add("centre", "%d shards are the same, %d differ, %d cannot be compared", a.Same, a.Differ, a.NotComparable)
	if a.Why != "" {
		b.add("", "%s", a.Why)
	}
	b.add("signatures", "%v", &a.Signatures)
}

// comparison brings the centre's snapshots to the entry at which a box stands.
type comparison struct {
	box    *storeFound
	centre *centreFiles
	found  *against
	// made are the entries at which snapshots were made; 0 for a shard without one,
	// which is empty before entry 1. stands are those that the box's shards
	// contain: amid a load some are ahead of its position.
	made, stands map[int]uint64
	// tail has the changes of the feed after each snapshot, up to where the box
	// stands: as many as the feed has since the oldest snapshot, in order.
	tail map[int][]gateway.Change
	// emptied holds shards that a purge has emptied between their snapshot and where the
	// box stands; tail has the changes after it.
	emptied map[int]bool
	// ahead holds shards that the feed changes between the box and a later
	// snapshot.
	ahead map[int]bool
	// first and last are the entries of the feed that were read.
	first, last uint64
}

// compareWith compares each shard with the centre's and returns the first fault.
func (i *inspection) compareWith(cmd *cobra.Command, box *storeFound, dir string) error {
	c, err := i.openCentre(dir)
	if err != nil {
		return err
	}
	defer c.Close() // nothing was written
	if box.position.Epoch == 0 {
		return errors.New("the box has applied no entry yet: there is nothing to compare")
	}
	if box.position.Epoch != c.info.Epoch {
		return fmt.Errorf("the box follows epoch %s, the centre's feed has %s: nothing can be compared; the box loads everything anew when it is connected", box.Epoch, epochText(c.info.Epoch))
	}
	x := &comparison{box: box, centre: c, found: &against{}, made: map[int]uint64{}, stands: map[int]uint64{}, tail: map[int][]gateway.Change{}, emptied: map[int]bool{}, ahead: map[int]bool{}}
	if err := x.prepare(cmd); err != nil {
		return err
	}
	box.Against = x.found
	var fault error
	for i := range box.Shards {
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
		if err := x.shard(&box.Shards[i]); err != nil && fault == nil {
			fault = err
		}
	}
	return fault
}

// snapshot returns the centre's snapshot of a shard, empty where there is none.
func (x *comparison) snapshot(id int) (s replication.Snapshot, err error) {
	if x.centre.shards == nil {
		return s, nil
	}
	s, _, err = x.centre.shards.Snapshot(gateway.ShardID(id))
	if errors.Is(err, replication.ErrNoSnapshot) {
		return replication.Snapshot{}, nil
	}
	return s, err
}

// prepare verifies the snapshots and reads the feed from the oldest one on.
func (x *comparison) prepare(cmd *cobra.Command) error {
	at := x.box.position
	from, to := at.Number, at.Number
	for i := range x.box.Shards {
		id := x.box.Shards[i].Shard
		s, err := x.snapshot(id)
		if err != nil {
			return faultNext(err)
		}
		number := s.Shard.At.Number
		if s.Shard.At.Epoch != 0 {
			proof, err := x.centre.audit.Snapshot(&s)
			if err != nil {
				return faultNext(err)
			}
			x.found.Signatures.add(proof)
		}
		x.made[id], x.stands[id] = number, max(at.Number, x.box.Shards[i].Mark)
		from, to = min(from, number+1), max(to, number, x.stands[id])
	}
	progress := newProgress(cmd.ErrOrStderr(), "feed, MB", x.centre.info.Bytes)
	defer progress.end()
	var fork error
	err := eachEntry(cmd, x.centre, from, to, func(stored uint64, e *replication.Signed, read int64) error {
		progress.at(read)
		proof, err := x.centre.audit.Entry(stored, e)
		if err != nil {
			return err
		}
		x.found.Signatures.add(proof)
		if e.Number == at.Number && e.Hash != at.Hash {
			fork = fmt.Errorf("the box has applied another entry %d than the centre's feed has: one of the two was restored from a backup, or the box was misled; if the centre is right, move the box's cache directory away", e.Number)
			return errEnough
		}
		x.take(e)
		return nil
	})
	if err != nil {
		return faultNext(err)
	}
	if fork != nil {
		return fork
	}
	if at.Number > x.last {
		return fmt.Errorf("the box stands at entry %d and the centre's feed ends at entry %d: was it restored from a backup? docs/OPERATIONS.md says how to begin a new epoch", at.Number, x.last)
	}
	return nil
}

// take sorts the changes of an entry by their shards.
func (x *comparison) take(e *replication.Signed) {
	if x.first == 0 {
		x.first = e.Number
	}
	x.last = e.Number
	if e.Purge {
		for id, made := range x.made {
			switch stands := x.stands[id]; {
			case made < e.Number && e.Number <= stands:
				x.emptied[id], x.tail[id] = true, nil
			case stands < e.Number && e.Number <= made:
				x.ahead[id] = true
			}
		}
	}
	for _, c := range e.Changes {
		id := int(gateway.ShardOf(c.Token))
		made, asked := x.made[id]
		switch stands := x.stands[id]; {
		case !asked:
		case made < e.Number && e.Number <= stands:
			x.tail[id] = append(x.tail[id], c)
		case stands < e.Number && e.Number <= made:
			x.ahead[id] = true
		}
	}
}

// shard compares one shard; a difference is the error.
func (x *comparison) shard(s *storeShard) error {
	made, stands := x.made[s.Shard], x.stands[s.Shard]
	why := ""
	switch {
	case !s.Loaded:
		why = "not loaded"
	case s.epoch != x.box.position.Epoch:
		why = "loaded from a feed of another epoch"
	case stands > x.last:
		why = "the centre's feed ends before the entry that it contains"
	case made < stands && x.first > made+1:
		why = fmt.Sprintf("the entries after its snapshot have expired up to entry %d", x.first-1)
	case x.ahead[s.Shard]:
		why = "changed since the entry at which the box stands"
	case made > stands && x.first > stands+1:
		why = "the entries between the box and its snapshot have expired"
	}
	if why != "" {
		s.Centre = "not comparable"
		if x.found.NotComparable++; x.found.NotComparable == 1 {
			x.found.Why = fmt.Sprintf("shard %d: %s", s.Shard, why)
		}
		return nil
	}
	sum, err := x.sum(s.Shard)
	if err != nil {
		return faultNext(err)
	}
	if sum == s.sum {
		s.Centre = "same"
		x.found.Same++
		return nil
	}
	s.Centre = "differs"
	x.found.Differ++
	centre := hashText(sum.Hash)
	return fmt.Errorf("shard %d differs: %d records with sum %s at the box, %d with sum %s at the centre; the box mends it by itself at the shard's next checkpoint, and if that happens again replace its disk",
		s.Shard, s.sum.Records, firstDigits(s.Sum), sum.Records, firstDigits(centre))
}

// sum returns that of a shard as the centre has it where the box stands.
func (x *comparison) sum(id int) (gateway.ShardSum, error) {
	s, err := x.snapshot(id)
	if err != nil {
		return gateway.ShardSum{}, err
	}
	if x.emptied[id] {
		s.Shard.Records = nil
	}
	changed := map[gateway.Token]gateway.Change{}
	for _, c := range x.tail[id] {
		changed[c.Token] = c
	}
	records := slices.DeleteFunc(s.Shard.Records, func(c gateway.Change) bool {
		_, is := changed[c.Token]
		return is
	})
	for _, c := range changed {
		if !c.Delete {
			records = append(records, c)
		}
	}
	slices.SortFunc(records, func(a, b gateway.Change) int { return cmp.Compare(a.Token, b.Token) })
	summer := gateway.NewShardSummer(gateway.ShardID(id))
	for _, c := range records {
		summer.Add(c.Token, c.Record)
	}
	return summer.Sum(), nil
}
