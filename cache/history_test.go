package cache

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"gateline/gateway"
)

// history is a feed that is known whole: its entries, and what a box that has
// everything holds after each.
type history struct {
	updates []gateway.Update // updates[i] is entry i+1
	truth   []model          // truth[n] is after entry n
}

// The shards of a history that have records.
const (
	bigShard     = gateway.ShardID(3)
	bigRecords   = 900
	smallRecords = 60
)

var smallShards = []gateway.ShardID{0, 1, 2, 64, 65, 2047, gateway.Shards - 1}

// newHistory returns a history of so many entries, the same every time.
func newHistory(entries int) *history {
	r := rand.New(rand.NewPCG(11, 12))
	var tokens []gateway.Token
	spread := func(id gateway.ShardID, n int) {
		first, last := id.Range()
		tokens = append(tokens, first, last)
		for range n {
			tokens = append(tokens, first|gateway.Token(r.Uint64()>>12))
		}
	}
	spread(bigShard, bigRecords)
	for _, id := range smallShards {
		spread(id, smallRecords)
	}
	h := &history{truth: []model{{}}}
	for n := range entries {
		u := gateway.Update{To: at(uint64(n + 1))}
		for _, i := range r.Perm(len(tokens))[:600] {
			c := gateway.Change{Token: tokens[i], Delete: r.IntN(4) == 0}
			if !c.Delete {
				c.Record = randomRecord(r)
			}
			u.Changes = append(u.Changes, c)
		}
		after := maps.Clone(h.truth[n])
		after.apply(u)
		h.updates, h.truth = append(h.updates, u), append(h.truth, after)
	}
	return h
}

func (h *history) last() uint64 { return uint64(len(h.updates)) }

// shards returns the given shards as they stood after entry n.
func (h *history) shards(n uint64, ids ...gateway.ShardID) []gateway.Shard {
	slices.Sort(ids)
	shards := make([]gateway.Shard, len(ids))
	place := map[gateway.ShardID]int{}
	for i, id := range ids {
		shards[i] = gateway.Shard{ID: id, At: at(n)}
		place[id] = i
	}
	for t, record := range h.truth[n] {
		if i, ok := place[gateway.ShardOf(t)]; ok {
			shards[i].Records = append(shards[i].Records, gateway.Change{Token: t, Record: record})
		}
	}
	for i := range shards {
		slices.SortFunc(shards[i].Records, func(a, b gateway.Change) int { return cmp.Compare(a.Token, b.Token) })
	}
	return shards
}

// allIDs are the ids of all shards.
func allIDs() []gateway.ShardID {
	ids := make([]gateway.ShardID, gateway.Shards)
	for i := range ids {
		ids[i] = gateway.ShardID(i)
	}
	return ids
}

// sumOf is the sum of a shard computed apart from the store.
func sumOf(shard *gateway.Shard) gateway.ShardSum {
	s := gateway.NewShardSummer(shard.ID)
	for _, c := range shard.Records {
		s.Add(c.Token, c.Record)
	}
	return s.Sum()
}

// check compares every shard of s that has records in h with what its mark and
// the position say that it holds: from the disk, from memory, by its sum.
func (h *history) check(t testing.TB, s *Store) {
	t.Helper()
	waitForIndex(t, s)
	held := map[gateway.ShardID]model{}
	err := s.Each(func(token gateway.Token, r gateway.Record) error {
		id := gateway.ShardOf(token)
		if held[id] == nil {
			held[id] = model{}
		}
		held[id][token] = r
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	marks, position := s.Marks(), s.Position()
	for _, id := range append([]gateway.ShardID{bigShard, 77}, smallShards...) {
		first, _ := id.Range()
		sum, err := s.Sum(id)
		if !marks[id].Loaded() {
			wantErr(t, err, ErrNotLoaded)
			_, _, err = s.Lookup(first)
			wantErr(t, err, ErrNotLoaded)
			if len(held[id]) != 0 {
				t.Fatalf("Each shows shard %d, which is not loaded", id)
			}
			continue
		}
		n := max(marks[id].Number, position.Number)
		want := h.shards(n, id)[0]
		if err != nil || sum != sumOf(&want) {
			t.Fatalf("shard %d at entry %d: the sum of %d records is not that of the %d wanted, err %v", id, n, sum.Records, len(want.Records), err)
		}
		if len(held[id]) != len(want.Records) {
			t.Fatalf("shard %d at entry %d: %d records, want %d", id, n, len(held[id]), len(want.Records))
		}
		for _, c := range want.Records {
			r, known, err := s.Lookup(c.Token)
			if err != nil || !known || r != c.Record || held[id][c.Token] != c.Record {
				t.Fatalf("shard %d at entry %d: known %v, err %v, or a record differs", id, n, known, err)
			}
		}
	}
}

// run does one thing that a follower may do to the store: it loads shards that
// are not loaded, follows the feed, or mends shards from a snapshot that is
// older or newer than the store. It reports whether every shard was loaded
// before.
func (h *history) run(s *Store, r *rand.Rand) (whole bool, err error) {
	marks, position := s.Marks(), s.Position()
	var missing []gateway.ShardID
	oldest := h.last()
	for id, m := range marks {
		if m.Loaded() {
			oldest = min(oldest, max(m.Number, position.Number))
		} else {
			missing = append(missing, gateway.ShardID(id))
		}
	}
	if len(missing) > 0 {
		r.Shuffle(len(missing), func(i, k int) { missing[i], missing[k] = missing[k], missing[i] })
		n := position.Number + uint64(r.IntN(int(h.last()-position.Number)+1))
		l := gateway.Load{Shards: h.shards(max(1, n), missing[:min(len(missing), 1+r.IntN(2000))]...)}
		if len(l.Shards) == len(missing) && position.Number == 0 {
			to := at(min(oldest, l.Shards[0].At.Number))
			l.To = &to
		}
		return false, s.Load(l)
	}
	if position.Number < h.last() && r.IntN(3) > 0 {
		n := min(position.Number+1+uint64(r.IntN(4)), h.last())
		return true, s.ApplyAll(h.updates[position.Number:n])
	}
	ids := append([]gateway.ShardID{bigShard}, smallShards...)
	r.Shuffle(len(ids), func(i, k int) { ids[i], ids[k] = ids[k], ids[i] })
	l := gateway.Load{Shards: h.shards(1+uint64(r.IntN(int(h.last()))), ids[:1+r.IntN(len(ids))]...)}
	if to := l.Shards[0].At; to.Number < position.Number {
		l.To = &to
	}
	return true, s.Load(l)
}
