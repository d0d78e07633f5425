package replication

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/gateway"
)

// headEvery is the age in microseconds of the feed's time at which the head is
// written again. A box takes a new epoch for newer than its own data by it.
const headEvery = int64(time.Minute / time.Microsecond)

// gatherBuffer bounds in bytes what is under way while the feed is read for what its
// shards have to hold.
const gatherBuffer = 8 << 20

// Subjects of the stream of shards.
func subjectOfShard(id gateway.ShardID) string {
	return fmt.Sprintf("%s%03x", SubjectShards, uint16(id))
}
func subjectOfKey(number uint64) string { return fmt.Sprintf("%s%016x", subjectKeys, number) }

const (
	subjectHead = SubjectShards + "head"
	subjectKeys = SubjectShards + "key."
)

// shardWriter is what a Publisher knows of the stream of shards, which it alone
// writes. The Publisher's mutex guards it.
type shardWriter struct {
	stream jetstream.Stream
	// sequence is the stream's last; whoever expects another is fenced.
	sequence uint64
	// unsure is a message whose acknowledgement was lost; it is stored once
	// more before anything else.
	unsure *shardMessage

	// schedule is the one in force, set by entry scheduleAt.
	schedule   *gateway.Schedule
	scheduleAt uint64
	// purge is the last one.
	purge Order
	// complete says that every shard has a snapshot signed with the key in
	// force; until then written holds those that have.
	complete bool
	written  map[gateway.ShardID]struct{}
	// headTime is the feed's time in the last head, headSequence the place of the
	// one that was read when the publisher was opened; 0 = there was none.
	headTime     int64
	headSequence uint64

	// What has to be stored before the next entry or snapshot.
	keyDue  *shardMessage // the entry that announced the key in force
	headDue bool

	// checkpoint belongs into entry checkpointAt, and into no other.
	checkpoint   *gateway.Checkpoint
	checkpointAt uint64
}

type shardMessage struct {
	subject string
	data    []byte
}

// shardsConfig is the stream of the shards: the last message of each subject.
func shardsConfig(epoch uint64, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              StreamShards,
		Description:       "gateline: the records of each shard, rewritten in turn",
		Subjects:          []string{SubjectShards + ">"},
		Storage:           jetstream.FileStorage,
		Discard:           jetstream.DiscardOld,
		MaxMsgsPerSubject: 1,
		MaxMsgSize:        MaxSnapshotSize,
		Replicas:          replicas,
		DenyDelete:        true,
		DenyPurge:         true,
		AllowDirect:       true,
		Metadata:          map[string]string{metadataEpoch: strconv.FormatUint(epoch, 16)},
	}
}

// openShards opens the stream of shards that belongs to the feed, making it
// where there is none, or where it belongs to a feed of another epoch, and reads
// what its head says.
func (p *Publisher) openShards(ctx context.Context, replicas int, feed *jetstream.StreamState) error {
	p.shards.written = map[gateway.ShardID]struct{}{}
	want := shardsConfig(p.last.Epoch, replicas)
	stream, err := lookFor(ctx, p.js, StreamShards)
	if err == nil && stream.CachedInfo().Config.Metadata[metadataEpoch] != want.Metadata[metadataEpoch] {
		p.log.Info("the shards belong to a feed of another epoch and are made anew", "stream", StreamShards)
		if err = p.js.DeleteStream(ctx, StreamShards); err == nil {
			err = jetstream.ErrStreamNotFound
		}
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = p.js.CreateStream(ctx, want)
	}
	if err != nil {
		return fmt.Errorf("open stream %s: %w; check the disk of the centre's server", StreamShards, err)
	}
	info, err := stateOf(ctx, stream)
	if err != nil {
		return fmt.Errorf("read the state of stream %s: %w; check the centre's server", StreamShards, err)
	}
	if c := &info.Config; c.MaxMsgsPerSubject != 1 || !c.AllowDirect || !c.DenyDelete || !c.DenyPurge || c.Storage != jetstream.FileStorage {
		return fmt.Errorf("stream %s is not one of ours: remove its folder, jetstream/$G/streams/%[1]s, while the centre is stopped", StreamShards)
	}
	p.shards.stream, p.shards.sequence = leaderStream{stream, p.js}, info.State.LastSeq
	return p.readHead(ctx, feed)
}

// readHead goes on from the head. Where there is none that is ours, what it said
// is gathered from the feed again.
func (p *Publisher) readHead(ctx context.Context, feed *jetstream.StreamState) error {
	msg, err := p.shards.stream.GetLastMsgForSubject(ctx, subjectHead)
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("read the head of the shards: %w; check the centre's server", err)
	}
	if err == nil {
		p.shards.headSequence = msg.Sequence
		h, err := DecodeHead(msg.Data)
		author := p.signerOf(func(s *signer) bool { return s.id == h.Signer })
		if err == nil && author != nil && h.Verify(author.public) && h.At.Epoch == p.last.Epoch {
			if err := p.checkBehind(ctx, &h, feed); err != nil {
				return err
			}
			if h.ScheduleAt > p.shards.scheduleAt { // else the last entry has a newer one
				p.shards.schedule, p.shards.scheduleAt = h.Schedule, h.ScheduleAt
			}
			if h.Purge.Number > p.shards.purge.Number {
				p.shards.purge = h.Purge
			}
			p.shards.complete = h.Complete && h.Signer == p.signer.id && h.Purge == p.shards.purge
			return nil
		}
		if feed.LastSeq > 0 {
			p.log.Warn("the head of the shards is not ours; it is made anew from the feed", "stream", StreamShards)
		}
	}
	return p.gather(ctx, feed)
}

