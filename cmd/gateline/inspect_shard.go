package main

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"gateline/gateway"
	"gateline/replication"
)

// shardsFound is what stands in the stream of shards.
type shardsFound struct {
	Epoch   string     `json:"epoch"`
	Head    *headFound `json:"head,omitempty"`
	Written int        `json:"written"` // of gateway.Shards
	Records uint64     `json:"records"`
	Bytes   uint64     `json:"bytes"`
	// Oldest and Newest are the numbers of entries at which snapshots were made.
	Oldest      uint64    `json:"oldest"`
	OldestShard int       `json:"oldest_shard"`
	OldestTime  time.Time `json:"oldest_time,omitzero"`
	Newest      uint64    `json:"newest"`
	Signatures  proofs    `json:"signatures"`
	InFeed      int       `json:"in_feed"` // whose entry is in the feed, with this hash
	Expired     int       `json:"expired"` // whose entry is no longer there
	Faults      int       `json:"faults"`
	// Shards are those that were asked for, or those with a fault.
	Shards []shardFound `json:"shards,omitempty"`
	Notes  []string     `json:"notes,omitempty"`

	rows bool // show each
}

type headFound struct {
	Number    uint64    `json:"number"`
	Time      time.Time `json:"time,omitzero"`
	Key       string    `json:"key"`
	Signature string    `json:"signature"`
	// Complete says that every shard has a snapshot signed with Key.
	Complete      bool   `json:"complete"`
	PolicyVersion uint64 `json:"policy_version,omitempty"`
	PolicyAt      uint64 `json:"policy_at,omitempty"` // number of the entry that set it
}

// shardFound is one snapshot.
type shardFound struct {
	Shard     int       `json:"shard"`
	Number    uint64    `json:"number"`
	Time      time.Time `json:"time,omitzero"`
	Records   int       `json:"records"`
	Bytes     int       `json:"bytes"`
	Key       string    `json:"key"`
	Signature string    `json:"signature"`
	Sum       string    `json:"sum"`
	// Feed is "same" where the feed has an entry of this number and hash, else
	// "expired"; "wrong" is a fault.
	Feed  string `json:"feed,omitempty"`
	Fault string `json:"fault,omitempty"`

	at gateway.Position
}

func newInspectShard(i *inspection) *cobra.Command {
	var dir string
	c := &cobra.Command{
		Use:   "shard [N|all]",
		Short: "Verify the snapshots of a stopped centre",
		Long: "Verifies each snapshot of a stopped centre: form, sum, key, signature, and whether\n" +
			"the feed has the entry it was made at, with the same hash. Shows what they come to;\n" +
			"with a shard, 0 … 4095, that one; with all, a line for each.",
		Args: cobra.MaximumNArgs(1),
		RunE: i.run(func(cmd *cobra.Command, args []string) (inspected, error) {
			ids, rows, err := shardsOf(args)
			if err != nil {
				return inspected{}, err
			}
			c, err := i.openCentre(dir)
			if err != nil {
				return inspected{}, err
			}
			defer c.Close() // nothing was written
			if c.shards == nil {
				return inspected{}, fmt.Errorf("%s; a centre writes them within minutes of its first start", c.notes[0])
			}
			found := &shardsFound{Epoch: epochText(c.info.Epoch), Notes: c.notes, rows: rows}
			err = faultNext(found.look(cmd, c, ids))
			if !rows {
				found.Shards = slices.DeleteFunc(found.Shards, func(r shardFound) bool { return r.Fault == "" })
			}
			return inspected{Shards: found, text: found.text(len(ids))}, err
		}),
	}
	centreDirFlag(c, &dir)
	i.feedKeyFlag(c)
	return c
}

// shardsOf reads the one argument: a shard, all, or nothing for all in a few
// lines.
func shardsOf(args []string) (ids []gateway.ShardID, rows bool, err error) {
	if len(args) == 1 && args[0] != "all" {
		id, err := parseShard(args[0])
		return []gateway.ShardID{id}, true, err
	}
	for id := range gateway.ShardID(gateway.Shards) {
		ids = append(ids, id)
	}
	return ids, len(args) == 1, nil
}

