// Package pause waits to the microsecond, which a line needs that shares its
// wires and a simulation that imitates them.
package pause

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Timer waits for instants. The runtime's own timers are only good to a
// millisecond on an idle machine, and a sleep in a system call keeps one of the
// few processors from others; a timerfd is waited for like a socket. One
// goroutine uses a Timer.
type Timer struct {
	file *os.File
	conn interface{ Control(func(uintptr)) error }
	buf  [8]byte
}

// spinFor is the end of a pause that is waited for actively, because a sleeper
// is woken some time late.
const spinFor = 30 * time.Microsecond

// New returns a Timer; Close gives it back.
func New() (*Timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make a timer: %w", err)
	}
	file := os.NewFile(uintptr(fd), "timerfd")
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a timer: %w", err), file.Close())
	}
	return &Timer{file: file, conn: conn}, nil
}

// Until returns at t and not noticeably later, if the machine lets it.
func (p *Timer) Until(t time.Time) error {
	if d := time.Until(t) - spinFor; d > 0 {
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
		var err error
		if ctl := p.conn.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &spec, nil) }); ctl != nil || err != nil {
			return errors.Join(ctl, err)
		}
		if _, err := p.file.Read(p.buf[:]); err != nil {
			return err
		}
	}
	for time.Now().Before(t) {
	}
	return nil
}

// Close frees the Timer; a wait under way ends with an error.
func (p *Timer) Close() error { return p.file.Close() }
