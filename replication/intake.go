package replication

import (
	"sync/atomic"

	"github.com/nats-io/nats.go"
)

// intakeBytes bounds what one intake keeps: many times what is asked for at once, and
// more entries than come live while the disk takes one. Counting messages alone would
// let somebody fill the memory with large ones while the store cannot take any.
const intakeBytes = 16 << 20

// intake is the messages of a subscription that wait for the runner, bounded in number
// and bytes. What does not fit is dropped, shows as a gap, and is fetched.
type intake struct {
	messages chan *nats.Msg
	bytes    atomic.Int64
}

func newIntake(most int) *intake { return &intake{messages: make(chan *nats.Msg, most)} }

// put adds m, if it fits. One goroutine calls it, that of the subscription.
func (q *intake) put(m *nats.Msg) {
	size := int64(m.Size())
	if q.bytes.Load()+size > intakeBytes {
		return
	}
	q.bytes.Add(size)
	select {
	case q.messages <- m:
	default:
		q.bytes.Add(-size)
	}
}

// took says that the runner has taken m out of messages.
func (q *intake) took(m *nats.Msg) { q.bytes.Add(-int64(m.Size())) }

// empty reports whether nothing waits.
func (q *intake) empty() bool { return len(q.messages) == 0 }
