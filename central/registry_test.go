package central

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// askRegistry sends a raw body and returns the reply.
func askRegistry(t *testing.T, conn *nats.Conn, subject, body string) *nats.Msg {
	t.Helper()
	m, err := conn.Request(subject, []byte(body), 10*time.Second)
	if err != nil {
		t.Fatalf("%s: %v", subject, err)
	}
	return m
}
