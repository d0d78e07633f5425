package cache

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"gateline/gateway"
	"gateline/internal/badgerdir"
)

// ErrClosed is returned by every call after Close.
var ErrClosed = errors.New("cache is closed")

// Limits and defaults of Options.
const (
	DefaultMemTableSize = 16 << 20
	// MinMemTableSize holds the largest shard in one transaction, which may
	// take 15 % of a memtable.
	MinMemTableSize = 8 << 20
	// MaxMemTableSize bounds memory: Badger keeps up to six memtables.
	MaxMemTableSize = 256 << 20
	// DefaultMinFree leaves room for what Badger still writes in the
	// background after the last update that was let in.
	DefaultMinFree = 128 << 20
)

// Options of a Store. The zero Options are the defaults.
type Options struct {
	// Log receives Badger's warnings and errors; nil = none.
	Log *slog.Logger
	// Now is the clock that spaces the writing of heartbeats; nil = time.Now.
	Now func() time.Time
	// MemTableSize is the size of one of Badger's memtables in bytes,
	// MinMemTableSize … MaxMemTableSize; 0 = DefaultMemTableSize. A small one
	// costs nothing in lookups and keeps memory low.
	MemTableSize int64
	// MinFree is the free disk space in bytes below which Open and Apply
	// return ErrDiskFull; 0 = DefaultMinFree.
	MinFree int64

	// loadOps, if not 0, is the most writes in one transaction of a load, so that
	// a test need not load as much as fills one of Badger's.
	loadOps int
	// unfilled leaves the index to be filled by a test.
	unfilled bool
}

func (o *Options) complete() error {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MemTableSize == 0 {
		o.MemTableSize = DefaultMemTableSize
	}
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	if o.MemTableSize < MinMemTableSize || o.MemTableSize > MaxMemTableSize {
		return fmt.Errorf("cache memtable size: %d bytes, not %d … %d", o.MemTableSize, MinMemTableSize, MaxMemTableSize)
	}
	if o.MinFree < 0 {
		return fmt.Errorf("cache minimum free space: %d bytes is negative", o.MinFree)
	}
	return nil
}

// Store is an open store. Its methods are safe for concurrent use.
type Store struct {
	home *home
	db   *badger.DB
	log  *slog.Logger
	now  func() time.Time

	// reader serves every lookup. Badger calls a transaction unsafe for
	// concurrent use, yet in 4.9.6 Get on a read-only one in managed mode only
	// reads its fields; the race test guards an upgrade. A new transaction for
	// each lookup would cost an allocation and a long tail.
	reader *badger.Txn
	// readers is held shared by every lookup and taken only by Close, which
	// unmaps what lookups read. Apply never touches it.
	readers sync.RWMutex
	closed  atomic.Bool
	// index answers lookups of shards that are filled, which soon after Open are
	// all; until then what is stored does.
	index  *index
	filled shardSet

	position atomic.Pointer[gateway.Position]
	schedule atomic.Pointer[gateway.Schedule]
	terms    atomic.Pointer[[]gateway.KeyTerm]
	usable   atomic.Bool
	// loaded follows marks.
	loaded loadedShards
	// seals has the key in force; a purge replaces it.
	seals atomic.Pointer[sealer]
	// erased is what Erased returns, of purged what is finished.
	erased atomic.Pointer[gateway.Erasure]

	// mu guards all that follows and serialises writers. A scan holds it only
	// while it takes its snapshot.
	mu      sync.Mutex
	scans   sync.WaitGroup
	minFree int64
	loadOps int // of the options
	// version is the timestamp of the last commit; versions are ours to count
	// because the database is opened in managed mode.
	version uint64
	// savedAt is when the position was last written.
	savedAt time.Time
	// unsaved is true from the moment a heartbeat could not be written for
	// want of disk space until one could.
	unsaved bool
	// failed is the error of a commit that may have left half of itself in
	// memory. Nothing is written from then on.
	failed error
	// marks and held say what there is of each shard; unfilled counts those that
	// the index does not have whole yet.
	marks    []gateway.ShardMark
	held     []held
	unfilled int
	// step is the last step of the journal, firstStep the first that was not
	// removed, due what was applied and not folded for yet.
	step, firstStep uint64
	due             int
	purged          purgeState
	// tokens is room to look for duplicates in an update, reach for the changes
	// that reach their shards, room for the records of one.
	tokens []gateway.Token
	reach  []gateway.Change
	room   []gateway.Change
}