// checkBehind refuses to go on from a feed that went on after we had read it: the head
// knows more than we do, and ours would take its place.
func (p *Publisher) checkBehind(ctx context.Context, h *Head, feed *jetstream.StreamState) error {
	if h.At.Number <= feed.LastSeq {
		return nil
	}
	info, err := p.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("read the state of stream %s: %w; check the centre's server", StreamFeed, err)
	}
	if info.State.LastSeq > feed.LastSeq {
		return fmt.Errorf("%w: it has stored entry %d meanwhile", ErrFenced, info.State.LastSeq)
	}
	if h.ScheduleAt > feed.LastSeq {
		return fmt.Errorf("the head of the shards has the schedule of entry %d, and the feed ends at entry %d: its end is lost; %s", h.ScheduleAt, feed.LastSeq, newEpoch)
	}
	return nil // as after a restore of the feed alone, which boxes notice
}

// gather reads the whole feed for what the stream of shards has to hold: the
// entries that announce keys, the schedule and the last purge.
func (p *Publisher) gather(ctx context.Context, feed *jetstream.StreamState) error {
	if feed.LastSeq > 0 && feed.FirstSeq > 1 {
		return fmt.Errorf("stream %s has lost its head, and the feed no longer begins at entry 1; %s", StreamShards, newEpoch)
	}
	if feed.LastSeq == 0 {
		return nil
	}
	// One by one, a feed of some days would take longer than a centre may to open.
	consumer, err := p.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return fmt.Errorf("gather keys and schedule from the feed: %w; check the centre's server", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxBytes(gatherBuffer))
	if err != nil {
		return fmt.Errorf("gather keys and schedule from the feed: %w; check the centre's server", err)
	}
	defer messages.Stop()
	for n := uint64(1); n <= feed.LastSeq; n++ {
		if err := p.gatherNext(ctx, messages, n); err != nil {
			return fmt.Errorf("gather keys and schedule from the feed: entry %d of %d: %w; check the centre's server; where the feed is too long to be read in time, %s", n, feed.LastSeq, err, newEpoch)
		}
	}
	return nil
}

// gatherNext reads entry n, which is the next.
func (p *Publisher) gatherNext(ctx context.Context, messages jetstream.MessagesContext, n uint64) error {
	msg, err := messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return err
	}
	e, err := DecodeEntry(msg.Data())
	switch {
	case err != nil:
		return err
	case e.Number != n:
		return fmt.Errorf("%w: it has number %d", ErrEntry, e.Number)
	}
	p.note(&e.Entry, msg.Data())
	if p.shards.keyDue == nil {
		return nil
	}
	if err := p.put(ctx, p.shards.keyDue); err != nil {
		return fmt.Errorf("store the announcement of a key: %w", err)
	}
	p.shards.keyDue = nil
	return nil
}

// note remembers what an entry, b its bytes, means for the stream of shards.
func (p *Publisher) note(e *Entry, b []byte) {
	if e.Schedule != nil {
		// Not the caller's: that one may change.
		if s, err := DecodeEntry(b); err == nil {
			p.shards.schedule, p.shards.scheduleAt, p.shards.headDue = s.Schedule, e.Number, true
		}
	}
	if e.NextKey != (gateway.FeedKey{}) {
		p.shards.keyDue = &shardMessage{subject: subjectOfKey(e.Number), data: bytes.Clone(b)}
		// What the key before has signed counts no more.
		p.shards.headDue, p.shards.complete = true, false
		clear(p.shards.written)
	}
	if e.Purge {
		// The snapshots of before hold what is to be nowhere: they are replaced soon.
		p.shards.purge = Order{Number: e.Number, Ordered: e.Ordered}
		p.shards.headDue, p.shards.complete = true, false
		clear(p.shards.written)
	}
}

// storeDue stores what has to be stored before anything else is: so what a box
// finds beside a snapshot is never older than that. The announcement of a key
// goes first, because the head is signed with the key.
func (p *Publisher) storeDue(ctx context.Context) error {
	if p.shards.keyDue != nil {
		if err := p.put(ctx, p.shards.keyDue); err != nil {
			return fmt.Errorf("store the announcement of a key: %w", err)
		}
		p.shards.keyDue = nil
	}
	if p.shards.headDue {
		b, err := p.signHead()
		if err == nil {
			err = p.put(ctx, &shardMessage{subject: subjectHead, data: b})
		}
		if err != nil {
			return fmt.Errorf("store the head of the shards: %w", err)
		}
		p.shards.headDue, p.shards.headTime = false, p.last.Time
	}
	return nil
}

