package replication

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// askTimeout bounds the wait for one answer of the servers, askAttempts how often
	// Ask puts a question.
	askTimeout  = 3 * time.Second
	askAttempts = 8
)

// Ask puts a question that changes nothing to the servers, and puts it again where
// nobody answers within 3 s, until ctx is done, at most eight times. The leader of a
// stream answers for it: a question that reaches a leader that has just gone down, or
// servers that choose another one, is lost, and waiting for its answer is in vain.
func Ask[T any](ctx context.Context, question func(context.Context) (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		once, cancel := context.WithTimeout(ctx, askTimeout)
		answer, err := question(once)
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil || attempt == askAttempts {
			return answer, err
		}
	}
}

// lookFor looks for a stream.
func lookFor(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	return Ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, name) })
}

// stateOf asks for a stream's configuration and state as they are now.
func stateOf(ctx context.Context, stream jetstream.Stream) (*jetstream.StreamInfo, error) {
	return Ask(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) { return stream.Info(ctx) })
}
