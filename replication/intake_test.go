package replication

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// While the runner cannot take messages, those that wait are bounded, in number and in
// bytes; what the runner has taken makes room again.
func TestIntakeIsBounded(t *testing.T) {
	for _, test := range []struct{ size, want int }{{1 << 20, 15}, {0, 2 * fetchBatch}} {
		q, m := newIntake(2*fetchBatch), &nats.Msg{Subject: SubjectLive, Data: make([]byte, test.size)}
		for round := range 3 {
			for range 3 * fetchBatch {
				q.put(m)
			}
			if n := len(q.messages); n != test.want {
				t.Errorf("round %d: %d messages of %d bytes wait, want %d", round, n, test.size, test.want)
			}
			for !q.empty() {
				q.took(<-q.messages)
			}
		}
		if n := q.bytes.Load(); n != 0 {
			t.Errorf("empty, and %d bytes", n)
		}
	}
}
