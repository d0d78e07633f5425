package station

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gateline/cache"
	"gateline/central"
	"gateline/gateway"
)

// childConfig names the environment variable with which a test starts its own
// program again as a box; it holds the path of a Config in JSON.
const childConfig = "GATELINE_STATION_CHILD"

// child is a whole box in a process of its own. It says "up" with its position
// once it is open and "at" with each entry with changes that it has applied. It
// returns its exit status.
func child(config string) int {
	go func() { // ends with the test that started it
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(4)
	}()
	text, err := os.ReadFile(config)
	var cfg Config
	if err == nil {
		err = json.Unmarshal(text, &cfg)
	}
	if err != nil {
		fmt.Println(err)
		return 3
	}
	ctx := context.Background()
	s, err := Open(ctx, cfg, Options{Log: slog.New(slog.DiscardHandler), OnApplied: func(u gateway.Update) {
		if len(u.Changes) > 0 {
			fmt.Println("at", u.To.Number)
		}
	}})
	if err != nil {
		fmt.Println(err)
		return 3
	}
	fmt.Println("up", s.Position().Number)
	fmt.Println(s.Run(ctx))
	return 3
}

// process is a box in a process of its own.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.Closer
	lines *bufio.Reader

	opened bool   // it has said "up"
	at     uint64 // up to here it has said that everything is applied
}

func startProcess(t *testing.T, config string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, cmd: exec.Command(self)}
	p.cmd.Env = append(os.Environ(), childConfig+"="+config)
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.lines = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

// read takes the next line; it reports false at the end. A line without its
// end was not said.
func (p *process) read() bool {
	p.t.Helper()
	line, err := p.lines.ReadString('\n')
	if err != nil {
		return false
	}
	var word string
	var number uint64
	if _, err := fmt.Sscan(line, &word, &number); err != nil || word != "up" && word != "at" {
		p.t.Errorf("the box says: %s", line)
		return true
	}
	if number < p.at {
		p.t.Errorf("the box went from %d back to %d", p.at, number)
	}
	p.at, p.opened = number, true
	return true
}

// kill ends the process with SIGKILL after a while and takes what it still said.
func (p *process) kill(after time.Duration) {
	p.t.Helper()
	timer := time.AfterFunc(after, func() { _ = p.cmd.Process.Kill() })
	defer timer.Stop()
	for p.read() {
	}
	if err := p.cmd.Wait(); err == nil || err.Error() != "signal: killed" {
		p.t.Fatalf("the box ended by itself: %v", err)
	}
	_ = p.stdin.Close()
}

// history is what the centre was told, by the feed entry that carries it.
type history struct {
	t      *testing.T
	client *central.Client
	tokens *gateway.Tokenizer

	mu    sync.Mutex // guards steps
	steps []step
}

type step struct {
	number  uint64
	changes map[gateway.Token]*gateway.Record // nil = deleted
}

const (
	killRiders = 3000 // of whom each has one card
	killBatch  = 200  // changes in one entry
)

func riderNumber(i int) string { return fmt.Sprintf("tunion:3104770%012d", i) }

// write has the centre accept batch after batch until ctx is done.
func (h *history) write(ctx context.Context) error {
	r := rand.New(rand.NewPCG(5, 6))
	today := gateway.DayOf(time.Now())
	bound := map[int]bool{}
	for ctx.Err() == nil {
		s := step{changes: map[gateway.Token]*gateway.Record{}}
		var done central.Done
		var err error
		if i := r.IntN(killRiders); bound[i] {
			done, err = h.client.Unbind(context.WithoutCancel(ctx), riderNumber(i), "")
			s.changes[h.token(i)] = nil
			delete(bound, i)
		} else {
			var rows []central.Row
			for _, i := range r.Perm(killRiders)[:killBatch] {
				record := gateway.Record{Anchor: today, AnchorMinute: uint16(1 + r.IntN(1439))}
				rows = append(rows, central.Row{Credential: riderNumber(i), Person: fmt.Sprint("p", i), Status: central.StatusOf(record)})
				s.changes[h.token(i)] = &record
				bound[i] = true
			}
			done, err = h.client.Import(context.WithoutCancel(ctx), rows)
		}
		if err != nil {
			return err
		}
		s.number = done.Number
		h.mu.Lock()
		h.steps = append(h.steps, s)
		h.mu.Unlock()
	}
	return nil
}

func (h *history) token(i int) gateway.Token {
	c, err := gateway.ParseCredential(riderNumber(i))
	if err != nil {
		panic(err) // a fault of this file
	}
	return h.tokens.Token(c)
}

func (h *history) last() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.steps) == 0 {
		return 0
	}
	return h.steps[len(h.steps)-1].number
}

