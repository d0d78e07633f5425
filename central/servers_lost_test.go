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
// asked, or loses the first such question, and lets everything else pass.
type cutter struct {
	listener net.Listener
	subject  []byte
	loses    bool
	running  sync.WaitGroup

	mu  sync.Mutex // guards cut
	cut int        // how many connections it ended, or questions it lost
}

func newCutter(t *testing.T, server, subject string, loses bool) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{listener: l, subject: []byte(subject), loses: loses}
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
		if at := bytes.Index(buf[:n], c.subject); at >= 0 {
			c.mu.Lock()
			c.cut++
			cut := c.cut
			c.mu.Unlock()
			if !c.loses {
				return
			}
			if cut == 1 { // what was said before it goes on
				n = max(0, bytes.LastIndex(buf[:at], []byte("PUB ")))
			}
		}
		if _, err := far.Write(buf[:n]); err != nil {
			return
		}
	}
}

func oneServer(t *testing.T) *server.Server {
	t.Helper()
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return srv
}

// A centre whose server goes while it opens does not wait for answers that nobody
// owes it any more: it says at once that the servers cannot serve, and whoever started
// it tries again.
func TestServerGoesWhileOpening(t *testing.T) {
	srv := oneServer(t)
	way := newCutter(t, srv.Addr().String(), "$JS.API.STREAM.INFO.FEED", false)
	cfg := testConfig(t.TempDir(), &logtest.Buffer{})
	cfg.Servers = &Servers{URLs: []string{"nats://" + way.listener.Addr().String()}, Replicas: 1}
	_, err := Open(cfg)
	way.mu.Lock()
	defer way.mu.Unlock()
	if way.cut != 1 || !errors.Is(err, ErrServers) || !errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after %d cuts: %v", way.cut, err)
	}
	cfg.Servers.URLs = []string{srv.ClientURL()}
	start(t, cfg) // there is nothing in the way of another attempt
}

// Each question that a centre has while it opens and reads the ledger may be lost with
// the leader that it goes to. It is put again, and the centre opens.
func TestQuestionLostWhileOpening(t *testing.T) {
	for _, subject := range []string{
		"STREAM.INFO.LEDGER", "STREAM.INFO.FEED", "STREAM.MSG.GET.FEED", "STREAM.INFO.SHARDS", "STREAM.MSG.GET.SHARDS", "STREAM.INFO.STATUS", "CONSUMER.CREATE.LEDGER",
	} {
		t.Run(subject, func(t *testing.T) {
			t.Parallel()
			srv := oneServer(t)
			cfg := testConfig(t.TempDir(), &logtest.Buffer{})
			cfg.Servers = &Servers{URLs: []string{srv.ClientURL()}, Replicas: 1}
			before := start(t, cfg)
			if _, err := before.Bind(t.Context(), card(1), "ann"); err != nil {
				t.Fatal(err)
			}
			if err := before.stop(); err != nil {
				t.Fatal(err)
			}
			way := newCutter(t, srv.Addr().String(), "$JS.API."+subject, true)
			cfg.Servers.URLs = []string{"nats://" + way.listener.Addr().String()}
			if held := start(t, cfg).held(); len(held) != 1 {
				t.Errorf("%d records", len(held))
			}
			way.mu.Lock()
			defer way.mu.Unlock()
			if way.cut < 2 {
				t.Errorf("the question was put %d times", way.cut)
			}
		})
	}
}
