package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(childMode) != "" {
		exit(child(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// testRecords are loaded by the tests that open stores themselves.
const testRecords = 3000

// TestRun makes a whole run with every store that is here, then draws it from its
// figures alone.
func TestRun(t *testing.T) {
	dir, results := t.TempDir(), t.TempDir()
	figures, picture := filepath.Join(results, "f.json"), filepath.Join(results, "p.svg")
	var out, progress strings.Builder
	args := []string{"--records", "20000", "--rounds", "2", "--each", "50ms", "--dir", dir, "--json", figures}
	if err := run(context.Background(), args, &out, &progress); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	var r result
	text, err := os.ReadFile(figures)
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil || len(r.Stores) != len(peers()) {
		t.Fatalf("%d stores in the figures, not %d: %v", len(r.Stores), len(peers()), err)
	}
	for _, o := range r.Stores {
		if o.Skipped == "" {
			checkOutcome(t, &o)
		} else if o.Median != nil || !strings.Contains(out.String(), o.Name+" is left out: "+o.Skipped) {
			t.Errorf("%s is left out (%s) and has figures, or the table does not say why", o.Name, o.Skipped)
		}
	}

	var again strings.Builder
	if err := run(context.Background(), []string{"--from", figures, "--svg", picture}, &again, io.Discard); err != nil {
		t.Fatal(err)
	}
	if again.String() != out.String() {
		t.Errorf("the table from the figures differs:\n%s\n%s", &again, &out)
	}
	checkPicture(t, picture, &r)
}

func checkOutcome(t *testing.T, o *outcome) {
	t.Helper()
	if len(o.Rounds) != 2 || o.Median == nil {
		t.Errorf("%s has %d rounds", o.Name, len(o.Rounds))
		return
	}
	l, m := &o.Median.Load, &o.Median.Lookups
	for what, n := range map[string]float64{
		"load": l.Seconds, "disk": float64(l.Disk), "peak": float64(l.Peak), "open": m.OpenMS, "memory": float64(m.Memory.Anonymous),
		"quiet p50": m.Quiet.P50, "busy p50": m.Busy.P50, "misses": float64(m.Misses.Lookups), "updates": m.UpdatesPerSecond, "overhead": m.OverheadNS,
	} {
		if n <= 0 {
			t.Errorf("%s: %s is %v", o.Name, what, n)
		}
	}
	for _, l := range []latency{m.Quiet, m.Busy, m.Batch} {
		if l.P50 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max*1.01 {
			t.Errorf("%s: times are not in their order: %+v", o.Name, l)
		}
	}
}

// checkPicture reads the picture and counts what it has.
func checkPicture(t *testing.T, path string, r *result) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	count := map[string]int{}
	d := xml.NewDecoder(f)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the picture is not XML: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok {
			count[e.Name.Local]++
		}
	}
	measured := 0
	for _, o := range r.Stores {
		if o.Median != nil {
			measured++
		}
	}
	if count["svg"] != 1 || count["title"] != 2*measured || count["circle"] != 2*measured+2 {
		t.Errorf("%d stores, and the picture has %v", measured, count)
	}
}

// loadTest loads testRecords and returns the folder, or skips.
func loadTest(t *testing.T, p peer) (dir string) {
	t.Helper()
	if p.missing != nil {
		if why := p.missing(); why != "" {
			t.Skip(why)
		}
	}
	dir = t.TempDir()
	tokens := filepath.Join(t.TempDir(), "tokens")
	if err := writeTokens(tokens, testRecords); err != nil {
		t.Fatal(err)
	}
	s, err := openSource(tokens)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.load(dir, testRecords, s), s.close()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func openTest(t *testing.T, p peer, dir string) store {
	t.Helper()
	s, err := p.open(dir, testRecords)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeTest(t *testing.T, s store) {
	t.Helper()
	if err := s.close(); err != nil {
		t.Fatal(err)
	}
}

// TestStores holds every store to the same work: it has what was loaded and
// nothing else, and what was updated is there after it was opened anew.
func TestStores(t *testing.T) {
	for _, p := range peers() {
		t.Run(p.name, func(t *testing.T) {
			dir := loadTest(t, p)
			s := openTest(t, p, dir)
			checkStore(t, s, 0)
			o := newOrder(testRecords)
			items := make([]item, batchSize)
			// Some tokens twice, the others once.
			const updates = testRecords + 2*batchSize
			for k := uint64(0); k < updates; k += batchSize {
				o.batch(items, k)
				if err := s.update(items); err != nil {
					t.Fatal(err)
				}
			}
			checkStore(t, s, updates)
			closeTest(t, s)
			s = openTest(t, p, dir)
			if p.name == mapPeer().name || p.name == flatPeer().name {
				checkStore(t, s, 0)
			} else {
				checkStore(t, s, updates)
			}
			closeTest(t, s)
		})
	}
}

// checkStore compares every record with what it is after so many updates.
func checkStore(t *testing.T, s store, updates uint64) {
	t.Helper()
	o := newOrder(testRecords)
	for i := range uint64(testRecords) {
		token := tokenOf(i)
		value, found, err := s.lookup(token)
		if want := valueOf(token, o.had(i, updates)); err != nil || !found || value != want {
			t.Fatalf("token number %d after %d updates: %#x, found %v, err %v; want %#x", i, updates, value, found, err, want)
		}
		if _, found, err := s.lookup(tokenOf(testRecords + i)); found || err != nil {
			t.Fatalf("a token that nobody has: found %v, err %v", found, err)
		}
	}
}

// liar is a store that answers some questions wrongly.
type liar struct {
	store
	answer func(token, value uint64, found bool) (uint64, bool)
	deaf   bool // to updates
}

func (l liar) lookup(token uint64) (uint64, bool, error) {
	value, found, err := l.store.lookup(token)
	value, found = l.answer(token, value, found)
	return value, found, err
}

func (l liar) update(items []item) error {
	if l.deaf {
		return nil
	}
	return l.store.update(items)
}

func TestWrongAnswersAreSeen(t *testing.T) {
	true1 := func(_, value uint64, found bool) (uint64, bool) { return value, found }
	for name, l := range map[string]liar{
		"one bit":       {answer: func(_, value uint64, found bool) (uint64, bool) { return value ^ 1, found }},
		"not found":     {answer: func(token, value uint64, found bool) (uint64, bool) { return value, found && token%512 != 0 }},
		"found":         {answer: func(_, value uint64, _ bool) (uint64, bool) { return value, true }},
		"another's":     {answer: func(token, _ uint64, found bool) (uint64, bool) { return valueOf(token+1, 0), found }},
		"never updated": {answer: true1, deaf: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := mapPeer()
			dir := loadTest(t, p)
			open := p.open
			p.open = func(dir string, records int) (store, error) {
				s, err := open(dir, records)
				l.store = s
				return l, err
			}
			_, err := measure(p, dir, testRecords, time.Second, time.Second)
			if !errors.Is(err, errWrong) {
				t.Errorf("error %v, want one that wraps %v", err, errWrong)
			}
		})
	}
}

func TestOneUpdateAheadIsRight(t *testing.T) {
	w := &work{order: newOrder(testRecords), base: time.Now()}
	w.store = liar{store: bare{}, answer: func(token, _ uint64, _ bool) (uint64, bool) { return valueOf(token, 1), true }}
	i := w.order.number(0)
	if err := w.one(i, false); !errors.Is(err, errWrong) {
		t.Errorf("an update that has not begun: error %v", err)
	}
	w.begun.Store(1)
	if err := w.one(i, false); err != nil {
		t.Errorf("an update that has begun: %v", err)
	}
	w.begun.Store(testRecords + 1)
	w.applied.Store(testRecords + 1)
	if err := w.one(i, false); !errors.Is(err, errWrong) {
		t.Errorf("the update before the last: error %v", err)
	}
}

func TestFailureEndsTheRun(t *testing.T) {
	err := run(context.Background(), []string{"--only", "gateline", "--dir", filepath.Join(t.TempDir(), "absent")}, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "--dir") {
		t.Errorf("error %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	dir := t.TempDir()
	err = run(ctx, []string{"--records", "1000", "--dir", dir}, io.Discard, io.Discard)
	if left, errDir := os.ReadDir(dir); !errors.Is(err, context.Canceled) || errDir != nil || len(left) > 0 {
		t.Errorf("a run that is cancelled: error %v; left behind: %v, %v", err, left, errDir)
	}
	err = runChild(context.Background(), task{Peer: "Go map", Dir: t.TempDir(), Records: testRecords, Each: time.Millisecond}, new(measured))
	if err == nil || !strings.Contains(err.Error(), "Go map") {
		t.Errorf("a store that was never loaded: error %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, args := range []string{"--records 999", "--rounds 0", "--each 0s", "--beside 11m", "--only nobody", "--nothing", "word", "--from absent.json"} {
		if err := run(context.Background(), strings.Fields(args), io.Discard, io.Discard); err == nil {
			t.Errorf("%s is accepted", args)
		}
	}
}
