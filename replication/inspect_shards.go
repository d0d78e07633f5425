package replication

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"gateline/gateway"
)

// StoredShards is the stream of shards of a centre that is stopped.
type StoredShards struct {
	// Epoch is that of the feed they belong to.
	Epoch uint64
	last  map[string]place // the last message of each subject
}

// Shards finds the last message of each subject; their contents are read when
// they are asked for. The error wraps ErrNoStreams where there is no such stream.
func (s *Streams) Shards() (*StoredShards, error) {
	c, err := s.config(StreamShards)
	if err != nil {
		return nil, err
	}
	x := &StoredShards{last: map[string]place{}}
	if x.Epoch, err = strconv.ParseUint(c.Metadata[metadataEpoch], 16, 64); err != nil || x.Epoch == 0 {
		return nil, fmt.Errorf("%w: stream %s has no epoch", ErrNoStreams, StreamShards)
	}
	err = s.walk(StreamShards, 0, func(r *record, at place) error {
		x.last[r.subject] = at // sequences grow
		return nil
	})
	return x, err
}

// read returns the last message of a subject; the error wraps ErrNoSnapshot if
// there is none.
func (x *StoredShards) read(subject string) ([]byte, error) {
	at, there := x.last[subject]
	if !there {
		return nil, ErrNoSnapshot
	}
	f, err := os.Open(at.path)
	if err != nil {
		return nil, fmt.Errorf("read a file of stream %s: %w; check the disk", StreamShards, err)
	}
	defer f.Close() // nothing was written
	b := make([]byte, at.size)
	if _, err := f.ReadAt(b, at.offset); err != nil {
		return nil, fmt.Errorf("read a file of stream %s: %w; check the disk", StreamShards, err)
	}
	r, _, err := readRecord(b)
	return r.data, err
}

// Snapshot reads the snapshot of a shard and compares its sum; size is that of
// the message in bytes. The signature is for Audit. The error wraps
// ErrNoSnapshot where there is none, ErrShard where it is none of that shard.
func (x *StoredShards) Snapshot(id gateway.ShardID) (s Snapshot, size int, err error) {
	b, err := x.read(subjectOfShard(id))
	if err == nil {
		s, err = DecodeSnapshot(b)
	}
	if err == nil && s.Shard.ID != id {
		err = fmt.Errorf("%w: it is that of shard %d", ErrShard, s.Shard.ID)
	}
	if err != nil {
		return Snapshot{}, 0, fmt.Errorf("snapshot of shard %d: %w", id, err)
	}
	return s, len(b), nil
}

// Head reads the head of the shards. Errors are as in Snapshot.
func (x *StoredShards) Head() (Head, error) {
	b, err := x.read(subjectHead)
	var h Head
	if err == nil {
		h, err = DecodeHead(b)
	}
	if err != nil {
		return Head{}, fmt.Errorf("head of the shards: %w", err)
	}
	return h, nil
}

// Announced reads the entries that announced keys, in no order. The error wraps
// ErrEntry where one is none.
func (x *StoredShards) Announced() ([]Signed, error) {
	var all []Signed
	for subject := range x.last {
		digits, is := strings.CutPrefix(subject, subjectKeys)
		if !is {
			continue
		}
		b, err := x.read(subject)
		var e Signed
		if err == nil {
			e, err = DecodeEntry(b)
		}
		if err == nil && (subject != subjectOfKey(e.Number) || e.NextKey == (gateway.FeedKey{})) {
			err = errors.New("it is not the entry it is stored as")
		}
		if err != nil {
			return nil, fmt.Errorf("announcement of a key at entry %s: %w", digits, err)
		}
		all = append(all, e)
	}
	return all, nil
}
