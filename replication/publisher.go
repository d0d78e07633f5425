package replication

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/gateway"
)

// ErrFenced reports that another writer has published to the stream. The
// Publisher that got it is of no further use: its process stops, or opens a
// new Publisher and goes on from that one's Last.
var ErrFenced = errors.New("another writer has taken over the stream")

// ErrNoKey reports that the publisher has not got the secret it would have to
// sign the next entry with.
var ErrNoKey = errors.New("the key of the feed is not there")

// metadataEpoch is the key of the feed's epoch in the stream's metadata.
const metadataEpoch = "gateline-epoch"

// newEpoch is what to do where a feed cannot be continued.
const newEpoch = "stop the centre and remove the folders jetstream/$G/streams/" + StreamFeed + " and " + StreamShards + " (on servers of your own, these streams)" +
	": both are written anew from the ledger, under a new epoch, and boxes load everything again"

// resolveTimeout bounds the question whether an entry whose acknowledgement
// was lost is in the feed.
const resolveTimeout = 5 * time.Second

// takeoverAttempts is how often OpenPublisher reads both streams while others open
// them too.
const takeoverAttempts = 5

// timeBackLimit is how far the centre's clock may step back before that is
// worth a line in the log.
const timeBackLimit = time.Second

// PublisherConfig configures a Publisher.
type PublisherConfig struct {
	// Replicas is the number of servers that keep the stream; 0 = 1. It
	// counts only when the stream is created.
	Replicas int
	// Keys are the secrets the publisher may sign with, oldest first, at least
	// one. The first signs a new feed; in one that is there, whichever is in
	// force.
	Keys []gateway.FeedSecret
	// MaxAge is how long the feed keeps an entry once every shard has a
	// snapshot; 0 = for ever. It has to be longer than a cycle in which all
	// shards are rewritten and the longest cut of a link that is to be made good
	// by the feed alone, together; a box that was cut off longer loads all
	// shards. A centre that was off for longer has to begin a new epoch.
	MaxAge time.Duration
	// Log is for what an operator acts on; nil = slog.Default().
	Log *slog.Logger
}

// Publisher is the one writer of the feed. It is safe for concurrent use.
type Publisher struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	log     *slog.Logger
	signers []signer
	maxAge  time.Duration

	mu   sync.Mutex // guards the following, and makes publishing one at a time
	last Entry      // without Changes, Schedule, Checkpoint, Purge and Ordered
	// hash is that of the last entry.
	hash gateway.Hash
	// signer signs the next entry.
	signer *signer
	fenced bool
	// unsure is an encoded entry last.Number+1 whose acknowledgement was lost;
	// it is settled before anything else is published.
	unsure []byte
	// warned is when a clock behind the feed was last reported.
	warned time.Time

	shards shardWriter
}

// OpenPublisher opens the stream of the feed, creating it with a new epoch if
// there is none, and reads its last entry. A publisher that was opened before can
// store no snapshot any more; of entries, whoever publishes next shuts the other
// out. ctx bounds the call.
func OpenPublisher(ctx context.Context, js jetstream.JetStream, cfg PublisherConfig) (*Publisher, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if len(cfg.Keys) == 0 {
		return nil, fmt.Errorf("open the feed: %w: no key was given; configure the centre's feed key file", ErrNoKey)
	}
	for attempt := 1; ; attempt++ {
		p, err := openOnce(ctx, js, cfg)
		if err == nil {
			return p, nil
		}
		// One that publishes stored a head after we had read it, and who was opened
		// last is to win; or it is not known what became of ours.
		if !errors.Is(err, ErrFenced) && !errors.Is(err, errUnsure) || attempt == takeoverAttempts {
			return nil, fmt.Errorf("open the feed: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("open the feed: %w", err)
		case <-time.After(appendPause):
		}
	}
}

func openOnce(ctx context.Context, js jetstream.JetStream, cfg PublisherConfig) (*Publisher, error) {
	stream, err := openStream(ctx, js, max(cfg.Replicas, 1))
	if err != nil {
		return nil, err
	}
	stream = leaderStream{stream, js}
	// Asked anew: what CachedInfo holds may be older than the last entry.
	info, err := stateOf(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("read the state of stream %s: %w; check that the centre's server runs", StreamFeed, err)
	}
	epoch, err := checkStream(&info.Config)
	if err != nil {
		return nil, err
	}
	p := &Publisher{js: js, stream: stream, log: cfg.Log, maxAge: cfg.MaxAge, last: Entry{Epoch: epoch}}
	for _, secret := range cfg.Keys {
		p.signers = append(p.signers, newSigner(secret))
	}
	return p, p.open(ctx, max(cfg.Replicas, 1), &info.State)
}

// open goes on from what both streams hold.
func (p *Publisher) open(ctx context.Context, replicas int, feed *jetstream.StreamState) error {
	p.signer = &p.signers[0]
	if feed.LastSeq > 0 {
		last, err := p.stream.GetMsg(ctx, feed.LastSeq)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return fmt.Errorf("entry %d, the last, has expired, because the centre was off for longer than the feed keeps entries; %s", feed.LastSeq, newEpoch)
		case err != nil:
			return fmt.Errorf("read entry %d, the last: %w; check the centre's server", feed.LastSeq, err)
		}
		if err := p.resume(last); err != nil {
			return fmt.Errorf("entry %d, the last: %w", last.Sequence, err)
		}
	}
	if err := p.openShards(ctx, replicas, feed); err != nil {
		return err
	}
	p.shards.headDue = false // it is what takes over
	if err := p.storeDue(ctx); err != nil {
		return err
	}
	if err := p.takeOver(ctx); err != nil {
		return err
	}
	return p.limitFeed(ctx)
}

