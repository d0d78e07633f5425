package station

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/cache"
	"gateline/central"
	"gateline/gateway"
	"gateline/internal/linkkey"
	"gateline/replication"
)

type records = map[gateway.Token]gateway.Record

// look is what the store of a killed box held.
type look struct {
	position gateway.Position
	records  records
}

// look reads the store of a box that was killed. It reads a copy: the next life
// starts from what the kill left.
func (tr *trial) look() {
	tr.t.Helper()
	if _, err := os.Lstat(tr.setup.Box.CacheDir); err != nil {
		return // killed before it made one
	}
	dir := filepath.Join(tr.dir, "copy")
	err := os.CopyFS(dir, os.DirFS(tr.setup.Box.CacheDir))
	if err != nil {
		tr.t.Fatal(err)
	}
	tr.looks = append(tr.looks, lookAt(tr.t, dir))
	if err := os.RemoveAll(dir); err != nil {
		tr.t.Fatal(err)
	}
}

func lookAt(t *testing.T, dir string) look {
	t.Helper()
	s, err := cache.Open(dir, cache.Options{})
	if err != nil {
		t.Fatalf("the store after a kill: %v", err)
	}
	l := look{position: s.Position(), records: records{}}
	err = s.Each(func(token gateway.Token, record gateway.Record) error {
		l.records[token] = record
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return l
}

// feed is what the centre's streams hold.
type feed struct {
	entries []replication.Signed // entry n at n-1
	changed []uint64             // the numbers of those with changes
	ledger  uint64               // messages
	policy  int                  // entries with a schedule
}

// check ends the trial: the centre is told to accept no more and to write down its
// records, the box catches up and is killed, and everything is compared. It returns
// the figures.
func (tr *trial) check() string {
	tr.t.Helper()
	if _, err := tr.running[partCentre].stdin.Write([]byte("\n")); err != nil {
		tr.t.Fatal(err)
	}
	tr.until("the centre has written its records", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.written
	})
	f := tr.readFeed()
	last := f.changed[len(f.changed)-1]
	tr.until("the box has applied the last command", func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return tr.applied() >= last
	})
	tr.kill(partBox)
	f = tr.readFeed() // with the heartbeats since
	for _, which := range []part{partCentre, partServer} {
		tr.kill(which)
	}
	for _, fault := range tr.faults {
		tr.t.Error(fault)
	}
	end := lookAt(tr.t, tr.setup.Box.CacheDir)
	f.checkChain(tr.t)
	held := f.checkCommands(tr, append(tr.looks, end))
	if registry := tr.registry(); len(held) == 0 || !maps.Equal(registry, held) || !maps.Equal(end.records, registry) {
		tr.t.Errorf("at the end the centre has %d records, the box %d, and the commands make %d; they are not the same", len(registry), len(end.records), len(held))
	}
	c := f.checkLives(tr)
	return fmt.Sprintf("%d commands, %d entries, %d of them with changes, once each; %d stores of a killed box looked at, each as its position says; "+
		"%d lives of the box, %d entries that it had on the disk and had not told of, %d refused, %d shards compared with the centre's, all the same; the centre opened its streams anew %d times %q; %d records at the end, equal",
		len(f.changed), len(f.entries), len(f.changed), len(tr.looks), len(tr.lives), c.unheard, c.refused, c.verified, len(tr.ended), tr.ended, len(end.records))
}

// readFeed reads the feed from the server's streams.
func (tr *trial) readFeed() *feed {
	tr.t.Helper()
	link, err := linkkey.Read(tr.setup.LinkFile)
	if err != nil {
		tr.t.Fatal(err)
	}
	auth, err := link.NATSOptions()
	if err != nil {
		tr.t.Fatal(err)
	}
	conn, err := nats.Connect(tr.setup.URL, auth...)
	if err != nil {
		tr.t.Fatal(err)
	}
	defer conn.Close()
	f, err := readStreams(tr.t.Context(), conn)
	if err != nil {
		tr.t.Fatal(err)
	}
	return f
}

