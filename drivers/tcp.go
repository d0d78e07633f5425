package drivers

import (
	"context"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// TCPIdleLimit is how long a TCP line may be silent before it is connected
// anew: three times a gate's heartbeat and some.
const TCPIdleLimit = 5 * time.Second

const (
	tcpDialLimit = 3 * time.Second
	// tcpUnacknowledged is for how long what was sent may be on its way. It is
	// how long an answer may be given on a shared line, too.
	tcpUnacknowledged = time.Second
)

// DialTCP returns an Open function for a serial device server at address,
// host:port, that passes bytes through unchanged. Framing never depends on
// gaps, so what the network does to them does not matter.
func DialTCP(address string) func(context.Context) (Port, error) {
	return func(ctx context.Context) (Port, error) {
		d := net.Dialer{Timeout: tcpDialLimit, Control: limitUnacknowledged}
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("connect to serial device server %s: %w: check its power, its address and that its port is in raw TCP server mode", address, err)
		}
		return conn, nil
	}
}

// limitUnacknowledged makes a connection break where what was sent is not
// acknowledged in time, instead of delivering it once the network is well again:
// a gate would open for somebody else.
func limitUnacknowledged(_, _ string, c syscall.RawConn) error {
	var err error
	if e := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(tcpUnacknowledged/time.Millisecond))
	}); e != nil {
		return e
	}
	return err
}
