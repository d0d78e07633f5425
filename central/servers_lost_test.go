package central

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"gateline/internal/logtest"
)

// cutter is the way to a server. It ends the connection over which a subject is
// asked, and lets everything else pass.
type cutter struct {
	listener net.Listener
	subject  []byte
	running  sync.WaitGroup

	mu  sync.Mutex // guards cut
	cut int        // how many connections it ended
}

func newCutter(t *testing.T, server, subject string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l, subject: []byte(subject)}
	c.running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", server)
			if err != nil {
				_ = near.Close()
				continue
			}
			c.running.Go(func() { c.ask(far, near) })
			c.running.Go(func() { _, _ = io.Copy(near, far); _, _ = near.Close(), far.Close() })
		}
	})
	t.Cleanup(func() { _ = l.Close(); c.running.Wait() })
	return c
}

// ask passes on what the centre says, until it asks the subject.
func (c *cutter) ask(far, near net.Conn) {
	defer far.Close()
	defer near.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := near.Read(buf)
		if err != nil {
			return
		}
		if bytes.Contains(buf[:n], c.subject) {
			c.mu.Lock()
			c.cut++
			c.mu.Unlock()
			return
		}
		if _, err := far.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A centre whose server goes while it opens does not wait for answers that nobody
// owes it any more: it says at once that the servers cannot serve, and whoever started
// it tries again.
func TestServerGoesWhileOpening(t *testing.T) {
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	way := newCutter(t, srv.Addr().String(), "$JS.API.STREAM.INFO.FEED")
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	cfg.Servers = &Servers{URLs: []string{"nats://" + way.listener.Addr().String()}, Replicas: 1}
	_, err = Open(cfg)
	way.mu.Lock()
	defer way.mu.Unlock()
	if way.cut != 1 || !errors.Is(err, ErrServers) || !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after %d cuts: %v", way.cut, err)
	}
	cfg.Servers.URLs = []string{srv.ClientURL()}
	start(t, cfg) // there is nothing in the way of another attempt
}