// at returns the records that a box at number has to hold.
func (h *history) at(number uint64) map[gateway.Token]gateway.Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	records := map[gateway.Token]gateway.Record{}
	for _, s := range h.steps {
		if s.number > number {
			break
		}
		for token, record := range s.changes {
			if record == nil {
				delete(records, token)
			} else {
				records[token] = *record
			}
		}
	}
	return records
}

// onDisk opens the store that a killed box left and returns its position and
// records.
func onDisk(t *testing.T, dir string) (uint64, map[gateway.Token]gateway.Record) {
	t.Helper()
	s, err := cache.Open(dir, cache.Options{})
	if err != nil {
		t.Fatalf("the store after a kill: %v", err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	records := map[gateway.Token]gateway.Record{}
	err = s.Each(func(token gateway.Token, record gateway.Record) error {
		records[token] = record
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return s.Position().Number, records
}

// The promise of the whole box: kill -9 at any moment while updates flow, and
// it opens again, never behind what it had applied and never ahead of its
// data; at the end it holds what the centre holds.
func TestBoxKilledDuringUpdates(t *testing.T) {
	kills, look := 50, 5
	if testing.Short() || raceOn {
		kills, look = 8, 2
	}
	centre, client := startCentre(t)
	w := newWire(t)
	cfg := testConfig(t, "nats-leaf://"+centre.LeafAddr(), w)
	config := filepath.Join(t.TempDir(), "config.json")
	text, err := json.Marshal(cfg)
	if err == nil {
		err = os.WriteFile(config, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	done(t)(client.SetPolicy(t.Context(), gateway.DefaultPolicy(time.Now().Add(-24*time.Hour).Truncate(time.Second))))
	h := &history{t: t, client: client, tokens: gateway.NewTokenizer(testKey())}
	ctx, stopWriting := context.WithCancel(t.Context())
	defer stopWriting()
	wrote := make(chan error, 1)
	go func() { wrote <- h.write(ctx) }()

	begin, r := time.Now(), rand.New(rand.NewPCG(7, 8))
	reached, beforeUp, looks := uint64(0), 0, 0
	for n := range kills {
		p := startProcess(t, config)
		if n%4 != 0 { // else at any moment of its start
			for p.at <= reached && p.read() {
			}
		}
		p.kill(time.Duration(r.IntN(80)) * time.Millisecond)
		switch {
		case !p.opened:
			beforeUp++
		case p.at < reached:
			t.Fatalf("after kill %d the box is at %d; it had applied %d", n, p.at, reached)
		}
		reached = max(reached, p.at)
		if n%look != 0 {
			continue
		}
		looks++
		number, records := onDisk(t, cfg.CacheDir)
		if number < reached || number > centre.FeedNumber() {
			t.Fatalf("after kill %d the store is at %d; the box had applied %d, the feed ends at %d", n, number, reached, centre.FeedNumber())
		}
		until(t, "the batches up to there are known", func() bool { return h.last() > number || len(wrote) > 0 })
		if want := h.at(number); !maps.Equal(records, want) {
			t.Fatalf("after kill %d the store is at %d with %d records, not those of that entry, which are %d", n, number, len(records), len(want))
		}
	}
	took := time.Since(begin)
	stopWriting()
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	endEqual(t, w, startProcess(t, config), h, centre, cfg.CacheDir)
	t.Logf("%d kills in %v, %d of them before the box was up; %d batches, feed at %d; %d stores compared entry for entry, equal at the end",
		kills, took.Round(time.Millisecond), beforeUp, len(h.steps), centre.FeedNumber(), looks)
}

// endEqual lets the last box catch up and answer a tap, kills that one too, and
// compares all of its records with the centre's.
func endEqual(t *testing.T, w *wire, p *process, h *history, centre *central.Central, dir string) {
	t.Helper()
	for p.at < h.last() && p.read() {
	}
	want := map[gateway.Token]gateway.Record{}
	err := centre.Records(func(token gateway.Token, record gateway.Record) error {
		want[token] = record
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.lane(t, gateway.LaneAuto) // complete, with the next entry at the latest
	for i := range killRiders {
		if _, bound := want[h.token(i)]; bound {
			w.wants(t, riderNumber(i), gateway.VerdictPass, gateway.R00)
			break
		}
	}
	p.kill(0)
	number, records := onDisk(t, dir)
	if number < h.last() || len(records) == 0 || !maps.Equal(records, want) || !maps.Equal(records, h.at(number)) {
		t.Errorf("at the end the box is at %d with %d records, the centre at %d with %d", number, len(records), centre.FeedNumber(), len(want))
	}
	if stale, err := os.Lstat(filepath.Join(filepath.Dir(dir), "control.sock")); err != nil || !strings.Contains(stale.Mode().String(), "S") {
		t.Errorf("a killed box leaves its control socket, which each start has to replace: %v", err)
	}
}