func readStreams(ctx context.Context, conn *nats.Conn) (*feed, error) {
	f := &feed{}
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	ledger, err := js.Stream(ctx, central.StreamLedger)
	if err != nil {
		return nil, err
	}
	f.ledger = ledger.CachedInfo().State.LastSeq
	stream, err := js.Stream(ctx, replication.StreamFeed)
	if err != nil {
		return nil, err
	}
	for n := uint64(1); n <= stream.CachedInfo().State.LastSeq; n++ {
		message, err := stream.GetMsg(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", n, err)
		}
		e, err := replication.DecodeEntry(message.Data)
		if err != nil {
			return nil, fmt.Errorf("entry %d: %w", n, err)
		}
		f.entries = append(f.entries, e)
		if len(e.Changes) > 0 {
			f.changed = append(f.changed, n)
		}
		if e.Schedule != nil {
			f.policy++
		}
	}
	return f, nil
}

// checkChain: each entry in its place, signed, and following the one before.
func (f *feed) checkChain(t *testing.T) {
	t.Helper()
	var before gateway.Hash
	for i := range f.entries {
		e := &f.entries[i]
		if e.Number != uint64(i+1) || e.Before != before || e.Epoch != f.entries[0].Epoch || !e.Verify(testFeedSecret.Public()) {
			t.Errorf("entry %d at place %d does not follow the one before", e.Number, i+1)
		}
		before = e.Hash
	}
}

// checkCommands: the entries with changes are the commands, each once and in order,
// and so are the messages of the ledger; every answer named the entry of its command;
// and each store that was looked at holds what the commands up to its position make,
// no more and no less. It returns what all of them make.
func (f *feed) checkCommands(tr *trial, looks []look) records {
	t := tr.t
	t.Helper()
	slices.SortFunc(looks, func(a, b look) int { return int(a.position.Number) - int(b.position.Number) })
	held, tokens := records{}, gateway.NewTokenizer(testKey())
	checkUpTo := func(entry uint64) {
		for len(looks) > 0 && looks[0].position.Number < entry {
			if l := looks[0]; !maps.Equal(l.records, held) {
				t.Errorf("a store at entry %d holds %d records, not those that the commands up to there make, which are %d", l.position.Number, len(l.records), len(held))
			}
			looks = looks[1:]
		}
	}
	for _, l := range looks {
		if n := l.position.Number; n > uint64(len(f.entries)) || n > 0 && f.entries[n-1].Hash != l.position.Hash {
			t.Errorf("a store is at entry %d with a hash that is not that entry's; the feed ends at %d", n, len(f.entries))
		}
	}
	for i, number := range f.changed {
		checkUpTo(number)
		changes := changesOf(t.Fatal, tokens, held, planned(tr.setup.Seed, i+1))
		e := &f.entries[number-1]
		if len(e.Changes) != len(changes) || slices.ContainsFunc(e.Changes, func(c gateway.Change) bool { want, is := changes[c.Token]; return !is || want != c }) {
			t.Fatalf("entry %d is the %dth with changes and does not hold those of command %d", number, i+1, i+1)
		}
		for token, c := range changes {
			if held[token] = c.Record; c.Delete {
				delete(held, token)
			}
		}
	}
	checkUpTo(uint64(len(f.entries)) + 1)
	if want := uint64(len(f.changed) + f.policy); f.ledger != want {
		t.Errorf("the ledger has %d messages, not the %d of which the feed has entries", f.ledger, want)
	}
	f.checkAnswers(tr)
	return held
}

// checkAnswers: every command up to the last was answered once, and with the entry
// that it is in, unless it was asked again and changed nothing more.
func (f *feed) checkAnswers(tr *trial) {
	for i, a := range tr.acks {
		var own uint64 // 0 = the policy
		if a.n > 0 && a.n <= len(f.changed) {
			own = f.changed[a.n-1]
		}
		switch {
		case a.n != i || a.n > len(f.changed):
			tr.t.Errorf("answer %d is to command %d, and the feed has %d", i, a.n, len(f.changed))
		case a.n > 0 && (a.changed > 0 && a.number != own || a.number > 0 && a.number < own):
			tr.t.Errorf("command %d is in entry %d; its answer named entry %d", a.n, own, a.number)
		}
	}
	if len(tr.acks) != len(f.changed)+1 {
		tr.t.Errorf("%d commands were answered, the feed has %d", len(tr.acks)-1, len(f.changed))
	}
}

