package cache

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

// child is the other process of these tests. It returns its exit status.
func child(mode, dir string) int {
	if mode == "power" {
		fmt.Println(runPowerChild(dir))
		return 3
	}
	if mode == "apply" {
		fmt.Println("started")
	}
	s, err := Open(dir, testOptions())
	if err != nil {
		fmt.Println(err)
		return 3
	}
	if mode == "apply" {
		for n := s.Position().Number + 1; ; n++ {
			if err := s.Apply(updateOf(n)); err != nil {
				fmt.Println(err)
				return 3
			}
			fmt.Println(n) // acknowledged: this is what must survive
		}
	}
	if mode == "shards" {
		h, r := newHistory(historyEntries), rand.New(rand.NewPCG(uint64(os.Getpid()), 0))
		for {
			whole, err := h.run(s, r)
			if err != nil {
				fmt.Println(err)
				return 3
			}
			// 1 = acknowledged, with every shard loaded before.
			fmt.Println(map[bool]int{true: 1}[whole])
		}
	}
	if err := s.Close(); err != nil {
		fmt.Println(err)
		return 3
	}
	fmt.Println("opened")
	return 0
}

// kills is how often a test kills its child.
func kills(many, few int) int {
	if testing.Short() || raceOn {
		return few
	}
	return many
}

// runAndKill starts a child on dir, kills it a while after it started or, if
// updating is set, after its first update, and returns the number of the last
// update it acknowledged.
func runAndKill(t *testing.T, mode, dir string, updating bool, after time.Duration) (acknowledged uint64) {
	t.Helper()
	c := childCommand(t, mode, dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var timer *time.Timer
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // a line without its end was not acknowledged
		}
		line = strings.TrimSuffix(line, "\n")
		if n, err := strconv.ParseUint(line, 10, 64); err == nil {
			acknowledged = n
		} else if line != "started" {
			t.Errorf("the child says: %s", line)
		}
		if timer == nil && (!updating || line != "started") {
			timer = time.AfterFunc(after, func() { _ = c.Process.Kill() })
		}
	}
	wantKilled(t, c)
	return acknowledged
}

func wantKilled(t *testing.T, c *exec.Cmd) {
	t.Helper()
	if err := c.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Fatalf("the child ended by itself: %v", err)
	}
}

// The main promise: kill -9 at any moment, and the store reopens at or after
// the last acknowledged update with exactly the records of its position.
func TestKilledDuringUpdates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	r := rand.New(rand.NewPCG(1, 2))
	m := model{}
	reached := uint64(0)
	for range kills(50, 8) {
		acknowledged := runAndKill(t, "apply", dir, true, time.Duration(r.IntN(120))*time.Millisecond)
		s := open(t, dir, testOptions())
		n := s.Position().Number
		if n < acknowledged || n < reached || s.Position() != at(n) {
			t.Fatalf("reopened at %v, after %d was acknowledged", s.Position(), acknowledged)
		}
		for reached < n {
			reached++
			m.apply(updateOf(reached))
		}
		verify(t, s, m)
		if n > 0 && !slices.Equal(s.Keys(), termsAt(n)) {
			t.Fatalf("reopened at %d with other keys than those of that position", n)
		}
		if s.Usable() != (n >= 3) {
			t.Fatalf("usable %v at entry %d", s.Usable(), n)
		}
		closeStore(t, s)
	}
	t.Logf("%d updates applied, %d records at the end", reached, len(m))
}

// historyEntries is the length of the feed of TestKilledDuringLoads.
const historyEntries = 8

// Kill -9 amid loads, repairs and updates: every shard that has a mark holds
// exactly the records of its mark and the position, and none loses its mark.
func TestKilledDuringLoads(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	h := newHistory(historyEntries)
	r := rand.New(rand.NewPCG(5, 6))
	whole := false
	for range kills(16, 3) {
		acknowledged := runAndKill(t, "shards", dir, true, time.Duration(r.IntN(150))*time.Millisecond)
		whole = whole || acknowledged == 1
		s := open(t, dir, testOptions())
		h.check(t, s)
		if missing := gateway.Shards - s.Loaded(); whole && missing > 0 {
			t.Fatalf("%d shards have lost their marks", missing)
		}
		closeStore(t, s)
	}
	t.Logf("every shard loaded: %v", whole)
}

// A kill at any moment of the first start leaves a directory that the next
// start takes.
func TestKilledDuringFirstStart(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range kills(30, 5) {
		dir := filepath.Join(t.TempDir(), "store")
		for range 2 {
			runAndKill(t, "apply", dir, false, time.Duration(r.IntN(20_000))*time.Microsecond)
		}
		closeStore(t, open(t, dir, testOptions()))
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
}