// Open opens the store in dir, or makes one where dir is absent or empty. A
// directory that it cannot take is left as it is; the error wraps ErrForeign,
// ErrInUse, ErrDiskFull, ErrFormat or ErrDamaged where one of them is the
// reason, names the path and says what to do next. Open reads the whole store
// once to check it. After ErrDamaged Badger may have left goroutines behind:
// the process is meant to end.
func Open(dir string, o Options) (*Store, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	h, err := openHome(dir, o.MinFree)
	if err != nil {
		return nil, err
	}
	db, err := badgerdir.Open(badgerOptions(h.badger(), &o), badger.OpenManaged)
	if err != nil {
		return nil, errors.Join(damaged(dir, err), h.close())
	}
	s := &Store{
		home: h, db: db, log: o.Log, now: o.Now, minFree: o.MinFree, loadOps: o.loadOps,
		reader:  db.NewTransactionAt(math.MaxUint64, false),
		version: db.MaxVersion(), savedAt: o.Now(),
		index: newIndex(arenaTop), unfilled: gateway.Shards,
	}
	db.SetDiscardTs(s.version)
	if err := s.load(); err != nil {
		return nil, errors.Join(damaged(dir, err), s.Close())
	}
	if !o.unfilled {
		s.fillIndex()
	}
	return s, nil
}

// load reads the feed's state, the marks and the journal into memory.
func (s *Store) load() error {
	var position gateway.Position
	b, err := s.get(keyPosition)
	if err == nil && b != nil {
		position, err = decodePosition(b)
	}
	if err != nil {
		return fmt.Errorf("feed position: %w", err)
	}
	s.position.Store(&position)
	if err := s.loadTerms(); err != nil {
		return fmt.Errorf("keys of the feed: %w", err)
	}
	if err := s.loadMarks(); err != nil {
		return err
	}
	if err := s.loadPurge(); err != nil {
		return err
	}
	if b, err = s.get(keyComplete); err != nil {
		return fmt.Errorf("complete flag: %w", err)
	}
	s.usable.Store(b != nil)
	b, err = s.get(keySchedule)
	if err == nil && b != nil {
		var schedule *gateway.Schedule
		schedule, err = gateway.DecodeSchedule(b)
		s.schedule.Store(schedule)
	}
	if err != nil {
		return fmt.Errorf("policy schedule: %w", err)
	}
	return s.replay()
}

// loadTerms reads the terms of the feed's keys.
func (s *Store) loadTerms() error {
	var terms []gateway.KeyTerm
	b, err := s.get(keyTerms)
	if err == nil && b != nil {
		terms, err = decodeTerms(b)
	}
	s.terms.Store(&terms)
	return err
}

// get returns a copy of the value of one of the box's own keys, nil if there
// is none. Own values are never empty.
func (s *Store) get(key string) ([]byte, error) {
	item, err := s.reader.Get([]byte(key))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return item.ValueCopy(nil)
}

// Lookup implements gateway.Directory. It takes no lock that Apply takes, so
// an update never holds a gate up. Amid an Apply it may see some of its changes
// before the others, each of them whole. Where the token's shard is not loaded
// the error is ErrNotLoaded. No error shows the token.
func (s *Store) Lookup(t gateway.Token) (gateway.Record, bool, error) {
	if !s.loaded.all.Load() || !s.index.ready.Load() {
		id := gateway.ShardOf(t)
		if !s.loaded.has(id) {
			return gateway.Record{}, false, ErrNotLoaded
		}
		if !s.index.ready.Load() && !s.filled.has(id) {
			return s.lookupEarly(t)
		}
	}
	record, known := s.index.lookup(t)
	if s.closed.Load() { // after: Close empties the index
		return gateway.Record{}, false, ErrClosed
	}
	return record, known, nil
}

// Position returns the place in the feed up to which everything is applied. It
// may be ahead of the one on disk by heartbeats, which carry no data.
func (s *Store) Position() gateway.Position { return *s.position.Load() }

// Records returns how many records there are; ok is false while the index is
// still being filled.
func (s *Store) Records() (n int, ok bool) { return s.index.records(), s.index.ready.Load() }

// IndexBytes returns how much memory the index has in bytes. It is none of Go's heap, so
// the runtime's limit does not count it.
func (s *Store) IndexBytes() int64 { return int64(s.index.bytes()) }

// Failed returns why nothing is applied any more until the box is started
// again, nil while all is well. Lookups go on.
func (s *Store) Failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Keys returns the terms of the feed's keys as the last update that had any gave
// them, none if there was none. They are shared: the caller does not change
// them.
func (s *Store) Keys() []gateway.KeyTerm { return *s.terms.Load() }

// Usable reports whether an update with Complete was ever applied: until then
// an absent record means nothing (R24).
func (s *Store) Usable() bool { return s.usable.Load() }

// Schedule returns the last schedule applied, nil if there is none. It is
// shared: the caller does not change it.
func (s *Store) Schedule() *gateway.Schedule { return s.schedule.Load() }

// Close waits for lookups and updates that are under way, ends scans with
// ErrClosed, writes out what Badger holds in memory and releases the
// directory. It is idempotent and must not be called from inside Each.
func (s *Store) Close() error {
	s.mu.Lock()
	first := !s.closed.Swap(true)
	s.mu.Unlock()
	if !first {
		return nil
	}
	s.scans.Wait()
	s.readers.Lock()
	defer s.readers.Unlock()
	s.reader.Discard()
	s.index.drop()
	err := s.db.Close()
	if err != nil {
		err = fmt.Errorf("close cache directory %s: %w; what was applied is on the disk, start the box again", s.home.path, err)
	}
	return errors.Join(err, s.home.close())
}
