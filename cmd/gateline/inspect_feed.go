package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateline/gateway"
	"gateline/replication"
)

// feedFound is what stands in the feed.
type feedFound struct {
	Epoch string  `json:"epoch"`
	KeepS float64 `json:"keep_s"` // 0 = for ever
	First uint64  `json:"first"`  // 0 = no entry
	Last  uint64  `json:"last"`
	// FirstTime and LastTime are the centre's in these entries.
	FirstTime time.Time `json:"first_time,omitzero"`
	LastTime  time.Time `json:"last_time,omitzero"`
	LastHash  string    `json:"last_hash,omitempty"`
	// Whole says that nothing was left out at the end.
	Whole bool `json:"whole"`

	Changes     uint64    `json:"changes"`
	Batches     uint64    `json:"batches"` // entries with changes
	Schedules   uint64    `json:"schedules"`
	Rotations   uint64    `json:"rotations"`
	Checkpoints uint64    `json:"checkpoints"`
	Purges      uint64    `json:"purges"`
	Heartbeats  uint64    `json:"heartbeats"`
	Bytes       uint64    `json:"bytes"`
	Signatures  proofs    `json:"signatures"`
	Keys        []keyFrom `json:"keys"`
	Notes       []string  `json:"notes,omitempty"`
}

// keyFrom says that a key signs from an entry on, as far as entries were read.
type keyFrom struct {
	ID   string `json:"id"`
	From uint64 `json:"from"`
}

// entryFound is the header of one entry.
type entryFound struct {
	Number    uint64    `json:"number"`
	Epoch     string    `json:"epoch"`
	Time      time.Time `json:"time"`
	Source    uint64    `json:"source"`
	Before    string    `json:"before"`
	Hash      string    `json:"hash"`
	Key       string    `json:"key"`
	Signature string    `json:"signature"`
	Bytes     int       `json:"bytes"`
	// Sizes of sections in bytes.
	ChangesBytes    int    `json:"changes_bytes"`
	Changes         int    `json:"changes"`
	ScheduleBytes   int    `json:"schedule_bytes"`
	NextKey         string `json:"next_key,omitempty"` // its id
	CheckpointBytes int    `json:"checkpoint_bytes"`
	CheckpointShard *int   `json:"checkpoint_shard,omitempty"`
	CheckpointSum   string `json:"checkpoint_sum,omitempty"`
	Purge           bool   `json:"purge,omitempty"`
}

// feedLook is one call of inspect feed.
type feedLook struct {
	*inspection
	dir             string
	from, to, entry uint64
}

func newInspectFeed(i *inspection) *cobra.Command {
	l := &feedLook{inspection: i}
	c := &cobra.Command{
		Use:   "feed",
		Short: "Verify the feed of a stopped centre, entry by entry",
		Long: "Reads the feed of a stopped centre from its first entry to its last: numbers,\n" +
			"epoch, times, the chain of hashes, keys and signatures. An entry names its key by\n" +
			"the key's id: give the public key that signed entry 1 with --feed-key, else what it\n" +
			"signed is not verified, and the command says so. Later keys are in the feed.\n" +
			"With --entry it shows the header of one entry.",
		Args: cobra.NoArgs,
		RunE: i.run(func(cmd *cobra.Command, _ []string) (inspected, error) { return l.look(cmd) }),
	}
	centreDirFlag(c, &l.dir)
	i.feedKeyFlag(c)
	c.Flags().Uint64Var(&l.from, "from", 0, "number of the first entry to read; 0 = the first there is")
	c.Flags().Uint64Var(&l.to, "to", 0, "number of the last one; 0 = the last there is")
	c.Flags().Uint64Var(&l.entry, "entry", 0, "show this entry alone")
	return c
}

func (l *feedLook) look(cmd *cobra.Command) (inspected, error) {
	if l.entry != 0 && (l.from != 0 || l.to != 0) || l.to != 0 && l.to < l.from {
		return inspected{}, errUsage{errors.New("give --entry, or --from and a --to that is not below it")}
	}
	c, err := l.openCentre(l.dir)
	if err != nil {
		return inspected{}, err
	}
	defer c.Close() // nothing was written
	if l.entry != 0 {
		return l.one(cmd, c)
	}
	progress := newProgress(cmd.ErrOrStderr(), "feed, MB", c.info.Bytes)
	defer progress.end()
	w := &feedWalk{found: feedFound{Epoch: epochText(c.info.Epoch), KeepS: c.info.Keep.Seconds(), Notes: c.notes, Keys: []keyFrom{}}}
	err = eachEntry(cmd, c, l.from, l.to, func(stored uint64, e *replication.Signed, read int64) error {
		progress.at(read)
		proof, err := c.audit.Entry(stored, e)
		if err == nil {
			w.add(e, proof)
		}
		return err
	})
	if err == nil && w.found.First == 0 && (l.from != 0 || l.to != 0) {
		return inspected{}, errors.New("the feed has no such entry; without --from and --to, gateline inspect feed shows which there are")
	}
	if err == nil {
		err = l.atEnd(c, &w.found)
	}
	return inspected{Feed: &w.found, text: w.found.text()}, faultNext(err)
}