// changesOf returns what a command changes where the records are held.
func changesOf(fatal func(...any), tokens *gateway.Tokenizer, held records, p plan) map[gateway.Token]gateway.Change {
	changes := map[gateway.Token]gateway.Change{}
	token := func(text string) gateway.Token {
		c, err := gateway.ParseCredential(text)
		if err != nil {
			fatal(err)
		}
		return tokens.Token(c)
	}
	if p.unbind != "" {
		gone := token(p.unbind)
		changes[gone] = gateway.Change{Token: gone, Delete: true}
	}
	for i, row := range p.rows {
		c := gateway.Change{Token: token(row.Credential), Record: p.records[i]}
		if now, bound := held[c.Token]; !bound || now != c.Record {
			changes[c.Token] = c
		}
	}
	return changes
}

// lifeCounts are those of all lives of the box.
type lifeCounts struct {
	unheard  int // entries that the store had and no life told of
	refused  int // entries and answers
	verified int // shards that agreed with the centre's
}

// sharing is how many entries at most are stored and told of together.
const sharing = 1024

// checkLives holds what the box said of itself against the feed. In one life it
// applies every entry with changes after the position it opened at, in order, none
// left out and none twice. It opens where the life before ended: at the last entry
// that one told of, at a later one, where it was killed between the store's answer and
// the word (entries that come together share both), or among entries without changes
// that follow. Its
// shards agree with the centre's all along, so that none is mended on the quiet.
func (f *feed) checkLives(tr *trial) (c lifeCounts) {
	told := uint64(0) // the last entry with changes that any life told of
	hash := func(n uint64) string {
		switch {
		case n == 0:
			return hex.EncodeToString(make([]byte, len(gateway.Hash{})))
		case n > uint64(len(f.entries)):
			return "none"
		}
		return hex.EncodeToString(f.entries[n-1].Hash[:])
	}
	for i, l := range tr.lives {
		opened := l.opened.number
		from, _ := slices.BinarySearch(f.changed, told+1)
		to, _ := slices.BinarySearch(f.changed, opened+1)
		if opened < told || to-from > sharing || l.opened.hash != hash(opened) {
			tr.t.Errorf("life %d of the box opened at entry %d, the lives before had told of entry %d: %d with changes in between", i, opened, told, to-from)
		}
		c.unheard += to - from
		for j, at := range l.at {
			if to+j >= len(f.changed) || at.number != f.changed[to+j] || at.hash != hash(at.number) {
				tr.t.Fatalf("life %d of the box opened at entry %d and applied %d as its %dth with changes; that is not the next", i, opened, at.number, j+1)
			}
			told = at.number
		}
		told = max(told, opened)
		c.refused, c.verified = c.refused+l.refused, c.verified+l.verified
		if l.reloads != 0 || l.mismatches != 0 {
			tr.t.Errorf("life %d of the box loaded all shards anew %d times and found %d that differ", i, l.reloads, l.mismatches)
		}
	}
	if c.verified == 0 {
		tr.t.Error("the box has compared no shard with the centre's")
	}
	return c
}

// registry reads what the centre wrote down at the end.
func (tr *trial) registry() records {
	tr.t.Helper()
	text, err := os.ReadFile(tr.setup.Records)
	if err != nil {
		tr.t.Fatal(err)
	}
	all := records{}
	for line := range strings.Lines(string(text)) {
		var token uint64
		var b []byte
		_, err := fmt.Sscanf(line, "%d %x\n", &token, &b)
		if err == nil {
			all[gateway.Token(token)], err = gateway.DecodeRecord(b)
		}
		if err != nil {
			tr.t.Fatal(err)
		}
	}
	return all
}
