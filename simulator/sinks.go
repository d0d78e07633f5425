package simulator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gateline/replication"
)

// sinks are leaf nodes that cost next to nothing themselves: each is a
// connection that asks for the live entries and throws away what comes. So what
// the process needs more with them is the hub's.
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

// openSinks connects n of them to the hub at addr, one after another.
func openSinks(ctx context.Context, addr string, n int, progress func(done, total int)) (_ *sinks, err error) {
	ctx, stop := context.WithCancel(ctx)
	s := &sinks{stop: stop}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for i := range n {
		c, err := (&net.Dialer{Timeout: sinkLimit}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("connect a simulated leaf: %w", err)
		}
		s.conns = append(s.conns, c)
		if err := greet(c, i); err != nil {
			return nil, fmt.Errorf("connect a simulated leaf: %w", err)
		}
		s.reading.Go(func() { s.read(c) })
		progress(i+1, n)
	}
	s.reading.Go(func() { s.live(ctx) })
	return s, nil
}

// greet begins a connection as a leaf node of a hub without a link file does, and
// waits until the hub has understood it.
func greet(c net.Conn, i int) error {
	if err := c.SetDeadline(time.Now().Add(sinkLimit)); err != nil {
		return err
	}
	r := bufio.NewReaderSize(c, sinkBuffer)
	info, err := r.ReadString('\n')
	if err != nil || !strings.HasPrefix(info, "INFO ") {
		return errors.Join(errors.New("the centre's server does not begin as one does"), err)
	}
	_, err = fmt.Fprintf(c, "CONNECT {\"user\":\"box\",\"name\":\"sink-%d\",\"server_id\":\"SINK%d\",\"headers\":true,\"protocol\":1}\r\nLS+ %s\r\nPING\r\n", i, i, replication.SubjectLive)
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
