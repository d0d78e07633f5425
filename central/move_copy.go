package central

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"gateline/replication"
)

const (
	// moveWindow and moveWindowBytes bound what is under way to the servers: one
	// wait for their disks then serves many messages.
	moveWindow      = 256
	moveWindowBytes = 4 << 20
	// moveAckTimeout bounds the wait for one acknowledgement, longer than servers
	// take to choose another leader.
	moveAckTimeout = 15 * time.Second
	// moveReadTimeout bounds the wait for one message of either side.
	moveReadTimeout = 30 * time.Second
	// moveTries is how often in a row the servers may fail without having taken a
	// message, movePause the pause after each.
	moveTries = 20
	movePause = time.Second
)

// errMoveDiffers reports that servers hold other messages than they were given.
var errMoveDiffers = errors.New("the servers hold something else than the centre's directory; remove the stream there with nats stream rm, as docs/OPERATIONS.md shows under \"A new epoch\", then run this again")

// errMoveRead is a fault of the directory, which no second attempt mends.
var errMoveRead = errors.New("read the centre's directory")

// stage is one stream that is moved.
type stage struct {
	name     string
	from, to jetstream.Stream
	// config is the stream as it is on the servers.
	config jetstream.StreamConfig
	// first, last and count are what the directory holds.
	first, last, count uint64
	// dense: the stream holds the last message of each subject, and numbers mean
	// nothing. All others keep theirs.
	dense bool
	audit *replication.Audit // of the feed
}

// stageOf reads what the directory holds of a stream, nil where it has none.
func (m *mover) stageOf(ctx context.Context, name string) (*stage, error) {
	stream, err := m.from.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: stream %s: %w; check the disk", errMoveRead, name, err)
	}
	info := stream.CachedInfo()
	s := &stage{name: name, from: stream, config: info.Config, first: info.State.FirstSeq, last: info.State.LastSeq, count: info.State.Msgs}
	s.config.Replicas, s.config.Metadata = m.cfg.Servers.Replicas, ownMetadata(s.config.Metadata)
	s.dense = s.config.MaxMsgsPerSubject == 1
	if !s.dense && s.count > 0 && s.count != s.last-s.first+1 {
		return nil, fmt.Errorf("%w: messages of the stream %s are missing between %d and %d; see what gateline inspect feed says, restore the directory from a backup", ErrMoveSource, name, s.first, s.last)
	}
	return s, nil
}

// ownMetadata is what the server has not added by itself.
func ownMetadata(all map[string]string) map[string]string {
	own := map[string]string{}
	maps.Copy(own, all)
	maps.DeleteFunc(own, func(key, _ string) bool { return strings.HasPrefix(key, "_nats.") })
	return own
}

// unfinished is the stream as it is until all is there. Boxes that are connected
// already cannot read it: half a feed looks to them like one that went back.
func (s *stage) unfinished() jetstream.StreamConfig {
	c := s.config
	c.AllowDirect, c.RePublish = false, nil
	if s.name == StreamLedger {
		c.Metadata = maps.Clone(c.Metadata)
		c.Metadata[metadataMove] = "unfinished"
	}
	return c
}

// storage is how so many servers keep the reports (replication.OpenStatus).
func (s *stage) storage(replicas int) {
	if replicas > 1 {
		s.config.Storage, s.config.PersistMode = jetstream.MemoryStorage, jetstream.DefaultPersistMode
	}
}

// continues reports whether what a broken-off move has written of this stream can be
// continued: the centre may have been run again in between.
func (s *stage) continues(there *jetstream.StreamInfo) bool {
	return s.name == there.Config.Name && !s.dense && maps.Equal(ownMetadata(there.Config.Metadata), s.config.Metadata) &&
		there.State.LastSeq+1 >= s.first && there.State.LastSeq <= s.last
}

// end is the last number that the stream has on the servers.
func (s *stage) end() uint64 {
	if s.dense {
		return s.count
	}
	return s.last
}

// reports says that the stage is what stations have said last. Boxes reach the servers
// as soon as these run, and what they say comes in between: it is newer.
func (s *stage) reports() bool { return s.name == replication.StreamStatus }

// copy writes a stage's messages to the servers, from where they end on, until the
// last is there.
func (m *mover) copy(ctx context.Context, s *stage) error {
	if s.to == nil {
		var err error
		if s.to, err = m.create(ctx, s); err != nil {
			return err
		}
	}
	reached := uint64(0)
	for tries := 0; ; tries++ {
		info, err := s.to.Info(ctx)
		if err == nil {
			at := info.State.LastSeq
			if s.reports() {
				at = 0 // nothing that is there says how far we were
			}
			if at > s.end() {
				return fmt.Errorf("message %d, and the last was to be %d: %w", at, s.end(), errMoveDiffers)
			}
			m.cfg.Progress("copy "+s.name, at, s.end())
			if at == s.end() {
				return nil
			}
			if at > reached {
				reached, tries = at, 0
			}
			if err = m.copyFrom(ctx, s, at); err == nil && s.reports() {
				return nil
			}
		}
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w; run this again, it goes on where it was", context.Cause(ctx))
		case errors.Is(err, errMoveRead):
			return err
		case err != nil && tries >= moveTries:
			return fmt.Errorf("%w; see that the servers run and have room on their disks, then run this again, it goes on where it was", err)
		case err != nil:
			wait(ctx, movePause)
		}
	}
}

