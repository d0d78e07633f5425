package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"gateline/cache"
	"gateline/gateway"
	"gateline/gateway/station"
)

// storeFound is what a box holds.
type storeFound struct {
	Epoch  string    `json:"epoch"` // zeros = it has never applied an entry
	Number uint64    `json:"number"`
	Time   time.Time `json:"time,omitzero"`
	Hash   string    `json:"hash"` // of the entry Number
	// Complete says that it has ever held all that the centre had (R24).
	Complete      bool      `json:"complete"`
	Keys          []keyFrom `json:"keys"`
	PolicyVersion uint64    `json:"policy_version,omitempty"`
	Records       uint64    `json:"records"` // of the shards that were looked at
	Loaded        int       `json:"loaded"`  // of gateway.Shards
	// Oldest and Newest are the least and the greatest number among the marks of
	// loaded shards: from which entry on changes were applied to what was loaded.
	Oldest uint64 `json:"oldest_mark"`
	Newest uint64 `json:"newest_mark"`
	// Sum is SHA-256 over the sums of all shards in their order; only where all
	// are loaded. Two copies with one Sum are the same.
	Sum     string       `json:"sum,omitempty"`
	Shards  []storeShard `json:"shards,omitempty"`
	Against *against     `json:"against,omitempty"`

	rows, one bool
	position  gateway.Position
}

// storeShard is one shard of a box.
type storeShard struct {
	Shard   int    `json:"shard"`
	Loaded  bool   `json:"loaded"`
	Mark    uint64 `json:"mark"`
	Records uint32 `json:"records"`
	Sum     string `json:"sum,omitempty"`
	// Centre is set with --against: "same", "differs", or "not comparable".
	Centre string `json:"centre,omitempty"`

	sum   gateway.ShardSum
	epoch uint64 // of the mark
}

func newInspectStore(i *inspection) *cobra.Command {
	var dir, shard, centre string
	c := &cobra.Command{
		Use:   "store",
		Short: "Show and prove what a stopped box holds",
		Long: "Opens the store of a stopped box as the box itself does, which checks it, and shows\n" +
			"where it stands. With --shard the sum of one shard, with --shard all of each: those\n" +
			"of two boxes at one entry are equal, and the first eight digits are enough to\n" +
			"compare on the phone. With --against the directory of a stopped centre, or a copy,\n" +
			"every sum is compared with the centre's at the same entry: the snapshot, and what\n" +
			"the feed changed since.",
		Args: cobra.NoArgs,
		RunE: i.run(func(cmd *cobra.Command, _ []string) (inspected, error) {
			var args []string
			if cmd.Flags().Changed("shard") {
				args = []string{shard}
			}
			ids, rows, err := shardsOf(args)
			if err != nil {
				return inspected{}, err
			}
			if len(i.keys) > 0 && centre == "" {
				return inspected{}, errUsage{errors.New("--feed-key is of use only with --against")}
			}
			found, err := lookStore(cmd, dir, ids)
			if err != nil {
				return inspected{}, err
			}
			found.rows, found.one = rows, len(ids) == 1
			if centre != "" {
				err = i.compareWith(cmd, found, centre)
			}
			text := found.text()
			if !rows {
				found.Shards = nil // thousands that nobody asked for
			}
			return inspected{Store: found, text: text}, err
		}),
	}
	c.Flags().StringVar(&dir, "dir", station.DefaultConfig().CacheDir, "directory of the box's store, [cache] dir")
	c.Flags().StringVar(&shard, "shard", "", "show this shard, 0 … 4095, or all")
	c.Flags().StringVar(&centre, "against", "", "compare with the centre whose directory this is")
	i.feedKeyFlag(c)
	return c
}

// checkStoreDir refuses a directory without a store, which cache.Open would make
// there, and the store of another user, to which root's files would be a fault.
func checkStoreDir(dir string, uid int) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("store of a box: %w; give the directory that [cache] dir names", err)
	}
	if st, known := info.Sys().(*syscall.Stat_t); known && uid == 0 && st.Uid != 0 {
		return fmt.Errorf("store of a box: %s belongs to user %d and is not opened as root, whose files that user could not write; run this as that user, with sudo -u '#%d'", dir, st.Uid, st.Uid)
	}
	if _, err := os.Stat(filepath.Join(dir, "badger")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("store of a box: %s: %w: there is no folder badger in it; give the directory that [cache] dir names", dir, cache.ErrForeign)
	}
	return nil
}

