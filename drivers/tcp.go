package drivers

import (
	"context"
	"fmt"
	"net"
	"time"
)

// TCPIdleLimit is how long a TCP line may be silent before it is connected
// anew: three times a gate's heartbeat and some.
const TCPIdleLimit = 5 * time.Second

const tcpDialLimit = 3 * time.Second

// DialTCP returns an Open function for a serial device server at address,
// host:port, that passes bytes through unchanged. Framing never depends on
// gaps, so what the network does to them does not matter.
func DialTCP(address string) func(context.Context) (Port, error) {
	return func(ctx context.Context) (Port, error) {
		d := net.Dialer{Timeout: tcpDialLimit}
		conn, err := d.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("connect to serial device server %s: %w: check its power, its address and that its port is in raw TCP server mode", address, err)
		}
		return conn, nil
	}
}