// copyFrom writes the messages after number at.
func (m *mover) copyFrom(ctx context.Context, s *stage, at uint64) error {
	source, err := s.read(ctx, s.from, at)
	if err != nil {
		return fmt.Errorf("%w: %w; check the disk", errMoveRead, err)
	}
	defer source.Stop()
	var window []jetstream.PubAckFuture
	size := 0
	for n := at + 1; n <= s.end(); n++ {
		message, err := s.next(ctx, source, n)
		if err != nil {
			return fmt.Errorf("%w: message %d: %w; check the disk", errMoveRead, n, err)
		}
		place := jetstream.WithExpectLastSequence(n - 1)
		if s.reports() {
			place = jetstream.WithExpectLastSequencePerSubject(0)
		}
		future, err := m.to.PublishMsgAsync(&nats.Msg{Subject: message.Subject(), Data: message.Data()},
			place, jetstream.WithExpectStream(s.name), jetstream.WithRetryAttempts(0))
		if err != nil {
			return fmt.Errorf("message %d: %w", n, err)
		}
		window, size = append(window, future), size+len(message.Data())
		if len(window) == moveWindow || size >= moveWindowBytes || n == s.end() {
			if err := acknowledged(ctx, window, s.overtaken); err != nil {
				return fmt.Errorf("messages up to %d: %w", n, err)
			}
			window, size = window[:0], 0
			m.cfg.Progress("copy "+s.name, n, s.end())
		}
	}
	return nil
}

// overtaken reports whether the message is a report whose station has said something
// newer, which is no fault.
func (s *stage) overtaken(err error) bool { return s.reports() && placeTaken(err) }

// acknowledged waits until every message of a window is stored, or is known not to be,
// and returns the first error that is a fault.
func acknowledged(ctx context.Context, window []jetstream.PubAckFuture, noFault func(error) bool) (first error) {
	for _, future := range window {
		select {
		case <-future.Ok():
		case err := <-future.Err():
			if first == nil && !noFault(err) {
				first = err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return first
}

// placeTaken reports whether the stream has another message where this one was to be.
func placeTaken(err error) bool {
	var refused *jetstream.APIError
	return errors.As(err, &refused) && (refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		refused.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// verify reads a stage back and compares it, message by message; the feed's chain of
// hashes too. Reports may have come in already.
func (m *mover) verify(ctx context.Context, s *stage) error {
	if s.reports() || s.count == 0 {
		return nil
	}
	info, err := s.to.Info(ctx)
	if err != nil {
		return fmt.Errorf("%w; run this again", err)
	}
	if info.State.LastSeq != s.end() || info.State.Msgs != s.count {
		return fmt.Errorf("%d messages up to %d, and not %d up to %d: %w", info.State.Msgs, info.State.LastSeq, s.count, s.end(), errMoveDiffers)
	}
	before := s.end() - s.count
	ours, err := s.read(ctx, s.from, before)
	if err != nil {
		return fmt.Errorf("%w: %w; check the disk", errMoveRead, err)
	}
	defer ours.Stop()
	theirs, err := s.read(ctx, s.to, before)
	if err != nil {
		return fmt.Errorf("read it back: %w; run this again", err)
	}
	defer theirs.Stop()
	for n := before + 1; n <= s.end(); n++ {
		if err := s.compare(ctx, ours, theirs, n); err != nil {
			return fmt.Errorf("message %d: %w", n, err)
		}
		if n%moveWindow == 0 || n == s.end() {
			m.cfg.Progress("compare "+s.name, n-before, s.count)
		}
	}
	return nil
}

func (s *stage) compare(ctx context.Context, ours, theirs jetstream.MessagesContext, n uint64) error {
	want, err := s.next(ctx, ours, n)
	if err != nil {
		return fmt.Errorf("%w: %w; check the disk", errMoveRead, err)
	}
	got, err := s.next(ctx, theirs, n)
	if err != nil {
		return fmt.Errorf("read it back: %w; run this again", err)
	}
	if got.Subject() != want.Subject() || !bytes.Equal(got.Data(), want.Data()) {
		return errMoveDiffers
	}
	if s.audit == nil {
		return nil
	}
	entry, err := replication.DecodeEntry(want.Data())
	if err == nil {
		_, err = s.audit.Entry(n, &entry)
	}
	if err != nil {
		return fmt.Errorf("%w: %w; see what gateline inspect feed says, or move with a new epoch (--new-epoch)", ErrMoveSource, err)
	}
	return nil
}

// read returns the messages of a stream after number at.
func (s *stage) read(ctx context.Context, stream jetstream.Stream, at uint64) (jetstream.MessagesContext, error) {
	from := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}
	if !s.dense {
		from = jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(at+1, s.first)}
	}
	consumer, err := stream.OrderedConsumer(ctx, from)
	if err != nil {
		return nil, err
	}
	messages, err := consumer.Messages(jetstream.PullMaxBytes(replayBuffer))
	if err != nil || !s.dense {
		return messages, err
	}
	// Numbers are given anew here, so what is there already is counted off.
	for range at {
		if _, err := next(ctx, messages); err != nil {
			messages.Stop()
			return nil, err
		}
	}
	return messages, nil
}

// next returns message n, which has that number unless the stream is dense.
func (s *stage) next(ctx context.Context, messages jetstream.MessagesContext, n uint64) (jetstream.Msg, error) {
	message, err := next(ctx, messages)
	if err != nil || s.dense {
		return message, err
	}
	meta, err := message.Metadata()
	if err == nil && meta.Sequence.Stream != n {
		err = fmt.Errorf("it is missing, and message %d comes next", meta.Sequence.Stream)
	}
	return message, err
}

func next(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, moveReadTimeout)
	defer cancel()
	return messages.Next(jetstream.NextContext(ctx))
}

// wait waits before servers that do not answer are asked again.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
