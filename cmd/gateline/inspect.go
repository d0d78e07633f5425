package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/gateway"
	"gateline/replication"
)

// inspection looks at what a centre or a box has on its disk.
type inspection struct {
	json bool
	keys []string // as --feed-key gives them
}

// inspected is what was found, for programs. It has no credential, no token and
// no record.
type inspected struct {
	OK     bool         `json:"ok"`
	Feed   *feedFound   `json:"feed,omitempty"`
	Entry  *entryFound  `json:"entry,omitempty"`
	Shards *shardsFound `json:"shards,omitempty"`
	Store  *storeFound  `json:"store,omitempty"`
	Error  string       `json:"error,omitempty"`

	text string // the same for people
}

func newInspect() *cobra.Command {
	i := &inspection{}
	c := group("inspect", "Look at feed, shards or a box's store on the disk, and verify them",
		newInspectFeed(i), newInspectShard(i), newInspectStore(i))
	c.Long = "Looks at what a stopped centre or a stopped box has on its disk, and verifies\n" +
		"signatures and hashes. Of feed and shards nothing is written. Prints no credential,\n" +
		"no token and no record. Exits with 1 at the first fault and names it."
	c.PersistentFlags().BoolVar(&i.json, "json", false, "answer with one JSON object on standard output")
	return c
}

// run turns a look into cobra's RunE. What was found is printed also where a
// fault ended the look.
func (i *inspection) run(look func(cmd *cobra.Command, args []string) (inspected, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		found, err := look(cmd, args)
		var usage errUsage
		switch {
		case errors.As(err, &usage):
			return err
		case errors.Is(err, context.Canceled):
			err = fmt.Errorf("%s: interrupted", cmd.CommandPath())
		}
		if i.json {
			if found.OK = err == nil; err != nil {
				found.Error = err.Error()
			}
			return errors.Join(err, json.NewEncoder(cmd.OutOrStdout()).Encode(found))
		}
		fmt.Fprint(cmd.OutOrStdout(), found.text)
		return err
	}
}

// feedKeyFlag gives a command the flag for public keys.
func (i *inspection) feedKeyFlag(c *cobra.Command) {
	c.Flags().StringArrayVar(&i.keys, "feed-key", nil, "public key that signed entry 1, as in [feed] keys of a box; may be given several times")
}

// centreFiles is a stopped centre's feed and what stands beside it.
type centreFiles struct {
	*replication.Streams
	info   replication.FeedInfo
	shards *replication.StoredShards // nil = none that belong to the feed
	audit  *replication.Audit
	notes  []string
}

// openCentre opens the directory of a centre.
func (i *inspection) openCentre(dir string) (*centreFiles, error) {
	var keys []gateway.FeedKey
	for _, text := range i.keys {
		key, err := gateway.ParseFeedKey(text)
		if err != nil {
			return nil, errUsage{fmt.Errorf("--feed-key: %w", err)}
		}
		keys = append(keys, key)
	}
	streams, err := replication.OpenStreams(filepath.Join(dir, "streams")) // as package central names it
	if err != nil {
		return nil, err
	}
	c := &centreFiles{Streams: streams}
	if err := c.open(keys); err != nil {
		return nil, errors.Join(fmt.Errorf("centre in %s: %w", dir, err), c.Close())
	}
	return c, nil
}

func (c *centreFiles) open(keys []gateway.FeedKey) (err error) {
	if c.info, err = c.FeedInfo(); err != nil {
		return err
	}
	c.audit = replication.NewAudit(c.info.Epoch, keys)
	c.shards, err = c.Shards()
	switch {
	case errors.Is(err, replication.ErrNoStreams):
		c.shards = nil
		c.notes = append(c.notes, "there are no shards")
		return nil
	case err != nil:
		return faultNext(err)
	case c.shards.Epoch != c.info.Epoch:
		c.shards = nil
		c.notes = append(c.notes, "the shards belong to a feed of another epoch; the centre makes them anew when it starts")
		return nil
	}
	announced, err := c.shards.Announced()
	if err != nil {
		return faultNext(err)
	}
	return faultNext(c.audit.Announced(announced))
}

// faultNext ends a fault of feed or shards with what to do, unless it says that
// itself.
func faultNext(err error) error {
	var path *fs.PathError
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, replication.ErrNotGiven) || errors.As(err, &path) {
		return err
	}
	return fmt.Errorf("%w; keep a copy of the directory, then restore the centre from its backup or begin a new epoch: docs/OPERATIONS.md", err)
}

// proofs counts signatures by how far they were proven.
type proofs struct {
	Right       uint64 `json:"right"`
	Chained     uint64 `json:"chained"`
	NotVerified uint64 `json:"not_verified"`
}

func (p *proofs) add(proof replication.Proof) {
	switch proof {
	case replication.ProofGiven:
		p.Right++
	case replication.ProofChained:
		p.Chained++
	case replication.ProofNone:
		p.NotVerified++
	}
}

func (p *proofs) String() string {
	if p.Chained == 0 && p.NotVerified == 0 {
		return fmt.Sprintf("%d right", p.Right)
	}
	text := fmt.Sprintf("%d NOT VERIFIED", p.NotVerified)
	if p.Chained > 0 {
		text += fmt.Sprintf(", %d right by keys that the feed itself announces", p.Chained)
	}
	return text + "; give the public key that signed entry 1 with --feed-key"
}

// fields writes lines of a name and what belongs to it.
type fields struct{ strings.Builder }

func (f *fields) add(name, format string, args ...any) {
	fmt.Fprintf(f, "%-11s %s\n", name, fmt.Sprintf(format, args...))
}

func (f *fields) notes(notes []string) {
	for _, note := range notes {
		f.add("note", "%s", note)
	}
}

// centreTime shows a centre's time.
func centreTime(microseconds int64) string {
	return time.UnixMicro(microseconds).In(gateway.Zone).Format("2006-01-02 15:04:05")
}

func hashText(h gateway.Hash) string { return hex.EncodeToString(h[:]) }

// firstDigits is what two persons compare on the phone.
func firstDigits(hash string) string { return hash[:8] }

func epochText(epoch uint64) string { return fmt.Sprintf("%016x", epoch) }

// parseShard reads the number of a shard, decimal as in logs, or hexadecimal
// after 0x.
func parseShard(text string) (gateway.ShardID, error) {
	digits, base := text, 10
	if after, is := strings.CutPrefix(text, "0x"); is {
		digits, base = after, 16
	}
	n, err := strconv.ParseUint(digits, base, 16)
	if err != nil || n >= gateway.Shards {
		return 0, errUsage{fmt.Errorf("%.20q is not a shard: give 0 … %d", text, gateway.Shards-1)}
	}
	return gateway.ShardID(n), nil
}

// centreDirFlag gives a command the directory of a centre.
func centreDirFlag(c *cobra.Command, dir *string) {
	c.Flags().StringVar(dir, "dir", central.DefaultFileConfig().Dir, "directory of the centre")
}
