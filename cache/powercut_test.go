package cache

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
	"gateline/internal/powercut"
)

var (
	powerCuts = flag.Int("powercuts", 0, "how often each test of power cuts cuts the power; 0 = 5, or 2 where tests are to be short")
	powerFrom = flag.Uint64("powerseed", 0, "the seed of the tests of power cuts; 0 = another one each time")
)

// powerTest returns how often the power is to be cut, and the seed of all that
// is drawn, which it shows.
func powerTest(t *testing.T) (cuts int, seed uint64) {
	t.Helper()
	cuts, seed = *powerCuts, *powerFrom
	if cuts == 0 {
		cuts = kills(5, 2)
	}
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return cuts, seed
}

// promise is what a store has acknowledged and has to hold after a power cut.
type promise struct {
	feed powerFeed
	// position is the least number of the position, shards the entry up to which
	// the records of each shard have to reach.
	position uint64
	shards   [gateway.Shards]uint64
	// acknowledged counts.
	acknowledged int
	// lost is what a child found missing when it opened the store.
	lost error
}

// hear takes a whole line of the child. It reports whether the line
// acknowledges something, and an error for what no child says in good health.
// What a child without power acknowledges is nothing: a sync that the cut meets
// half-way may return without an error, which is the cut's doing and not a disk's.
func (p *promise) hear(line string, powered bool) (acknowledges bool, err error) {
	var n uint64
	var first, last gateway.ShardID
	var zero bool
	what, rest, _ := strings.Cut(line, " ")
	switch what {
	case "started":
		return false, nil
	case "opened":
		if _, err := fmt.Sscan(rest, &n); err != nil {
			return false, err
		}
		if powered && n < p.position {
			p.lost = fmt.Errorf("reopened at entry %d, after %d was acknowledged", n, p.position)
			return false, p.lost
		}
		return false, nil
	case "applied":
		if _, err := fmt.Sscan(rest, &n); err != nil {
			return false, err
		}
		if !powered {
			return true, nil
		}
		p.acknowledged++
		p.position = max(p.position, n)
		for id := range p.shards {
			p.shards[id] = max(p.shards[id], n)
		}
		return true, nil
	case "loading", "loaded":
		if _, err := fmt.Sscan(rest, &n, &first, &last, &zero); err != nil {
			return false, err
		}
		loaded := what == "loaded"
		if loaded && !powered {
			return true, nil
		}
		p.load(n, first, last, loaded)
		if zero {
			p.load(n, 0, 0, loaded)
		}
		return loaded, nil
	}
	return false, errors.New(line)
}

// load notes that shards are being, or are, loaded as they stood after entry n;
// which takes the position back if it was further on.
func (p *promise) load(n uint64, first, last gateway.ShardID, loaded bool) {
	p.position = min(p.position, n)
	for id := first; id <= last; id++ {
		if loaded {
			p.shards[id] = n
		} else {
			p.shards[id] = min(p.shards[id], n)
		}
	}
}

// check compares a store that has been reopened with the promise and with what
// the feed has at its position.
func (p *promise) check(t *testing.T, s *Store) {
	t.Helper()
	position, marks := s.Position(), s.Marks()
	n := position.Number
	if n < p.position || n > 0 && position != at(n) {
		t.Fatalf("reopened at entry %d, after %d was acknowledged", n, p.position)
	}
	for id, m := range marks {
		if reach := max(n, m.Number); reach < p.shards[id] {
			t.Fatalf("shard %d reaches entry %d, after %d was acknowledged", id, reach, p.shards[id])
		}
	}
	m := model{}
	for i := range universe {
		token := tokenAt(i)
		if r, known := p.feed.record(max(n, marks[gateway.ShardOf(token)].Number), i); known {
			m[token] = r
		}
	}
	verify(t, s, m)
	if s.Usable() != (n >= powerComplete) {
		t.Fatalf("usable %v at entry %d", s.Usable(), n)
	}
	if n > 0 && !slices.Equal(s.Keys(), p.feed.terms(n)) {
		t.Fatalf("reopened at %d with other keys than those of that position", n)
	}
	if n > 0 && s.Schedule().Version != p.feed.schedule(n).Version {
		t.Fatalf("reopened at %d with another schedule than that of that position", n)
	}
}

// cutPower starts a child on a store of the disk and cuts the power a while after
// it started or, if updating is set, after it first acknowledged something.
func (p *promise) cutPower(t *testing.T, disk *powercut.Disk, store string, life int, updating bool, after time.Duration) {
	t.Helper()
	env := []string{childMode + "=power", childDir + "=" + store, fmt.Sprintf("%s=%d %d", powerSeed, p.feed.seed, life)}
	disk.CutUnder(env, after, func(line string, powered bool) (begin bool, err error) {
		acknowledges, err := p.hear(line, powered)
		return acknowledges || !updating, err
	})
	if p.lost != nil {
		t.Error(p.lost)
	}
}

// The power is cut at any moment, and the store reopens at or after what it
// acknowledged last with exactly the records of its position and its marks, and
// goes on from there. Some cuts come before anybody has repaired what the one
// before left.
func TestPowerCut(t *testing.T) {
	if !powercut.Alone(t) {
		return
	}
	cuts, seed := powerTest(t)
	r := rand.New(rand.NewPCG(seed, 0))
	disk := powercut.New(t)
	store := filepath.Join(disk.Dir(), "store")
	p := &promise{feed: powerFeed{seed}}
	for life := range cuts {
		updating, after := r.IntN(4) > 0, time.Duration(r.IntN(700))*time.Millisecond
		if !updating {
			after /= 15
		}
		p.cutPower(t, disk, store, life, updating, after)
		disk.Restart()
		if r.IntN(3) == 0 && life+1 < cuts {
			continue
		}
		s := open(t, store, testOptions())
		p.check(t, s)
		closeStore(t, s)
	}
	s := open(t, store, testOptions())
	for range 3 {
		n := s.Position().Number + 1
		lasting := p.feed.lasting(s, n, n)
		apply(t, s, p.feed.update(n))
		if _, err := p.hear(fmt.Sprint("applied ", lasting), true); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	s = open(t, store, testOptions())
	p.check(t, s)
	t.Logf("%d cuts, %d calls acknowledged, entry %d at the end", cuts, p.acknowledged, s.Position().Number)
	closeStore(t, s) // before the disk goes
}

// A power cut at any moment of the first start leaves a directory that the next
// start takes.
func TestPowerCutDuringFirstStart(t *testing.T) {
	if !powercut.Alone(t) {
		return
	}
	cuts, seed := powerTest(t)
	r := rand.New(rand.NewPCG(seed, 0))
	disk := powercut.New(t)
	for n := range cuts {
		store := filepath.Join(disk.Dir(), fmt.Sprint("store", n))
		p := &promise{feed: powerFeed{seed}}
		for life := range 2 {
			p.cutPower(t, disk, store, life, false, time.Duration(r.IntN(20_000))*time.Microsecond)
			disk.Restart()
		}
		s := open(t, store, testOptions())
		p.check(t, s)
		closeStore(t, s)
		if err := os.RemoveAll(store); err != nil {
			t.Fatal(err)
		}
	}
}
