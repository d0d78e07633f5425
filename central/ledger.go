package central

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
	// first is the number of the first message, there or to come: 1 unless the ledger
	// was compacted. last is the sequence of the last message read or written; an
	// append is refused by the server unless it is the stream's last.
	first, last uint64
}

// What is in the metadata of a ledger that Move, or Rebuild, has not finished.
const (
	metadataMove    = "gateline-move"
	metadataRebuild = "gateline-rebuild"
)

// ErrUnfinished reports a ledger that Move has begun to write and has not finished.
var ErrUnfinished = errors.New("a centre is being moved to these servers, or its move was broken off")

// ErrUnfinishedRebuild reports a ledger that Rebuild has begun to write and has not
// finished.
var ErrUnfinishedRebuild = errors.New("the ledger is being written anew from its copy, or that was broken off")

// ledgerConfig is the stream as it is made, on so many servers, with the number of
// its first message.
func ledgerConfig(replicas int, first uint64) jetstream.StreamConfig {
	if first == 1 {
		first = 0 // as the server has it
	}
	return jetstream.StreamConfig{
		FirstSeq:    first,
		Name:        StreamLedger,
		Description: "everything the registry has accepted, in order; pseudonyms only",
		Subjects:    []string{SubjectLedger},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		MaxMsgSize:  maxMessageSize,
		Replicas:    replicas,
		DenyDelete:  true,
		DenyPurge:   true,
	}
}

// openLedger opens the stream on so many servers, and creates it where there is none
// unless its copy has messages: then it was lost (ErrLedgerLost).
func openLedger(ctx context.Context, js jetstream.JetStream, replicas int, copied secondCopy) (*ledger, error) {
	stream, err := lookFor(ctx, js, StreamLedger)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if copied.Last() >= copied.First() {
			return nil, lost(copied, "there is no stream %s", StreamLedger)
		}
		if before := filepath.Join(filepath.Dir(copied.Dir()), beforeFolder); exists(before) {
			return nil, fmt.Errorf("%w: there is no stream %s, a compaction was broken off, and %s has what was before it; move that to %s, then write the ledger anew with gateline central rebuild", ErrLedgerLost, StreamLedger, before, copied.Dir())
		}
		stream, err = js.CreateStream(ctx, ledgerConfig(replicas, 1))
	}
	if err != nil {
		return nil, fmt.Errorf("open the stream %s: %w; check that the centre's directory is writable and its disk is not full", StreamLedger, err)
	}
	info := stream.CachedInfo()
	marks := info.Config.Metadata
	if _, unfinished := marks[metadataMove]; unfinished {
		return nil, fmt.Errorf("open the stream %s: %w; let gateline central move come to its end, then start the centre", StreamLedger, ErrUnfinished)
	}
	if mark, unfinished := marks[metadataRebuild]; unfinished {
		which := "rebuild"
		if strings.HasPrefix(mark, markCompact) {
			which = "compact"
		}
		return nil, fmt.Errorf("open the stream %s: %w; let gateline central %s come to its end, then start the centre", StreamLedger, ErrUnfinishedRebuild, which)
	}
	// What the stream was made with: a message that is missing at its beginning is missed.
	first := max(1, info.Config.FirstSeq)
	return &ledger{js: js, stream: stream, first: first, last: first - 1}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// replay hands every message above last to fn, in order and without a hole,
// and stops at the message that was the last when it began.
func (l *ledger) replay(ctx context.Context, fn func(sequence uint64, data []byte) error) error {
	info, err := replication.Ask(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) { return l.stream.Info(ctx) })
	if err != nil {
		return fmt.Errorf("read the state of the stream %s: %w", StreamLedger, err)
	}
	return l.read(ctx, l.last, info.State.LastSeq, func(sequence uint64, data []byte) error {
		if err := fn(sequence, data); err != nil {
			return fmt.Errorf("message %d of the stream %s: %w", sequence, StreamLedger, err)
		}
		l.last = sequence
		return nil
	})
}

// read hands the messages above after, up to end, to fn, in order and without a
// hole.
func (l *ledger) read(ctx context.Context, after, end uint64, fn func(sequence uint64, data []byte) error) error {
	if after >= end {
		return nil
	}
	// One that was made and is not told of goes by itself.
	consumer, err := replication.Ask(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1})
	})
	if err != nil {
		return fmt.Errorf("read the stream %s from message %d: %w", StreamLedger, after+1, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxBytes(replayBuffer))
	if err != nil {
		return fmt.Errorf("read the stream %s from message %d: %w", StreamLedger, after+1, err)
	}
	defer messages.Stop()
	for n := after + 1; n <= end; n++ {
		data, err := readNext(ctx, messages, n)
		if err != nil {
			return err
		}
		if err := fn(n, data); err != nil {
			return err
		}
	}
	return nil
}

// readNext returns message n, which has to be the next.
func readNext(ctx context.Context, messages jetstream.MessagesContext, n uint64) ([]byte, error) {
	message, err := next(ctx, messages)
	if err != nil {
		return nil, fmt.Errorf("read message %d of the stream %s: %w", n, StreamLedger, err)
	}
	meta, err := message.Metadata()
	if err != nil {
		return nil, fmt.Errorf("read message %d of the stream %s: %w", n, StreamLedger, err)
	}
	if meta.Sequence.Stream != n {
		return nil, fmt.Errorf("%w: message %d of the stream %s is missing, the next is %d; restore the centre's directory from a backup", ErrLedger, n, StreamLedger, meta.Sequence.Stream)
	}
	return message.Data(), nil
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