func (p *Publisher) signHead() ([]byte, error) {
	return p.signer.signHead(&Head{At: p.position(), Schedule: p.shards.schedule, ScheduleAt: p.shards.scheduleAt, Complete: p.shards.complete, Purge: p.shards.purge})
}

// errUnsure says that it is not known whether a head was stored; who reads both
// streams again knows.
var errUnsure = errors.New("no server has acknowledged it")

// takeOver stores a head in place of the one that was read, whatever else was
// stored meanwhile: from then on a publisher that is still there is refused. Only
// another head in between is in the way (ErrFenced).
func (p *Publisher) takeOver(ctx context.Context) error {
	b, err := p.signHead()
	if err != nil {
		return fmt.Errorf("sign the head of the shards: %w", err)
	}
	attempt, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	ack, err := p.js.Publish(attempt, subjectHead, b, jetstream.WithExpectLastSequencePerSubject(p.shards.headSequence),
		jetstream.WithExpectStream(StreamShards), jetstream.WithRetryAttempts(0))
	var refused *jetstream.APIError
	switch {
	case errors.As(err, &refused) && sequenceRefused(refused):
		err = fmt.Errorf("%w: another head was stored", ErrFenced)
	case err != nil && ctx.Err() == nil && worthAnotherTry(err):
		err = fmt.Errorf("%w: %w", errUnsure, err)
	case err == nil:
		p.shards.sequence, p.shards.headTime = ack.Sequence, p.last.Time
		return nil
	}
	return fmt.Errorf("store the head of the shards: %w; check the centre's server", err)
}

// limitFeed lets entries expire, once every shard has a snapshot, or no more.
func (p *Publisher) limitFeed(ctx context.Context) error {
	c := p.stream.CachedInfo().Config
	if c.MaxAge == p.maxAge || p.maxAge != 0 && !p.shards.complete {
		return nil
	}
	c.MaxAge = p.maxAge
	if c.MaxAge != 0 {
		c.Duplicates = min(c.Duplicates, c.MaxAge) // the server's condition
	}
	stream, err := p.js.UpdateStream(ctx, c)
	if err != nil {
		return fmt.Errorf("have the feed keep entries for %v: %w; check the centre's server", p.maxAge, err)
	}
	p.stream = leaderStream{stream, p.js}
	return nil
}

// position is that of the last entry.
func (p *Publisher) position() gateway.Position {
	return gateway.Position{Epoch: p.last.Epoch, Number: p.last.Number, Watermark: p.last.Time, Hash: p.hash}
}

// PublishShard stores a snapshot of the shard, which holds all its records as
// they are after the last entry published, and sees to its checkpoint in the next
// one. s.At is not looked at. A snapshot without its checkpoint, where this
// process ends between the two, is as good; it is proven a cycle later.
//
// The error wraps ErrFenced when another publisher was opened since, and ErrShard
// when s breaks a rule of gateway.Shard. ctx bounds the call.
func (p *Publisher) PublishShard(ctx context.Context, s gateway.Shard) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.publishUnsure(ctx)
	if err == nil {
		p.shards.headDue = p.shards.headDue || p.last.Time-p.shards.headTime >= headEvery
		err = p.storeDue(ctx)
	}
	var b []byte
	var sum gateway.ShardSum
	if err == nil {
		s.At = p.position()
		b, sum, err = p.signer.signSnapshot(&s, p.shards.scheduleAt)
	}
	if err == nil {
		err = p.put(ctx, &shardMessage{subject: subjectOfShard(s.ID), data: b})
	}
	if err != nil {
		return fmt.Errorf("publish shard %v at entry %d: %w", s.ID, p.last.Number, err)
	}
	p.shards.checkpoint, p.shards.checkpointAt = &gateway.Checkpoint{Shard: s.ID, Sum: sum}, p.last.Number+1
	if p.shards.written[s.ID] = struct{}{}; !p.shards.complete && len(p.shards.written) == gateway.Shards {
		p.shards.complete, p.shards.headDue = true, true
	}
	return p.limitFeed(ctx)
}

// ShardsComplete reports whether every shard has a snapshot signed with the key
// in force. Until then no box can start from shards: the first cycle is to be
// quick, as is the one after a change of the key.
func (p *Publisher) ShardsComplete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shards.complete
}

// put stores a message as the next of the stream of shards.
func (p *Publisher) put(ctx context.Context, m *shardMessage) error {
	if p.shards.unsure != nil {
		if err := p.putOnce(ctx, p.shards.unsure); err != nil {
			return err
		}
	}
	return p.putOnce(ctx, m)
}

// putOnce publishes m, expecting to be the next. As a publisher stores a head
// when it is opened, one that was opened before is refused from then on and
// cannot put an older snapshot in place of a newer one.
func (p *Publisher) putOnce(ctx context.Context, m *shardMessage) error {
	if p.fenced {
		return ErrFenced
	}
	err := Append(ctx, p.js, p.shards.stream, m.subject, p.shards.sequence, m.data)
	switch {
	case err == nil:
		p.shards.sequence++
		p.shards.unsure = nil
	case errors.Is(err, ErrFenced):
		p.fenced = true
	default:
		p.shards.unsure = m
	}
	return err
}
