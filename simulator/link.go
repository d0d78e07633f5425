package simulator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// linkChunk is how many bytes a relay takes at once; on a thin link those of
	// thinSlice, so that what follows does not wait long for a chunk.
	linkChunk = 64 << 10
	minChunk  = 64
	thinSlice = 5 * time.Millisecond
	// thinQueue is what waits before a thin link: a router's queue. A kernel left
	// to itself would keep megabytes there.
	thinQueue = 64 << 10
)

// link is the network between a box and the centre: a TCP relay that can be
// cut, can go silent and can be thin. While it is cut it refuses connections, as
// a dead router does.
type link struct {
	listener net.Listener
	target   string
	// watch, if not nil, makes what is shown every byte that a connection has
	// brought to the box.
	watch func() io.Writer
	wg    sync.WaitGroup
	// toBox counts the bytes brought to the box.
	toBox atomic.Int64

	mu    sync.Mutex // guards what follows
	cut   bool
	done  bool
	rate  int       // bytes a second to the box; 0 = as the machine can
	free  time.Time // when a thin link has sent what it was given
	pairs map[*pair]bool
}

// pair is a connection of the box and the one that continues it to the centre.
type pair struct {
	near, far net.Conn
	// silent is closed when the network drops all that either end sends from
	// there on, and tells neither; ended when the connections are closed.
	silent, ended chan struct{}
}

// openLink relays a loopback port to target, host:port. watch may be nil.
func openLink(target string, watch func() io.Writer) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the simulated link: %w", err)
	}
	l := &link{listener: listener, target: target, watch: watch, pairs: make(map[*pair]bool)}
	l.wg.Go(l.accept)
	return l, nil
}

func (l *link) addr() string { return l.listener.Addr().String() }

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", l.target)
		if err != nil {
			near.Close()
			continue
		}
		p := &pair{near: near, far: far, silent: make(chan struct{}), ended: make(chan struct{})}
		if !l.add(p) {
			near.Close()
			far.Close()
			continue
		}
		shown := io.Discard
		if l.watch != nil {
			shown = l.watch()
		}
		l.wg.Go(func() { l.relay(p, near, far, shown) })
		l.wg.Go(func() { l.relay(p, far, near, nil) })
	}
}

// add notes a pair of connections; false where the link is cut.
func (l *link) add(p *pair) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.done {
		return false
	}
	l.pairs[p] = true
	if l.rate > 0 {
		shorten(p.far)
	}
	return true
}

// relay copies one direction; shown is not nil where that is to the box.
func (l *link) relay(p *pair, to, from net.Conn, shown io.Writer) {
	defer l.end(p)
	buffer := make([]byte, linkChunk)
	for {
		n, err := from.Read(buffer[:l.chunk(shown != nil)])
		select {
		case <-p.silent:
			<-p.ended // nothing gets through any more, not even that an end is gone
			return
		default:
		}
		if n > 0 && shown != nil {
			l.pace(p, n)
			l.toBox.Add(int64(n)) // before the write: who has the bytes finds them counted
		}
		if n > 0 {
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if n > 0 && shown != nil {
			_, _ = shown.Write(buffer[:n]) // never fails
		}
		if err != nil {
			return // a cut link ends it, which is no fault here
		}
	}
}

// chunk returns how many bytes to take at once.
func (l *link) chunk(toBox bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !toBox || l.rate == 0 {
		return linkChunk
	}
	return min(linkChunk, max(minChunk, int(float64(l.rate)*thinSlice.Seconds())))
}

// pace waits until a thin link has sent n bytes more, or the pair has ended.
func (l *link) pace(p *pair, n int) {
	l.mu.Lock()
	if l.rate == 0 {
		l.mu.Unlock()
		return
	}
	now := time.Now()
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(n) * time.Second / time.Duration(l.rate))
	timer := time.NewTimer(l.free.Sub(now))
	l.mu.Unlock()
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.ended:
	}
}

// shorten bounds what the kernel keeps for a connection before a thin link.
func shorten(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(thinQueue) // a longer queue is no fault
	}
}

// set cuts the link or heals it.
func (l *link) set(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
	if cut {
		l.drop()
	}
}

// swallow makes a black hole of the connections that there are: neither end
// hears of the other again. New ones get through.
func (l *link) swallow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.pairs {
		select {
		case <-p.silent:
		default:
			close(p.silent)
		}
	}
}

// thin limits what the link brings to the box to rate bytes a second; 0 = as
// the machine can.
func (l *link) thin(rate int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate, l.free = rate, time.Time{}
	if rate > 0 {
		for p := range l.pairs {
			shorten(p.far)
		}
	}
}

// end closes both connections of a pair.
func (l *link) end(p *pair) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(p)
}

// remove needs mu.
func (l *link) remove(p *pair) {
	if l.pairs[p] {
		delete(l.pairs, p)
		close(p.ended)
		p.near.Close()
		p.far.Close()
	}
}

// drop ends every connection; the caller holds mu.
func (l *link) drop() {
	for p := range l.pairs {
		l.remove(p)
	}
}

func (l *link) close() error {
	l.mu.Lock()
	l.done = true
	l.drop()
	l.mu.Unlock()
	err := l.listener.Close()
	l.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