// look verifies the head and these shards and returns the first fault.
func (f *shardsFound) look(cmd *cobra.Command, c *centreFiles, ids []gateway.ShardID) error {
	var first error
	fault := func(err error) {
		f.Faults++
		if first == nil {
			first = err
		}
	}
	if err := f.lookHead(c); errors.Is(err, replication.ErrNotGiven) {
		return err // as it would be of every shard
	} else if err != nil {
		fault(err)
	}
	progress := newProgress(cmd.ErrOrStderr(), "shards", int64(len(ids)))
	defer progress.end()
	for n, id := range ids {
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
		progress.show(progress.phase, n, len(ids))
		s, bytes, err := c.shards.Snapshot(id)
		if errors.Is(err, replication.ErrNoSnapshot) {
			continue
		}
		row := shardFound{Shard: int(id)}
		if err == nil {
			err = row.fill(c, &s, bytes, &f.Signatures)
		}
		if err != nil {
			row.Fault = err.Error()
			fault(err)
		} else {
			f.add(&row)
		}
		f.Shards = append(f.Shards, row)
	}
	if err := f.compare(cmd, c); err != nil {
		fault(err)
	}
	if f.Head != nil && f.Head.Complete && len(f.Shards) < len(ids) {
		fault(fmt.Errorf("the head says that every shard has a snapshot, and %d of %d have none", len(ids)-len(f.Shards), len(ids)))
	}
	return first
}

func (f *shardsFound) lookHead(c *centreFiles) error {
	h, err := c.shards.Head()
	if errors.Is(err, replication.ErrNoSnapshot) {
		f.Notes = append(f.Notes, "the shards have no head yet")
		return nil
	}
	if err != nil {
		return err
	}
	f.Head = &headFound{Number: h.At.Number, Key: h.Signer.String(), Signature: "wrong", Complete: h.Complete, PolicyAt: h.ScheduleAt}
	if h.At.Watermark != 0 {
		f.Head.Time = h.At.Time().UTC()
	}
	if h.Schedule != nil {
		f.Head.PolicyVersion = h.Schedule.Version
	}
	proof, err := c.audit.Head(&h)
	if err == nil {
		f.Head.Signature = proof.String()
	}
	return err
}

// fill describes a snapshot and verifies its signature.
func (r *shardFound) fill(c *centreFiles, s *replication.Snapshot, bytes int, signatures *proofs) error {
	r.at = s.Shard.At
	r.Number, r.Records, r.Bytes = r.at.Number, len(s.Shard.Records), bytes
	if r.at.Watermark != 0 {
		r.Time = r.at.Time().UTC()
	}
	r.Key, r.Signature, r.Sum = s.Signer.String(), "wrong", hashText(s.Sum.Hash)
	proof, err := c.audit.Snapshot(s)
	if err == nil {
		r.Signature = proof.String()
		signatures.add(proof)
	}
	return err
}

// add counts a snapshot that is right.
func (f *shardsFound) add(r *shardFound) {
	if f.Written == 0 || r.Number < f.Oldest {
		f.Oldest, f.OldestShard, f.OldestTime = r.Number, r.Shard, r.Time
	}
	f.Written++
	f.Newest = max(f.Newest, r.Number)
	f.Records += uint64(r.Records)
	f.Bytes += uint64(r.Bytes)
}

