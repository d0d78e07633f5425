package main

import (
	"errors"

	"gateline/cache"
	"gateline/gateway"
)

// cacheEpoch is the feed's life that the records come from.
const cacheEpoch = 1

func cachePeer() peer {
	return peer{
		name:  "Gateline",
		about: "gateline/cache with its defaults; an index in memory over Badger, synced",
		load:  loadCache,
		open:  openCache,
		// As in a box: lookups touch none of Go's heap.
		collect: 100,
	}
}

func cacheAt(number uint64) gateway.Position {
	return gateway.Position{Epoch: cacheEpoch, Number: number, Watermark: int64(number)}
}

// loadWindow is how many shards the follower of a feed loads at a time.
const loadWindow = 64

func loadCache(dir string, _ int, s *source) (err error) {
	c, err := cache.Open(dir, cache.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	at := cacheAt(1)
	it, more := s.next()
	for first := 0; first < gateway.Shards; first += loadWindow {
		var l gateway.Load
		for id := first; id < first+loadWindow; id++ {
			shard := gateway.Shard{ID: gateway.ShardID(id), At: at}
			for ; more && gateway.ShardOf(gateway.Token(it.token)) == shard.ID; it, more = s.next() {
				shard.Records = append(shard.Records, changeOf(it))
			}
			l.Shards = append(l.Shards, shard)
		}
		if first+loadWindow == gateway.Shards {
			l.To = &at
		}
		if err := c.Load(l); err != nil {
			return err
		}
	}
	return nil
}

func changeOf(it item) gateway.Change {
	return gateway.Change{Token: gateway.Token(it.token), Record: recordOf(it.value)}
}

// cacheStore is ours.
type cacheStore struct {
	c       *cache.Store
	number  uint64
	changes []gateway.Change
}

func openCache(dir string, _ int) (store, error) {
	c, err := cache.Open(dir, cache.Options{})
	if err != nil {
		return nil, err
	}
	return &cacheStore{c: c, number: c.Position().Number}, nil
}

func (s *cacheStore) lookup(token uint64) (uint64, bool, error) {
	r, found, err := s.c.Lookup(gateway.Token(token))
	return valueIn(r), found, err
}

func (s *cacheStore) update(items []item) error {
	s.changes = s.changes[:0]
	for _, it := range items {
		s.changes = append(s.changes, changeOf(it))
	}
	s.number++
	return s.c.Apply(gateway.Update{To: cacheAt(s.number), Changes: s.changes})
}

func (s *cacheStore) settled() bool {
	_, filled := s.c.Records()
	return filled
}

func (s *cacheStore) close() error { return s.c.Close() }