// resume goes on from the last entry of the stream.
func (p *Publisher) resume(msg *jetstream.RawStreamMsg) error {
	last, err := DecodeEntry(msg.Data)
	switch {
	case errors.Is(err, ErrVersion):
		return fmt.Errorf("%w; run the program that wrote it, or %s", err, newEpoch)
	case err == nil && (last.Epoch != p.last.Epoch || last.Number != msg.Sequence):
		err = fmt.Errorf("%w: its epoch or number is not that of its place", ErrEntry)
	}
	if err != nil {
		return fmt.Errorf("%w; find out what else writes to %s", err, SubjectFeed)
	}
	author := p.signerOf(func(s *signer) bool { return s.id == last.Signer })
	if author != nil && !last.Verify(author.public) {
		return fmt.Errorf("%w; find out what else writes to %s, then restore the centre from its backup", ErrSignature, SubjectFeed)
	}
	next, id := author, last.Signer
	if last.NextKey != (gateway.FeedKey{}) {
		next, id = p.signerOf(func(s *signer) bool { return s.public == last.NextKey }), last.NextKey.ID()
	}
	if next == nil {
		return fmt.Errorf("%w: %v signs what comes after it; put that key back into the centre's feed key file; where it is lost, docs/OPERATIONS.md says what to do", ErrNoKey, id)
	}
	p.signer = next
	p.settle(&last.Entry, msg.Data)
	return nil
}

// signerOf returns the first signer that fits, nil if none does.
func (p *Publisher) signerOf(fits func(*signer) bool) *signer {
	for i := range p.signers {
		if fits(&p.signers[i]) {
			return &p.signers[i]
		}
	}
	return nil
}

func openStream(ctx context.Context, js jetstream.JetStream, replicas int) (jetstream.Stream, error) {
	stream, err := lookFor(ctx, js, StreamFeed)
	if !errors.Is(err, jetstream.ErrStreamNotFound) {
		if err != nil {
			err = fmt.Errorf("look for stream %s: %w; check that the centre's server runs with JetStream", StreamFeed, err)
		}
		return stream, err
	}
	var random [8]byte
	for binary.LittleEndian.Uint64(random[:]) == 0 {
		_, _ = rand.Read(random[:]) // never fails
	}
	stream, err = js.CreateStream(ctx, feedConfig(binary.LittleEndian.Uint64(random[:]), replicas))
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		// Another publisher was faster; its epoch counts.
		stream, err = lookFor(ctx, js, StreamFeed)
	}
	if err != nil {
		return nil, fmt.Errorf("create stream %s: %w; check the disk of the centre's server", StreamFeed, err)
	}
	return stream, nil
}

// feedConfig is the stream of the feed. Nothing in it expires at first: until
// every shard has a snapshot, a new box needs every entry.
func feedConfig(epoch uint64, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        StreamFeed,
		Description: "gateline: every change the boxes apply, in order",
		Subjects:    []string{SubjectFeed},
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardOld,
		MaxMsgSize:  MaxEntrySize,
		Replicas:    replicas,
		DenyDelete:  true,
		DenyPurge:   true,
		AllowDirect: true,
		RePublish:   &jetstream.RePublish{Source: SubjectFeed, Destination: SubjectLive},
		Metadata:    map[string]string{metadataEpoch: strconv.FormatUint(epoch, 16)},
	}
}

// checkStream refuses a stream that does not keep what the feed promises, and
// returns the epoch of one that does.
func checkStream(c *jetstream.StreamConfig) (uint64, error) {
	var faults []error
	want := func(ok bool, what string) {
		if !ok {
			faults = append(faults, errors.New(what))
		}
	}
	want(len(c.Subjects) == 1 && c.Subjects[0] == SubjectFeed, "its subject is not "+SubjectFeed)
	want(c.Storage == jetstream.FileStorage, "it is not stored in files")
	want(c.DenyDelete && c.DenyPurge, "its messages can be deleted or purged")
	want(c.AllowDirect, "it does not allow direct get")
	want(c.RePublish != nil && c.RePublish.Destination == SubjectLive && !c.RePublish.HeadersOnly, "it is not republished to "+SubjectLive)
	epoch, err := strconv.ParseUint(c.Metadata[metadataEpoch], 16, 64)
	want(err == nil && epoch != 0, "it has no epoch")
	if len(faults) > 0 {
		return 0, fmt.Errorf("stream %s is not a feed of ours: %w; use another directory or account for the centre", StreamFeed, errors.Join(faults...))
	}
	return epoch, nil
}

