package central

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"gateline/replication"
)

const (
	// StreamLedger is the stream that holds the ledger, SubjectLedger the
	// subject the one writer publishes to.
	StreamLedger  = "LEDGER"
	SubjectLedger = "gateline.ledger"
)

// maxMessageSize is the largest ledger message in bytes: a batch that was one
// byte short of being full and then took the largest event, with room for the
// header. It is below the server's limit of 1 MiB.
const maxMessageSize = maxBatchBytes + maxEventBytes + 256

// replayBuffer bounds in bytes what a replay has in flight.
const replayBuffer = 8 << 20

// ErrTakenOver reports that another centre has written to the ledger since
// this one read it. This centre's state is out of date and must be discarded.
var ErrTakenOver = errors.New("another centre has taken over")

// ledger is the ordered history of what the registry has accepted. One
// goroutine uses it.
type ledger struct {
	js     jetstream.JetStream
	stream jetstream.Stream
	// last is the sequence of the last message read or written; an append is
	// refused by the server unless it is the stream's last.
	last uint64
}

// metadataMove is in the metadata of a ledger that Move has not finished.
const metadataMove = "gateline-move"

// ErrUnfinished reports a ledger that Move has begun to write and has not finished.
var ErrUnfinished = errors.New("a centre is being moved to these servers, or its move was broken off")

// openLedger opens the stream, or creates it where there is none, on so many
// servers.
func openLedger(ctx context.Context, js jetstream.JetStream, replicas int) (*ledger, error) {
	stream, err := lookFor(ctx, js, StreamLedger)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name:        StreamLedger,
			Description: "everything the registry has accepted, in order; pseudonyms only",
			Subjects:    []string{SubjectLedger},
			Storage:     jetstream.FileStorage,
			Retention:   jetstream.LimitsPolicy,
			MaxMsgSize:  maxMessageSize,
			Replicas:    replicas,
			DenyDelete:  true,
			DenyPurge:   true,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open the stream %s: %w; check that the centre's directory is writable and its disk is not full", StreamLedger, err)
	}
	if _, unfinished := stream.CachedInfo().Config.Metadata[metadataMove]; unfinished {
		return nil, fmt.Errorf("open the stream %s: %w; let gateline central move come to its end, then start the centre", StreamLedger, ErrUnfinished)
	}
	return &ledger{js: js, stream: stream}, nil
}

// replay hands every message above last to fn, in order and without a hole,
// and stops at the message that was the last when it began.
func (l *ledger) replay(ctx context.Context, fn func(sequence uint64, data []byte) error) error {
	info, err := l.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("read the state of the stream %s: %w", StreamLedger, err)
	}
	end := info.State.LastSeq
	if l.last >= end {
		return nil
	}
	consumer, err := l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: l.last + 1,
	})
	if err != nil {
		return fmt.Errorf("read the stream %s from message %d: %w", StreamLedger, l.last+1, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxBytes(replayBuffer))
	if err != nil {
		return fmt.Errorf("read the stream %s from message %d: %w", StreamLedger, l.last+1, err)
	}
	defer messages.Stop()
	for l.last < end {
		if err := l.replayNext(ctx, messages, fn); err != nil {
			return err
		}
	}
	return nil
}

func (l *ledger) replayNext(ctx context.Context, messages jetstream.MessagesContext, fn func(uint64, []byte) error) error {
	message, err := messages.Next(jetstream.NextContext(ctx))
	if err != nil {
		return fmt.Errorf("read message %d of the stream %s: %w", l.last+1, StreamLedger, err)
	}
	meta, err := message.Metadata()
	if err != nil {
		return fmt.Errorf("read message %d of the stream %s: %w", l.last+1, StreamLedger, err)
	}
	if meta.Sequence.Stream != l.last+1 {
		return fmt.Errorf("%w: message %d of the stream %s is missing, the next is %d; restore the centre's directory from a backup", ErrLedger, l.last+1, StreamLedger, meta.Sequence.Stream)
	}
	if err := fn(meta.Sequence.Stream, message.Data()); err != nil {
		return fmt.Errorf("message %d of the stream %s: %w", meta.Sequence.Stream, StreamLedger, err)
	}
	l.last = meta.Sequence.Stream
	return nil
}

// append stores data as the message after last. The error wraps ErrTakenOver
// where that is no longer the end of the stream. After any other error it is
// not known whether the message was stored: only a replay can tell.
func (l *ledger) append(ctx context.Context, data []byte) error {
	err := replication.Append(ctx, l.js, l.stream, SubjectLedger, l.last, data)
	switch {
	case errors.Is(err, replication.ErrFenced):
		return fmt.Errorf("append to the stream %s after message %d: %w (%w); stop one of the two", StreamLedger, l.last, ErrTakenOver, err)
	case err != nil:
		return fmt.Errorf("append to the stream %s after message %d: %w; check the centre's disk, then start it again", StreamLedger, l.last, err)
	}
	l.last++
	return nil
}
