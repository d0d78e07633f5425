package replication

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// appendTimeout bounds Append where the caller's context does not: longer
	// than servers take to choose another leader of a stream (4 to 9 s, and 10 s
	// until a silent one is noticed).
	appendTimeout = 30 * time.Second
	// ackTimeout bounds the wait for one acknowledgement. A server that goes
	// down keeps it for ever.
	ackTimeout = 3 * time.Second
	// appendPause is the pause between two attempts.
	appendPause = 100 * time.Millisecond
)

// Append stores data in a stream that has one writer, as the message after last,
// and returns once it is safe. What servers do not answer, because they choose
// another leader or one went down, is asked again, always with the same bytes,
// until ctx is done, at most 30 s; a last look may take 5 s more.
//
// The error wraps ErrFenced where another message has that place, or where the
// stream does not reach last: it is then certain that data is not stored. After any
// other error it may be stored, now or later: calling Append again with the same
// bytes is safe, with others it is not.
func Append(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, subject string, last uint64, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	for {
		err := appendOnce(ctx, js, stream, subject, last, data)
		if err == nil || !worthAnotherTry(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(appendPause):
		}
	}
}

func worthAnotherTry(err error) bool {
	var refused *jetstream.APIError
	switch {
	case errors.Is(err, ErrFenced), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrMaxPayload):
		return false
	case errors.As(err, &refused):
		return refused.Code == 503 || sequenceRefused(refused)
	}
	return true
}

func appendOnce(ctx context.Context, js jetstream.JetStream, stream jetstream.Stream, subject string, last uint64, data []byte) error {
	name := stream.CachedInfo().Config.Name
	attempt, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	_, err := js.Publish(attempt, subject, data, jetstream.WithExpectLastSequence(last), jetstream.WithExpectStream(name), jetstream.WithRetryAttempts(0))
	if err == nil {
		return nil
	}
	var refused *jetstream.APIError
	if errors.As(err, &refused) && !sequenceRefused(refused) {
		return err // the server says that it has not stored it
	}
	return settleAppend(ctx, stream, subject, last, data, err)
}

// sequenceRefused reports whether the stream's last sequence was not the
// expected one. A cluster has an error code of its own for it.
func sequenceRefused(err *jetstream.APIError) bool {
	return err.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || err.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

// settleAppend looks at what the stream holds after the attempt to store data
// ended with cause.
func settleAppend(ctx context.Context, stream jetstream.Stream, subject string, last uint64, data []byte, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), resolveTimeout)
	defer cancel()
	for again := false; ; again = true {
		message, err := stream.GetMsg(ctx, last+1)
		if err == nil && message.Subject == subject && bytes.Equal(message.Data, data) {
			return nil
		}
		var info *jetstream.StreamInfo
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			info, err = stream.Info(ctx)
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				info, err = &jetstream.StreamInfo{}, nil
			}
		}
		switch {
		case err != nil:
			return fmt.Errorf("%w (whether it was stored could not be read: %w); check the centre's server", cause, err)
		case info == nil:
			return fmt.Errorf("%w: it holds another message %d; stop this one, or let it open the stream anew", ErrFenced, last+1)
		case info.State.LastSeq < last:
			return fmt.Errorf("%w: the stream does not reach message %d, where we left it (%w); open the stream anew", ErrFenced, last, cause)
		case info.State.LastSeq == last:
			// A cluster refuses a second attempt also while the first one is still
			// on its way to the other servers, so a refusal proves nothing here.
			return fmt.Errorf("%w; check the centre's server", cause)
		case again:
			return fmt.Errorf("%w: what came after message %d has been replaced already; stop this one, or let it open the stream anew", ErrFenced, last)
		}
		// It came in between the two questions.
	}
}

// leaderStream is a stream whose single messages come from its leader. Direct Get
// may be answered by a server that has not got the last ones yet.
type leaderStream struct {
	jetstream.Stream
	js jetstream.JetStream
}

// GetMsg implements jetstream.Stream; opts are not supported.
func (s leaderStream) GetMsg(ctx context.Context, sequence uint64, _ ...jetstream.GetMsgOpt) (*jetstream.RawStreamMsg, error) {
	return s.read(ctx, fmt.Appendf(nil, `{"seq":%d}`, sequence))
}

// GetLastMsgForSubject implements jetstream.Stream.
func (s leaderStream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	return s.read(ctx, fmt.Appendf(nil, `{"last_by_subj":%q}`, subject))
}

func (s leaderStream) read(ctx context.Context, question []byte) (*jetstream.RawStreamMsg, error) {
	name := s.CachedInfo().Config.Name
	response, err := Ask(ctx, func(ctx context.Context) (*nats.Msg, error) {
		return s.js.Conn().RequestWithContext(ctx, jetstream.DefaultAPIPrefix+"STREAM.MSG.GET."+name, question)
	})
	if err != nil {
		return nil, err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(response.Data, &answer); err != nil {
		return nil, fmt.Errorf("read a message of the stream %s: %w", name, err)
	}
	switch {
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, jetstream.ErrMsgNotFound
	case answer.Error != nil:
		return nil, answer.Error
	}
	m := &answer.Message
	return &jetstream.RawStreamMsg{Subject: m.Subject, Sequence: m.Sequence, Data: m.Data, Time: m.Time}, nil
}