func lookStore(cmd *cobra.Command, dir string, ids []gateway.ShardID) (found *storeFound, err error) {
	if err := checkStoreDir(dir, os.Geteuid()); err != nil {
		return nil, err
	}
	store, err := cache.Open(dir, cache.Options{Log: newLog(cmd.ErrOrStderr())})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	at := store.Position()
	found = &storeFound{
		Epoch: epochText(at.Epoch), Number: at.Number, Hash: hashText(at.Hash), Complete: store.Usable(),
		Keys: []keyFrom{}, Loaded: store.Loaded(), position: at,
	}
	if at.Watermark != 0 {
		found.Time = at.Time().UTC()
	}
	for _, term := range store.Keys() {
		found.Keys = append(found.Keys, keyFrom{ID: term.Key.ID().String(), From: term.From})
	}
	if s := store.Schedule(); s != nil {
		found.PolicyVersion = s.Version
	}
	return found, found.lookShards(cmd, store, ids)
}

// lookShards reads the shards' marks and sums.
func (f *storeFound) lookShards(cmd *cobra.Command, store *cache.Store, ids []gateway.ShardID) error {
	marks := store.Marks()
	first := true
	for _, m := range marks {
		if !m.Loaded() {
			continue
		}
		if first || m.Number < f.Oldest {
			f.Oldest = m.Number
		}
		first = false
		f.Newest = max(f.Newest, m.Number)
	}
	progress := newProgress(cmd.ErrOrStderr(), "shards", int64(len(ids)))
	defer progress.end()
	all := sha256.New()
	for n, id := range ids {
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
		progress.show(progress.phase, n, len(ids))
		row := storeShard{Shard: int(id), Loaded: marks[id].Loaded(), Mark: marks[id].Number, epoch: marks[id].Epoch}
		if row.Loaded {
			var err error
			if row.sum, err = store.Sum(id); err != nil {
				return fmt.Errorf("sum of shard %d: %w", id, err)
			}
			if row.sum.Hash == (gateway.Hash{}) {
				return fmt.Errorf("shard %d holds something that is no record; the box loads it again by itself from the centre", id)
			}
			row.Records, row.Sum = row.sum.Records, hashText(row.sum.Hash)
			f.Records += uint64(row.Records)
			all.Write(row.sum.Hash[:])
		}
		f.Shards = append(f.Shards, row)
	}
	if f.Loaded == gateway.Shards && len(ids) == gateway.Shards {
		f.Sum = hashText(gateway.Hash(all.Sum(nil)))
	}
	return nil
}

func (f *storeFound) text() string {
	var b fields
	if f.rows && !f.one {
		fmt.Fprintf(&b, "%5s %12s %8s %-9s %s\n", "SHARD", "MARK", "RECORDS", "SUM", "CENTRE")
		for _, s := range f.Shards {
			if !s.Loaded {
				fmt.Fprintf(&b, "%5d not loaded\n", s.Shard)
				continue
			}
			fmt.Fprintf(&b, "%5d %12d %8d %-9s %s\n", s.Shard, s.Mark, s.Records, firstDigits(s.Sum), s.Centre)
		}
	}
	complete := "complete"
	if !f.Complete {
		complete = "never complete yet (R24)"
	}
	b.add("store", "entry %d of epoch %s, %s, %s", f.Number, f.Epoch, timeOrNone(f.Time), complete)
	b.add("hash", "%s of entry %d", f.Hash, f.Number)
	for _, k := range f.Keys {
		b.add("key", "%s from entry %d", k.ID, k.From)
	}
	if f.PolicyVersion == 0 {
		b.add("policy", "none")
	} else {
		b.add("policy", "version %d", f.PolicyVersion)
	}
	b.add("shards", "%d of %d loaded, marks from entry %d to %d", f.Loaded, gateway.Shards, f.Oldest, f.Newest)
	if f.one {
		f.Shards[0].text(&b)
	} else {
		b.add("records", "%d", f.Records)
	}
	if f.Sum != "" {
		b.add("sum", "%s of all shards", f.Sum)
	}
	f.Against.text(&b)
	return b.String()
}

func (s *storeShard) text(b *fields) {
	if !s.Loaded {
		b.add("shard", "%d is not loaded", s.Shard)
		return
	}
	b.add("shard", "%d, %d records, mark at entry %d", s.Shard, s.Records, s.Mark)
	b.add("sum", "%s of shard %d", s.Sum, s.Shard)
}
