package simulator

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// link is the network between a box and the centre: a TCP relay that can be
// cut. While it is cut it refuses connections, as a dead router does.
type link struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu    sync.Mutex // guards what follows
	cut   bool
	done  bool
	conns map[net.Conn]bool
}

// openLink relays a loopback port to target, host:port.
func openLink(target string) (*link, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the simulated link: %w", err)
	}
	l := &link{listener: listener, target: target, conns: make(map[net.Conn]bool)}
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
		if err != nil || !l.add(near, far) {
			near.Close()
			if far != nil {
				far.Close()
			}
			continue
		}
		l.wg.Go(func() { l.relay(near, far) })
		l.wg.Go(func() { l.relay(far, near) })
	}
}

// add notes a pair of connections; false where the link is cut.
func (l *link) add(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut || l.done {
		return false
	}
	for _, c := range conns {
		l.conns[c] = true
	}
	return true
}

func (l *link) relay(to, from net.Conn) {
	_, _ = io.Copy(to, from) // a cut link ends it, which is no fault here
	to.Close()
	from.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, to)
	delete(l.conns, from)
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

// drop ends every connection; the caller holds mu.
func (l *link) drop() {
	for c := range l.conns {
		c.Close()
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
