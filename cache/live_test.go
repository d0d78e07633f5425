package cache

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gateline/gateway"
)

func TestLookupsAndScansDuringApply(t *testing.T) {
	s := open(t, t.TempDir(), testOptions())
	// Each update gives all of these tokens the same minute.
	const tokens = 500
	update := func(n uint64) gateway.Update {
		u := gateway.Update{To: at(n)}
		for i := range tokens {
			u.Changes = append(u.Changes, gateway.Change{Token: tokenAt(i), Record: gateway.Record{Anchor: 1, AnchorMinute: uint16(n)}})
		}
		return u
	}
	apply(t, s, update(1))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			newest := uint16(1)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				floor := uint16(s.Position().Number)
				r, ok, err := s.Lookup(tokenAt(i % tokens))
				if err != nil || !ok || r.AnchorMinute < floor {
					t.Errorf("known %v, minute %d, err %v; the position said %d", ok, r.AnchorMinute, err, floor)
					return
				}
				newest = max(newest, r.AnchorMinute)
			}
		})
	}
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			seen := map[uint16]int{}
			err := s.Each(func(_ gateway.Token, r gateway.Record) error { seen[r.AnchorMinute]++; return nil })
			if err != nil || len(seen) != 1 {
				t.Errorf("a scan saw %d updates at once, err %v", len(seen), err)
				return
			}
		}
	})
	for n := uint64(2); n <= 80; n++ {
		apply(t, s, update(n))
	}
	close(stop)
	readers.Wait()
}

func TestClose(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	apply(t, s, updateOf(1))
	scanning, closed := make(chan struct{}), make(chan struct{})
	var work sync.WaitGroup
	work.Go(func() {
		err := s.Each(func(gateway.Token, gateway.Record) error {
			close(scanning)
			for !s.closed.Load() {
				runtime.Gosched()
			}
			select {
			case <-closed:
				t.Error("Close did not wait for a scan")
			case <-time.After(200 * time.Millisecond):
			}
			return nil
		})
		if !errors.Is(err, ErrClosed) {
			t.Errorf("a scan that Close ended: %v", err)
		}
	})
	for range 4 {
		work.Go(func() {
			for {
				if _, _, err := s.Lookup(1); err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	<-scanning
	closeStore(t, s)
	close(closed)
	closeStore(t, s) // idempotent
	work.Wait()
	_, _, err := s.Lookup(1)
	wantErr(t, err, ErrClosed)
	wantErr(t, s.Apply(updateOf(2)), ErrClosed)
	wantErr(t, s.Each(nil), ErrClosed)
	wantErr(t, s.SaveLocal("a", []byte("b")), ErrClosed)
	_, err = s.LoadLocal("a")
	wantErr(t, err, ErrClosed)
	if s.Position() != at(1) {
		t.Error("the position is gone")
	}
	closeStore(t, open(t, dir, testOptions())) // the directory is free again
}

// Once every shard was summed, a compaction leaves neither a deleted record nor
// its deletion.
func TestDeletedRecordsLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, testOptions())
	put, remove := gateway.Update{To: at(1)}, gateway.Update{To: at(2)}
	for i := range 300 {
		put.Changes = append(put.Changes, gateway.Change{Token: tokenAt(i)})
		remove.Changes = append(remove.Changes, gateway.Change{Token: tokenAt(i), Delete: true})
	}
	apply(t, s, put)
	apply(t, s, remove)
	for _, id := range allIDs() {
		if _, err := s.Sum(id); err != nil {
			t.Fatal(err)
		}
	}
	for range newTables + 1 { // each brings a table; with so many there is something to compact
		if err := s.SaveLocal("other", []byte("x")); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
		s = open(t, dir, testOptions())
	}
	if err := s.db.Flatten(2); err != nil {
		t.Fatal(err)
	}
	if values, steps := versions(s, spaceShard), versions(s, spaceStep); values != 0 || steps != 0 {
		t.Fatalf("%d versions of shards that are empty and %d steps of the journal are left", values, steps)
	}
}

// What an update replaces is dropped while the store is open, too.
func TestReplacedVersionsAreDropped(t *testing.T) {
	s := open(t, t.TempDir(), testOptions())
	value := make([]byte, MaxLocalValue)
	const writes = (newTables + 2) * MinMemTableSize / MaxLocalValue // fills so many memtables
	for i := range writes {
		value[0] = byte(i)
		if err := s.SaveLocal("switch", value); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.db.Flatten(2); err != nil {
		t.Fatal(err)
	}
	if got := versions(s, spaceLocal); got > writes/2 {
		t.Fatalf("%d of %d versions of one setting are left", got, writes)
	}
}

// versions counts every version of every key of a space.
func versions(s *Store, space byte) (n int) {
	txn := s.db.NewTransactionAt(1<<64-1, false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{AllVersions: true, Prefix: []byte{space}})
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		n++
	}
	return n
}
