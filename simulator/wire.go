package simulator

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"gateline/internal/pause"
)

const (
	// bitsPerByte on the wire: start bit, 8 data bits, stop bit.
	bitsPerByte = 10
	// fifo is how many bytes a UART hands over at a time.
	fifo = 8
)

// wire is a serial line as a gate sees it: the master side of a pseudo-
// terminal, with bytes paced to the line's speed in both directions. The box
// opens the other side by its path, as it opens any device.
type wire struct {
	master *os.File
	slave  *os.File        // held open, so that the box may close and open its own
	conn   syscall.RawConn // of master
	timer  *pause.Timer
	path   string
	byteNS time.Duration
	buf    [256]byte
}

func openWire(baud int) (*wire, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open a pseudo-terminal: %w", err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	number, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("unlock a pseudo-terminal: %w", err), master.Close())
	}
	path := "/dev/pts/" + strconv.Itoa(int(number))
	slave, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open a pseudo-terminal: %w", err), master.Close())
	}
	// Until the box sets the line up, what the gate sends must not be echoed.
	if err := makeRaw(slave); err != nil {
		return nil, errors.Join(err, slave.Close(), master.Close())
	}
	conn, err := master.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, slave.Close(), master.Close())
	}
	timer, err := pause.New()
	if err != nil {
		return nil, errors.Join(err, slave.Close(), master.Close())
	}
	return &wire{master: master, slave: slave, conn: conn, timer: timer, path: path, byteNS: byteTime(baud)}, nil
}

// byteTime is how long one byte takes on the wire.
func byteTime(baud int) time.Duration { return bitsPerByte * time.Second / time.Duration(baud) }

func makeRaw(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	ctl := conn.Control(func(fd uintptr) {
		var t *unix.Termios
		if t, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err != nil {
			return
		}
		t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
		t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
		err = unix.IoctlSetTermios(int(fd), unix.TCSETS, t)
	})
	return errors.Join(ctl, err)
}

func (w *wire) close() error { return errors.Join(w.master.Close(), w.slave.Close(), w.timer.Close()) }

// send puts b on the wire and returns the moment its last byte arrived at the
// box's port.
func (w *wire) send(b []byte) (last time.Time, err error) {
	start := time.Now()
	for sent := 0; sent < len(b); {
		n := min(fifo, len(b)-sent)
		if err := w.timer.Until(start.Add(time.Duration(sent+n) * w.byteNS)); err != nil {
			return last, err
		}
		last = time.Now()
		if _, err := w.master.Write(b[sent : sent+n]); err != nil {
			return last, err
		}
		sent += n
	}
	return last, nil
}

// receive waits until deadline for bytes from the box and returns them with
// the moment the last of them has passed the wire. The slice is valid until the
// next call; the error is os.ErrDeadlineExceeded where nothing came.
func (w *wire) receive(deadline time.Time) ([]byte, time.Time, error) {
	if err := w.master.SetReadDeadline(deadline); err != nil {
		return nil, time.Time{}, err
	}
	n, err := w.master.Read(w.buf[:])
	now := time.Now()
	if n == 0 {
		return nil, now, err
	}
	if err := w.timer.Until(now.Add(time.Duration(n) * w.byteNS)); err != nil {
		return nil, now, err
	}
	return w.buf[:n], time.Now(), nil
}

// coarse is how exactly the runtime's own timers end a wait, amply.
const coarse = 2 * time.Millisecond

// listen returns at until, to the microsecond, or with what the box has written
// before that, and when it was read. The slice is valid until the next call.
func (w *wire) listen(until time.Time) ([]byte, time.Time, error) {
	if time.Until(until) > coarse {
		if err := w.master.SetReadDeadline(until.Add(-coarse)); err != nil {
			return nil, time.Time{}, err
		}
		n, err := w.master.Read(w.buf[:])
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return w.buf[:n], time.Now(), err
		}
	}
	if err := w.timer.Until(until); err != nil {
		return nil, time.Time{}, err
	}
	n, err := 0, error(nil)
	ctl := w.conn.Control(func(fd uintptr) { n, err = unix.Read(int(fd), w.buf[:]) })
	if ctl != nil || errors.Is(err, unix.EAGAIN) {
		return nil, time.Time{}, ctl
	}
	return w.buf[:max(n, 0)], time.Now(), err
}

// speed returns the speed that the box has given to its port.
func (w *wire) speed() (baud int, err error) {
	ctl := w.conn.Control(func(fd uintptr) {
		var t *unix.Termios
		if t, err = unix.IoctlGetTermios(int(fd), unix.TCGETS2); err == nil {
			baud = int(t.Ospeed)
		}
	})
	return baud, errors.Join(ctl, err)
}
