package cache

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"gateline/gateway"
)

// Each calls fn for every record in the order of the tokens, as the store is
// between two updates at the moment of the call; records of shards that are not
// loaded mean nothing and are left out. Updates go on meanwhile. It
// returns the first error of fn, or ErrClosed once Close is called. fn may use
// the store but not close it.
func (s *Store) Each(fn func(gateway.Token, gateway.Record) error) error {
	it, done, err := s.snapshot()
	if err != nil {
		return err
	}
	defer done()
	for it.Rewind(); it.Valid(); it.Next() {
		if s.closed.Load() {
			return ErrClosed
		}
		token, record, err := decodeItem(it.Item())
		if err != nil {
			return damaged(s.home.path, err)
		}
		if !s.loaded.has(token) {
			continue
		}
		if err := fn(token, record); err != nil {
			return err
		}
	}
	return nil
}

// snapshot returns an iterator over the records. It holds references to every
// table it needs, so that what is discarded later is still there for it; that
// nothing is discarded before it does is what mu is for.
func (s *Store) snapshot() (it *badger.Iterator, done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, nil, ErrClosed
	}
	it, done = s.iterate()
	return it, done, nil
}

// iterate is snapshot for who holds mu.
func (s *Store) iterate() (it *badger.Iterator, done func()) {
	txn := s.db.NewTransactionAt(s.version, false)
	opt := badger.DefaultIteratorOptions
	opt.PrefetchValues = false // values lie beside their keys
	opt.Prefix = []byte{spaceRecord}
	it = txn.NewIterator(opt)
	s.scans.Add(1)
	return it, func() {
		it.Close()
		txn.Discard()
		s.scans.Done()
	}
}

func decodeItem(item *badger.Item) (token gateway.Token, record gateway.Record, err error) {
	if token, err = tokenOf(item.Key()); err != nil {
		return 0, gateway.Record{}, err
	}
	err = item.Value(func(v []byte) (err error) {
		record, err = gateway.DecodeRecord(v)
		return err
	})
	if err != nil {
		err = fmt.Errorf("read a record: %w", err)
	}
	return token, record, err
}
