package serial

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/tarm/serial"
	"golang.org/x/sys/unix"
)

// Port is an open serial port, raw: bytes pass unchanged both ways. Its methods
// may be called from different goroutines; one reads and one writes at a time.
type Port struct {
	file *os.File
	conn syscall.RawConn
	// name is the device for messages: as configured and, where that is a
	// link, what it leads to.
	name string
	info Info

	exclusive bool
	closeOnce sync.Once
	closeErr  error
}

// host is what Open takes from the machine it runs on.
type host struct {
	sysfs fs.FS // the tree at /sys
	// exclusive says whether to take TIOCEXCL on the device number rdev.
	exclusive func(rdev uint64) bool
}

// Open opens and sets up the port and takes it for this caller alone. It does
// not wait for a carrier. The error wraps ErrNotFound, ErrInUse or ErrNotSerial
// where one of them is the reason.
//
// A port that another program holds is left as it is: the lock is taken before
// the line is set. The lock is flock(2) on the device, which binds this program
// and every one that honours it, root or not, and TIOCEXCL, which makes the
// kernel refuse a later open by anyone but root.
func Open(c Config) (*Port, error) {
	return open(c, host{sysfs: os.DirFS("/sys"), exclusive: takesExclusive})
}

func open(c Config, h host) (*Port, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("open serial port %s: %w", c.Device, err)
	}
	c = c.withDefaults()
	node, rdev, err := resolve(c.Device)
	if err != nil {
		return nil, openError(c.Device, err)
	}
	name := c.Device
	if node != name {
		name += " (" + node + ")"
	}
	p, err := openNode(node)
	if err != nil {
		return nil, openError(name, err)
	}
	p.name = name
	p.info = Info{Device: c.Device, Resolved: node, Baud: c.Baud, Frame: c.frame()}
	if err := p.setUp(c, h, rdev); err != nil {
		return nil, openError(name, errors.Join(err, p.Close()))
	}
	return p, nil
}

// resolve follows the links of a device's path once, so that every later open
// hits the same node, and returns the node and its device number. It refuses
// what is no character device before opening it: opening a FIFO, for one, has
// effects.
func resolve(device string) (node string, rdev uint64, err error) {
	node, err = filepath.EvalSymlinks(device)
	if err != nil {
		return "", 0, bare(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(node, &st); err != nil {
		return "", 0, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return "", 0, fmt.Errorf("%w: it is not a character device", ErrNotSerial)
	}
	return node, st.Rdev, nil
}

// openNode opens the descriptor that all reads and writes go through.
func openNode(node string) (*Port, error) {
	fd, err := unix.Open(node, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
		if errors.Is(err, unix.ENOTTY) {
			err = fmt.Errorf("%w: it has no line settings", ErrNotSerial)
		}
		return nil, errors.Join(err, unix.Close(fd))
	}
	file := os.NewFile(uintptr(fd), node)
	conn, err := file.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &Port{file: file, conn: conn}, nil
}

// setUp takes the port and sets the line. The order matters: the lock comes
// first, so that a port in use is not disturbed; TIOCEXCL comes after the last
// open, which it would refuse.
func (p *Port) setUp(c Config, h host, rdev uint64) error {
	if err := p.file.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("the device cannot be waited for with a deadline: %w; name a serial port", bare(err))
	}
	if err := p.control(func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
		return err
	}
	if err := setLine(p.info.Resolved, c); err != nil {
		return err
	}
	return p.control(func(fd int) error {
		if err := tuneLine(fd, c); err != nil {
			return err
		}
		if h.exclusive(rdev) {
			if err := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err != nil {
				return fmt.Errorf("take the port for this program alone: %w", err)
			}
			p.exclusive = true
		}
		var err error
		if p.info.RS485Kernel, p.info.Echo, err = setRS485(fdRS485(fd), c.RS485); err != nil {
			return err
		}
		p.info.LowLatency = setLowLatency(fd)
		p.info.LatencyTimerMS = latencyTimer(h.sysfs, p.info.Resolved)
		p.info.Warnings = latencyTimerWarnings(p.info.LatencyTimerMS)
		return nil
	})
}

// setLine has tarm/serial set speed, frame and raw mode. Its descriptor has
// done its work then: the settings stay with the tty, which ours keeps open.
func setLine(node string, c Config) error {
	parity := [...]serial.Parity{ParityNone: serial.ParityNone, ParityEven: serial.ParityEven, ParityOdd: serial.ParityOdd}
	t, err := serial.OpenPort(&serial.Config{
		Name: node, Baud: c.Baud, Size: byte(c.DataBits),
		Parity: parity[c.Parity], StopBits: serial.StopBits(c.StopBits),
	})
	if err != nil {
		return fmt.Errorf("set %d baud %s: %w", c.Baud, c.frame(), bare(err))
	}
	return bare(t.Close())
}

// tuneLine checks that the port runs at the speed asked for, and adds what
// tarm/serial leaves out: without INPCK the kernel ignores IGNPAR too, and
// hands on bytes whose parity is wrong as if they were right.
func tuneLine(fd int, c Config) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("read the line settings: %w", err)
	}
	if code, _ := baudCode(c.Baud); t.Cflag&unix.CBAUD != code {
		return fmt.Errorf("the port does not take %d baud; choose a speed that both it and the gates support", c.Baud)
	}
	if c.Parity != ParityNone {
		t.Iflag |= unix.INPCK | unix.IGNPAR
	}
	// A read never returns 0 bytes by itself then, so that an end of file can
	// only be a hang-up.
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return fmt.Errorf("write the line settings: %w", err)
	}
	return nil
}