// compare looks up in the feed the entries at which snapshots were made, and
// returns the first fault.
func (f *shardsFound) compare(cmd *cobra.Command, c *centreFiles) error {
	if f.Written == 0 || f.Newest == 0 {
		return nil
	}
	wanted := map[uint64]*replication.Signed{} // at most one for each shard
	for _, r := range f.Shards {
		if r.Fault == "" {
			wanted[r.Number] = nil
		}
	}
	first := uint64(0) // entry that is there
	progress := newProgress(cmd.ErrOrStderr(), "feed, MB", c.info.Bytes)
	defer progress.end()
	err := c.Feed(f.Oldest, func(stored uint64, data []byte, read int64) error {
		progress.at(read)
		if first == 0 {
			first = stored
		}
		if _, is := wanted[stored]; !is {
			return cmd.Context().Err()
		}
		e, err := replication.DecodeEntry(data)
		if err != nil {
			return fmt.Errorf("entry %d: %w", stored, err)
		}
		e.Changes = nil // may be large
		wanted[stored] = &e
		return nil
	})
	if err != nil {
		return err
	}
	var fault error
	for i := range f.Shards {
		r := &f.Shards[i]
		e := wanted[r.Number]
		switch {
		case r.Fault != "" || r.Number == 0:
			continue
		case e == nil && (first == 0 || r.Number < first):
			r.Feed = "expired"
			f.Expired++
			continue
		case e == nil:
			r.Fault = fmt.Sprintf("snapshot of shard %d: entry %d, at which it was made, is missing from the feed", r.Shard, r.Number)
		case e.Hash != r.at.Hash || e.Time != r.at.Watermark:
			r.Fault = fmt.Sprintf("snapshot of shard %d: it was made at another entry %d than the feed has", r.Shard, r.Number)
		default:
			r.Feed = "same"
			f.InFeed++
			continue
		}
		r.Feed = "wrong"
		f.Faults++
		if fault == nil {
			fault = errors.New(r.Fault)
		}
	}
	if fault != nil {
		f.Faults-- // which the caller counts
	}
	return fault
}

// text shows what was asked of the shards.
func (f *shardsFound) text(asked int) string {
	var b fields
	if asked == 1 {
		f.one(&b)
		return b.String()
	}
	if f.rows {
		fmt.Fprintf(&b, "%5s %12s %-19s %8s %8s %-9s %-7s %s\n", "SHARD", "ENTRY", "TIME", "RECORDS", "BYTES", "SUM", "FEED", "SIGNATURE")
	}
	for _, r := range f.Shards {
		if r.Fault != "" {
			fmt.Fprintf(&b, "%5d ! %s\n", r.Shard, r.Fault)
			continue
		}
		fmt.Fprintf(&b, "%5d %12d %-19s %8d %8d %-9s %-7s %s\n", r.Shard, r.Number, timeOrNone(r.Time), r.Records, r.Bytes, firstDigits(r.Sum), r.Feed, r.Signature)
	}
	b.add("shards", "%d of %d written, epoch %s", f.Written, asked, f.Epoch)
	f.headText(&b)
	if f.Written > 0 {
		b.add("oldest", "shard %d, entry %d, %s; the newest at entry %d", f.OldestShard, f.Oldest, timeOrNone(f.OldestTime), f.Newest)
		b.add("records", "%d in %d bytes", f.Records, f.Bytes)
		b.add("signatures", "%v", &f.Signatures)
		b.add("feed", "%d made at an entry of the feed, %d at one that has expired", f.InFeed, f.Expired)
	}
	b.add("faults", "%d", f.Faults)
	b.notes(f.Notes)
	return b.String()
}

func (f *shardsFound) headText(b *fields) {
	h := f.Head
	if h == nil {
		return
	}
	complete := "every shard has a snapshot signed with its key"
	if !h.Complete {
		complete = "not every shard has a snapshot signed with its key yet"
	}
	b.add("head", "entry %d, %s, key %s, signature %s; %s", h.Number, timeOrNone(h.Time), h.Key, h.Signature, complete)
	if h.PolicyAt != 0 {
		b.add("policy", "version %d, set by entry %d", h.PolicyVersion, h.PolicyAt)
	}
}

// one shows a single shard.
func (f *shardsFound) one(b *fields) {
	if len(f.Shards) == 0 {
		b.add("shard", "has no snapshot yet")
		f.headText(b)
		return
	}
	r := f.Shards[0]
	b.add("shard", "%d", r.Shard)
	if r.Sum != "" {
		b.add("entry", "%d of epoch %s, %s", r.Number, f.Epoch, timeOrNone(r.Time))
		b.add("records", "%d in %d bytes", r.Records, r.Bytes)
		b.add("key", "%s", r.Key)
		b.add("signature", "%s", r.Signature)
		b.add("sum", "%s", r.Sum)
	}
	if r.Feed != "" {
		b.add("feed", "%s", r.Feed)
	}
	f.headText(b)
	b.notes(f.Notes)
}

func timeOrNone(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return centreTime(t.UnixMicro())
}