// Last returns the last entry known to be in the feed, without its Changes,
// Schedule, Checkpoint, Purge and Ordered. Its Number is zero if there is none; its Epoch is
// always set.
func (p *Publisher) Last() Entry {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// LastPurge returns the number of the last entry of this epoch that purges, and the
// instant of its order (Entry.Ordered); 0 and 0 = there was none.
func (p *Publisher) LastPurge() (number uint64, ordered int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shards.purge.Number, p.shards.purge.Ordered
}

// Key returns the public key that the next entry will be signed with.
func (p *Publisher) Key() gateway.FeedKey {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.signer.public
}

// Publish signs e, stores it as the next entry and returns once it is on disk.
// It sets e.Epoch, e.Number, e.Before and e.Checkpoint. It raises e.Time where
// the centre's clock has not moved on since the last entry, because times grow
// within an epoch. Once an entry with a NextKey is stored, that key signs.
//
// The error wraps ErrFenced when another writer took over, ErrEntry when e
// cannot be encoded, and ErrNoKey when e.NextKey is none of the Keys after the
// one in force: a retired key would stop every box. In these cases e is not in
// the feed. After any other error
// it may be, and the caller publishes it again: applying a change twice is the
// same as once. ctx bounds the call, apart from resolveTimeout (5 s) to find
// out about a lost acknowledgement.
func (p *Publisher) Publish(ctx context.Context, e *Entry) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.publishUnsure(ctx)
	if err == nil {
		err = p.storeDue(ctx)
	}
	if err != nil {
		return fmt.Errorf("publish the entry after %d: %w", p.last.Number, err)
	}
	e.Epoch, e.Number, e.Before, e.Checkpoint = p.last.Epoch, p.last.Number+1, p.hash, nil
	if p.shards.checkpointAt == e.Number && !e.Purge {
		e.Checkpoint = p.shards.checkpoint
	}
	p.raiseTime(e)
	if e.Purge && e.Ordered == 0 {
		e.Ordered = e.Time
	}
	err = p.checkNextKey(e)
	var b []byte
	if err == nil {
		b, err = p.signer.sign(e)
	}
	if err == nil {
		err = p.store(ctx, b, e)
	}
	if err != nil {
		return fmt.Errorf("publish entry %d: %w", e.Number, err)
	}
	// What fails is due before the next one.
	_ = p.storeDue(ctx)
	return nil
}

func (p *Publisher) checkNextKey(e *Entry) error {
	if e.NextKey == (gateway.FeedKey{}) {
		return nil
	}
	later := false
	for i := range p.signers {
		if later && p.signers[i].public == e.NextKey {
			return nil
		}
		later = later || &p.signers[i] == p.signer
	}
	return fmt.Errorf("%w: %v does not stand below key %v, which is in force, in the feed key file", ErrNoKey, e.NextKey.ID(), p.signer.id)
}

// publishUnsure settles the entry whose acknowledgement was lost, if there is
// one, by publishing it once more.
func (p *Publisher) publishUnsure(ctx context.Context) error {
	if p.unsure == nil {
		return nil
	}
	e, err := DecodeEntry(p.unsure)
	if err != nil {
		return err
	}
	return p.store(ctx, p.unsure, &e.Entry)
}

func (p *Publisher) raiseTime(e *Entry) {
	if e.Time > p.last.Time || e.Time <= 0 {
		return
	}
	back := time.Duration(p.last.Time-e.Time) * time.Microsecond
	if back > timeBackLimit && time.Since(p.warned) >= sameReportAfter {
		p.warned = time.Now()
		p.log.Warn("the centre's clock is behind the last entry of the feed; check its time synchronisation", "behind", back, "entry", e.Number)
	}
	e.Time = p.last.Time + 1
}

// store publishes b, the encoded e, expecting to be the next in the stream.
func (p *Publisher) store(ctx context.Context, b []byte, e *Entry) error {
	if p.fenced {
		return ErrFenced
	}
	err := Append(ctx, p.js, p.stream, SubjectFeed, e.Number-1, b)
	switch {
	case err == nil:
		p.settle(e, b)
	case errors.Is(err, ErrFenced):
		p.fenced = true
	default:
		p.unsure = b
	}
	return err
}

// settle makes e, whose bytes are b, the last entry.
func (p *Publisher) settle(e *Entry, b []byte) {
	p.note(e, b)
	p.last, p.hash, p.unsure = *e, sha256.Sum256(b), nil
	p.last.Changes, p.last.Schedule, p.last.Checkpoint, p.last.Purge, p.last.Ordered = nil, nil, nil, false, 0
	if next := p.signerOf(func(s *signer) bool { return s.public == e.NextKey }); next != nil {
		p.signer = next
	}
}
