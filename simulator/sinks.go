package simulator

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nkeys"

	"gateline/internal/linkkey"
	"gateline/replication"
)

// sinks are leaf nodes that cost little themselves: each is a connection that
// asks for the live entries and throws away what comes. So what the process needs
// more with them is the hub's, and the other end of TLS.
type sinks struct {
	conns   []net.Conn
	bytes   atomic.Int64
	reading sync.WaitGroup
	stop    context.CancelFunc
}

const (
	// sinkAlive is how often a sink tells the hub that it is there, unasked: more
	// often than the hub asks.
	sinkAlive = 4 * time.Second
	// sinkLimit bounds the beginning of a connection.
	sinkLimit  = 10 * time.Second
	sinkBuffer = 4 << 10
)

// openSinks connects one for each link to the hub at addr, one after another.
func openSinks(ctx context.Context, addr string, links []*linkkey.Link, progress func(done, total int)) (_ *sinks, err error) {
	ctx, stop := context.WithCancel(ctx)
	s := &sinks{stop: stop}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for i, link := range links {
		plain, err := (&net.Dialer{Timeout: sinkLimit}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("connect a simulated leaf: %w", err)
		}
		c := tls.Client(plain, link.Client())
		s.conns = append(s.conns, c)
		if err := greet(c, link); err != nil {
			return nil, fmt.Errorf("connect a simulated leaf: %w", err)
		}
		s.reading.Go(func() { s.read(c) })
		progress(i+1, len(links))
	}
	s.reading.Go(func() { s.live(ctx) })
	return s, nil
}

// greet begins a connection as the leaf node of a station does, and waits until
// the hub has understood it.
func greet(c net.Conn, link *linkkey.Link) error {
	if err := c.SetDeadline(time.Now().Add(sinkLimit)); err != nil {
		return err
	}
	r := bufio.NewReaderSize(c, sinkBuffer)
	info, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	connect, err := connectLine(info, link)
	if err != nil {
		return err
	}
	_, err = io.WriteString(c, connect+"LS+ "+replication.SubjectLive+"\r\nPING\r\n")
	for err == nil {
		var line string
		if line, err = r.ReadString('\n'); strings.HasPrefix(line, "-ERR") {
			err = fmt.Errorf("the centre's server says %s", strings.TrimSpace(line))
		}
		if strings.HasPrefix(line, "PONG") {
			break
		}
	}
	return errors.Join(err, c.SetDeadline(time.Time{}))
}

// connectLine answers the hub's first line: who connects, and the proof of it.
func connectLine(info string, link *linkkey.Link) (string, error) {
	var hub struct {
		Nonce string `json:"nonce"`
	}
	text, is := strings.CutPrefix(info, "INFO ")
	if err := json.Unmarshal([]byte(text), &hub); !is || err != nil {
		return "", errors.New("the centre's server does not begin as one does")
	}
	pair, err := nkeys.FromSeed([]byte(link.Seed()))
	if err != nil {
		return "", errors.New("the station's key cannot be read")
	}
	defer pair.Wipe()
	signature, err := pair.Sign([]byte(hub.Nonce))
	if err != nil {
		return "", errors.New("the station's key does not sign")
	}
	connect, err := json.Marshal(map[string]any{
		"nkey": link.Public(), "sig": base64.RawURLEncoding.EncodeToString(signature),
		"name": link.Name, "server_id": link.Name, "headers": true, "protocol": 1,
	})
	return "CONNECT " + string(connect) + "\r\n", err
}

func (s *sinks) read(c net.Conn) {
	buffer := make([]byte, sinkBuffer)
	for {
		n, err := c.Read(buffer)
		s.bytes.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// live answers the hub's pings before they are asked.
func (s *sinks) live(ctx context.Context) {
	tick := time.NewTicker(sinkAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range s.conns {
			_, _ = io.WriteString(c, "PONG\r\n") // one that is gone receives nothing, which shows
		}
	}
}

func (s *sinks) close() error {
	s.stop()
	var errs []error
	for _, c := range s.conns {
		errs = append(errs, c.Close())
	}
	s.reading.Wait()
	return errors.Join(errs...)
}