// atEnd compares the end of the feed with what the head of the shards contains.
func (l *feedLook) atEnd(c *centreFiles, found *feedFound) error {
	if l.to != 0 {
		return nil
	}
	found.Whole = true
	if l.from == 0 && found.First > 1 {
		why := "have expired"
		if found.KeepS == 0 {
			why = "are gone although the feed keeps everything: unless [feed] keep was another before, files are missing"
		}
		found.Notes = append(found.Notes, fmt.Sprintf("the entries before %d %s", found.First, why))
	}
	if c.shards == nil {
		return nil
	}
	head, err := c.shards.Head()
	switch {
	case errors.Is(err, replication.ErrNoSnapshot):
		return nil
	case err != nil:
		return err
	case head.At.Number > found.Last:
		return fmt.Errorf("the feed ends at entry %d, and the head of the shards was made at entry %d: entries are missing", found.Last, head.At.Number)
	}
	return nil
}

// errEnough ends a walk before its end.
var errEnough = errors.New("enough")

// eachEntry calls fn for the entries from … to, 0 = all. What is no entry is a
// fault.
func eachEntry(cmd *cobra.Command, c *centreFiles, from, to uint64, fn func(stored uint64, e *replication.Signed, read int64) error) error {
	err := c.Feed(from, func(stored uint64, data []byte, read int64) error {
		switch {
		case stored < from:
			return nil
		case to != 0 && stored > to:
			return errEnough
		case cmd.Context().Err() != nil:
			return cmd.Context().Err()
		}
		e, err := replication.DecodeEntry(data)
		if err != nil {
			return fmt.Errorf("entry %d: %w", stored, err)
		}
		return fn(stored, &e, read)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// feedWalk counts what entries hold.
type feedWalk struct {
	found  feedFound
	signer gateway.FeedKeyID
}

func (w *feedWalk) add(e *replication.Signed, proof replication.Proof) {
	f := &w.found
	if f.First == 0 {
		f.First, f.FirstTime = e.Number, time.UnixMicro(e.Time).UTC()
	}
	if f.First == e.Number || e.Signer != w.signer {
		w.signer = e.Signer
		f.Keys = append(f.Keys, keyFrom{ID: e.Signer.String(), From: e.Number})
	}
	f.Last, f.LastTime, f.LastHash = e.Number, time.UnixMicro(e.Time).UTC(), hashText(e.Hash)
	_, all := e.SectionSizes()
	f.Bytes += uint64(all)
	f.Signatures.add(proof)
	heartbeat := true
	for _, s := range []struct {
		has   bool
		count *uint64
	}{
		{len(e.Changes) > 0, &f.Batches}, {e.Schedule != nil, &f.Schedules},
		{e.NextKey != (gateway.FeedKey{}), &f.Rotations}, {e.Checkpoint != nil, &f.Checkpoints}, {e.Purge, &f.Purges},
	} {
		if s.has {
			*s.count++
			heartbeat = false
		}
	}
	f.Changes += uint64(len(e.Changes))
	if heartbeat {
		f.Heartbeats++
	}
}

func (f *feedFound) text() string {
	var b fields
	b.add("feed", "epoch %s, %s", f.Epoch, keepText(f.KeepS))
	if f.First == 0 {
		b.add("entries", "none")
		b.notes(f.Notes)
		return b.String()
	}
	b.add("entries", "%d … %d, %s … %s", f.First, f.Last, centreTime(f.FirstTime.UnixMicro()), centreTime(f.LastTime.UnixMicro()))
	b.add("hash", "%s of entry %d", f.LastHash, f.Last)
	b.add("signatures", "%v", &f.Signatures)
	for _, k := range f.Keys {
		b.add("key", "%s from entry %d", k.ID, k.From)
	}
	b.add("changes", "%d in %d of the entries", f.Changes, f.Batches)
	b.add("schedules", "%d", f.Schedules)
	b.add("next keys", "%d", f.Rotations)
	b.add("checkpoints", "%d", f.Checkpoints)
	b.add("purges", "%d", f.Purges)
	b.add("heartbeats", "%d", f.Heartbeats)
	b.add("bytes", "%d", f.Bytes)
	b.notes(f.Notes)
	return b.String()
}

func keepText(seconds float64) string {
	if seconds == 0 {
		return "kept for ever"
	}
	return fmt.Sprintf("kept for %v", time.Duration(seconds*float64(time.Second)))
}

// one shows the header of one entry.
func (l *feedLook) one(cmd *cobra.Command, c *centreFiles) (inspected, error) {
	var found *entryFound
	err := eachEntry(cmd, c, l.entry, l.entry, func(stored uint64, e *replication.Signed, _ int64) error {
		if stored != e.Number || e.Epoch != c.info.Epoch {
			return fmt.Errorf("entry %d: it is entry %d of epoch %s, the feed is of %s", stored, e.Number, epochText(e.Epoch), epochText(c.info.Epoch))
		}
		proof, err := c.audit.Verify(e)
		found = newEntryFound(e)
		if found.Signature = proof.String(); err != nil {
			found.Signature = "wrong"
			return fmt.Errorf("entry %d: %w", e.Number, err)
		}
		return nil
	})
	if err == nil && found == nil {
		return inspected{}, fmt.Errorf("entry %d is not there: it has expired, was not written yet, or is missing; gateline inspect feed shows which there are", l.entry)
	}
	if found == nil {
		return inspected{}, faultNext(err)
	}
	return inspected{Entry: found, text: found.text()}, faultNext(err)
}

func newEntryFound(e *replication.Signed) *entryFound {
	sizes, all := e.SectionSizes()
	f := &entryFound{
		Number: e.Number, Epoch: epochText(e.Epoch), Time: time.UnixMicro(e.Time).UTC(), Source: e.Source,
		Before: hashText(e.Before), Hash: hashText(e.Hash), Key: e.Signer.String(), Bytes: all,
		ChangesBytes: sizes.Changes, Changes: len(e.Changes), ScheduleBytes: sizes.Schedule, CheckpointBytes: sizes.Checkpoint, Purge: e.Purge,
	}
	if e.NextKey != (gateway.FeedKey{}) {
		f.NextKey = e.NextKey.ID().String()
	}
	if e.Checkpoint != nil {
		shard := int(e.Checkpoint.Shard)
		f.CheckpointShard, f.CheckpointSum = &shard, hashText(e.Checkpoint.Sum.Hash)
	}
	return f
}

func (f *entryFound) text() string {
	var b fields
	b.add("entry", "%d of epoch %s", f.Number, f.Epoch)
	b.add("time", "%s", centreTime(f.Time.UnixMicro()))
	b.add("source", "%d", f.Source)
	b.add("before", "%s", f.Before)
	b.add("hash", "%s", f.Hash)
	b.add("key", "%s", f.Key)
	b.add("signature", "%s", f.Signature)
	var holds []string
	if f.Changes > 0 {
		holds = append(holds, fmt.Sprintf("%s in %d bytes", counted(f.Changes, "change"), f.ChangesBytes))
	}
	if f.ScheduleBytes > 0 {
		holds = append(holds, fmt.Sprintf("a schedule of %d bytes", f.ScheduleBytes))
	}
	if f.NextKey != "" {
		holds = append(holds, "the next key, "+f.NextKey)
	}
	if f.CheckpointShard != nil {
		holds = append(holds, fmt.Sprintf("the checkpoint of shard %d, sum %s", *f.CheckpointShard, firstDigits(f.CheckpointSum)))
	}
	if f.Purge {
		holds = append(holds, "the order to erase every record")
	}
	if holds == nil {
		holds = []string{"nothing: a heartbeat"}
	}
	b.add("holds", "%s; %d bytes in all", strings.Join(holds, ", "), f.Bytes)
	return b.String()
}

// progress tells how far a long look is. A short one says nothing.
type progress struct {
	*bar
	phase string
	total int64
}

func newProgress(out io.Writer, phase string, total int64) *progress {
	p := &progress{bar: newBar(out, true), phase: phase, total: total}
	p.bar.phase, p.drawn = phase, time.Now() // as if just drawn
	return p
}

// at takes bytes.
func (p *progress) at(done int64) {
	if done < p.total { // the last one is not worth a line
		p.show(p.phase, int(done>>20), int(p.total>>20)+1)
	}
}