// The slave ends of pseudo-terminals have the device majors 136 to 143
// (Documentation/admin-guide/devices.txt).
const (
	ptyMajorFirst = 136
	ptyMajorLast  = 143
)

// takesExclusive reports whether to take TIOCEXCL on a device. The kernel drops
// it with the last close of a real port. A pseudo-terminal keeps it for as long
// as its master is open, so that a program that was killed would lock out its
// own successor; there the flock has to do.
func takesExclusive(rdev uint64) bool {
	major := unix.Major(rdev)
	return major < ptyMajorFirst || major > ptyMajorLast
}

// Info returns what was set at Open.
func (p *Port) Info() Info { return p.info }

// Read waits for at least one byte. It returns os.ErrDeadlineExceeded at the
// read deadline, os.ErrClosed once Close was called, and an error that wraps
// ErrGone when the port has hung up; never io.EOF.
func (p *Port) Read(b []byte) (int, error) {
	n, err := p.file.Read(b)
	if err != nil {
		err = p.ioError("read", err)
	}
	return n, err
}

// Write hands all of b to the driver, which sends it at the line's speed. Where
// the driver's buffer is full it waits; at the write deadline it returns how
// much was taken and os.ErrDeadlineExceeded. Other errors are as for Read.
func (p *Port) Write(b []byte) (int, error) {
	n, err := p.file.Write(b)
	if err != nil {
		err = p.ioError("write", err)
	}
	return n, err
}

// ioError tells a hang-up from the rest. A hung-up tty reads as end of file and
// answers EIO to everything else.
func (p *Port) ioError(verb string, err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, os.ErrClosed) {
		return err
	}
	cause := bare(err)
	if errors.Is(err, io.EOF) {
		cause = p.control(func(fd int) error {
			_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
			return err
		})
		if cause == nil {
			return fmt.Errorf("%s serial port %s: another program changed its settings; stop that program, then open the port again", verb, p.name)
		}
	}
	if errors.Is(cause, unix.EIO) || errors.Is(cause, unix.ENXIO) || errors.Is(cause, unix.ENODEV) {
		return p.goneError(verb, cause)
	}
	return fmt.Errorf("%s serial port %s: %w", verb, p.name, cause)
}

// SetReadDeadline sets the instant at which a pending or later Read gives up;
// the zero Time means never.
func (p *Port) SetReadDeadline(t time.Time) error { return p.file.SetReadDeadline(t) }

// SetWriteDeadline sets the instant at which a pending or later Write gives up;
// the zero Time means never.
func (p *Port) SetWriteDeadline(t time.Time) error { return p.file.SetWriteDeadline(t) }

// Close frees a pending Read or Write at once and gives the port back. On a
// real port the kernel first sends what its buffer still holds. Every call
// after the first returns what the first returned.
func (p *Port) Close() error {
	p.closeOnce.Do(func() {
		if p.exclusive {
			// Fails on a port that is gone, where nothing is left to give back.
			_ = p.control(func(fd int) error { return unix.IoctlSetInt(fd, unix.TIOCNXCL, 0) })
		}
		if err := p.file.Close(); err != nil {
			p.closeErr = fmt.Errorf("close serial port %s: %w", p.name, bare(err))
		}
	})
	return p.closeErr
}

// control runs f on the descriptor, which stays open meanwhile.
func (p *Port) control(f func(fd int) error) error {
	var err error
	if e := p.conn.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

// bare strips the operation and path that package os puts round an error, as
// every message here names the device once.
func bare(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
