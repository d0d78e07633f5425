package cache

import (
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"gateline/gateway"
)

// powerFeed is a feed of the tokens of universe, of any length. Entry and record
// follow from the seed and the number alone, so what a store holds at a position
// is known without all that came before. Every entry with data changes token 0.
type powerFeed struct{ seed uint64 }

// draw returns a number for entry n and i, below most.
func (f powerFeed) draw(n uint64, i, most int) int {
	x := f.seed + n*0x9e3779b97f4a7c15 + uint64(i)*0xd1b54a32d192ed03
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int((x ^ x>>31) % uint64(most))
}

// powerComplete is the entry at which the store is complete.
const powerComplete = 3

func (f powerFeed) heartbeat(n uint64) bool { return n > powerComplete && f.draw(n, -1, 4) == 0 }

// spread says that entry n changes one token of so many; 0 = none.
func (f powerFeed) spread(n uint64) int {
	switch k := f.draw(n, -2, 16); {
	case f.heartbeat(n):
		return 0
	case k == 0:
		return 4 // nearly gateway.MaxChanges
	case k < 6:
		return 2000
	}
	return 40
}

// change returns what entry n, with its spread, does to token i, if anything.
func (f powerFeed) change(n uint64, spread, i int) (c gateway.Change, some bool) {
	if spread == 0 || i != 0 && f.draw(n, i, spread) != 0 {
		return c, false
	}
	c = gateway.Change{Token: tokenAt(i), Delete: f.draw(n, i+universe, 3) == 0}
	if !c.Delete {
		c.Record = randomRecord(rand.New(rand.NewPCG(f.seed+n, uint64(i))))
	}
	return c, true
}

func (f powerFeed) scheduled(n uint64) bool { return n == 1 || !f.heartbeat(n) && n%20 == 0 }

// schedule is the schedule at entry n, which is 1 or more.
func (f powerFeed) schedule(n uint64) *gateway.Schedule {
	for !f.scheduled(n) {
		n--
	}
	return scheduleOf(n)
}

// terms are the terms of the keys at entry n, which is 1 or more.
func (f powerFeed) terms(n uint64) []gateway.KeyTerm {
	for f.heartbeat(n) || n%rotateEvery != 1 {
		n--
	}
	return termsAt(n)
}

func (f powerFeed) update(n uint64) gateway.Update {
	u := gateway.Update{To: at(n), Complete: n == powerComplete}
	if f.heartbeat(n) {
		return u
	}
	if f.scheduled(n) {
		u.Schedule = f.schedule(n)
	}
	if n%rotateEvery == 1 {
		u.Keys = f.terms(n)
	}
	spread := f.spread(n)
	for i := range universe {
		if c, some := f.change(n, spread, i); some {
			u.Changes = append(u.Changes, c)
		}
	}
	return u
}

// lasting returns the last of the entries first … last that moves the position
// on the disk of a store that is about to apply them, 0 if none surely does: a
// heartbeat does not, nor an entry whose changes are all in their shards already,
// as after a cut amid a load that takes the position back. That of token 0 tells.
func (f powerFeed) lasting(s *Store, first, last uint64) uint64 {
	contained := s.Marks()[0].Number
	for n := last; n >= first && n > contained; n-- {
		if !f.heartbeat(n) {
			return n
		}
	}
	return 0
}

// record returns the record of token i after entry n.
func (f powerFeed) record(n uint64, i int) (r gateway.Record, known bool) {
	for ; n > 0; n-- {
		if c, some := f.change(n, f.spread(n), i); some {
			return c.Record, !c.Delete
		}
	}
	return r, false
}

// load returns the shards first … last as they stood after entry n, and shard 0
// as well if zero is set.
func (f powerFeed) load(n uint64, first, last gateway.ShardID, zero bool) gateway.Load {
	records := map[gateway.ShardID][]gateway.Change{}
	for i := range universe {
		id := gateway.ShardOf(tokenAt(i))
		if (id < first || id > last) && id != 0 {
			continue
		}
		if r, known := f.record(n, i); known {
			records[id] = append(records[id], gateway.Change{Token: tokenAt(i), Record: r})
		}
	}
	var l gateway.Load
	if zero {
		l.Shards = append(l.Shards, gateway.Shard{At: at(n), Records: lastOfEach(records[0])})
	}
	for id := max(1, first); id <= last; id++ {
		l.Shards = append(l.Shards, gateway.Shard{ID: id, At: at(n), Records: lastOfEach(records[id])})
	}
	return l
}

// powerChild is the process whose power is cut: it does to the store in dir all
// that a follower may do, as fast as it can, and says so line by line.
type powerChild struct {
	s    *Store
	feed powerFeed
	rand *rand.Rand
}

// powerSeed names the environment variable with a child's seed and the number
// of its life.
const powerSeed = "GATELINE_CACHE_SEED"

func runPowerChild(dir string) error {
	var seed, life uint64
	if _, err := fmt.Sscan(os.Getenv(powerSeed), &seed, &life); err != nil {
		return err
	}
	fmt.Println("started")
	o := testOptions()
	// The clock runs so fast that one heartbeat in some is written.
	now := time.Now()
	o.Now = func() time.Time { now = now.Add(heartbeatInterval / 10); return now }
	s, err := Open(dir, o)
	if err != nil {
		return err
	}
	fmt.Println("opened", s.Position().Number)
	c := &powerChild{s: s, feed: powerFeed{seed}, rand: rand.New(rand.NewPCG(seed, life))}
	for {
		if err := c.step(); err != nil {
			return err
		}
	}
}

func (c *powerChild) step() error {
	n := c.s.Position().Number
	switch x := c.rand.IntN(20); {
	case n < 10 || x < 10:
		return c.apply(n, 1)
	case x < 15:
		return c.apply(n, 2+c.rand.IntN(40))
	case x < 17:
		_, err := c.s.Sum(gateway.ShardID(c.rand.IntN(gateway.Shards))) // which folds it
		return err
	}
	return c.load(n)
}

// apply applies so many entries after n.
func (c *powerChild) apply(n uint64, entries int) error {
	var updates []gateway.Update
	for range entries {
		n++
		updates = append(updates, c.feed.update(n))
	}
	lasting := c.feed.lasting(c.s, updates[0].To.Number, n)
	var err error
	if entries == 1 {
		err = c.s.Apply(updates[0])
	} else {
		err = c.s.ApplyAll(updates)
	}
	if err == nil {
		fmt.Println("applied", lasting)
	}
	return err
}

// load loads some shards as they stand at the position n, as they will stand
// later, or as they stood before, which takes the position back.
func (c *powerChild) load(n uint64) error {
	to, zero, back := n, c.rand.IntN(2) == 0, false
	switch c.rand.IntN(3) {
	case 0:
		to, zero = n+1+uint64(c.rand.IntN(20)), false
	case 1:
		to, zero, back = max(powerComplete, n-uint64(c.rand.IntN(9))), true, true
	}
	first := gateway.ShardID(1 + c.rand.IntN(gateway.Shards-1))
	last := min(first+gateway.ShardID(c.rand.IntN(600)), gateway.Shards-1)
	l := c.feed.load(to, first, last, zero)
	if back {
		p := at(to)
		l.To, l.Schedule, l.Keys = &p, c.feed.schedule(to), c.feed.terms(to)
	}
	fmt.Println("loading", to, first, last, zero)
	err := c.s.Load(l)
	if err == nil {
		fmt.Println("loaded", to, first, last, zero)
	}
	return err
}
