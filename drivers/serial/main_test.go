package serial

import (
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/creack/pty"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what ought to happen at once.
const patience = 5 * time.Second

// newPTY returns the master end of a new pseudo-terminal and its slave, which
// plays the serial port. Both are closed with the test; the slave is held open
// so that the master does not hang up between two opens.
func newPTY(tb testing.TB) (master, slave *os.File) {
	tb.Helper()
	blocking, slave, err := pty.Open()
	if err != nil {
		tb.Fatal(err)
	}
	defer blocking.Close()
	tb.Cleanup(func() { _ = slave.Close() })
	master, err = nonblocking(blocking)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = master.Close() })
	return master, slave
}

// nonblocking returns a second descriptor of f that the poller serves, so that
// deadlines and Close reach a pending read: package pty leaves its own blocking.
func nonblocking(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// openPort opens device at 115200 baud 8N1 and closes it with the test.
func openPort(t *testing.T, device string) *Port {
	t.Helper()
	p, err := Open(Config{Device: device, Baud: 115200})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// exclusiveHost takes TIOCEXCL on pseudo-terminals too, and knows no adapter.
func exclusiveHost() host {
	return host{sysfs: fstest.MapFS{}, exclusive: func(uint64) bool { return true }}
}

func termios(t *testing.T, tty *os.File) *unix.Termios {
	t.Helper()
	var settings *unix.Termios
	control(t, tty, func(fd int) (err error) {
		settings, err = unix.IoctlGetTermios(fd, unix.TCGETS)
		return err
	})
	return settings
}

// isExclusive asks a tty with TIOCGEXCL whether TIOCEXCL is in force.
func isExclusive(t *testing.T, tty *os.File) bool {
	t.Helper()
	var flag int
	control(t, tty, func(fd int) (err error) {
		flag, err = unix.IoctlGetInt(fd, unix.TIOCGEXCL)
		return err
	})
	return flag != 0
}

func control(t *testing.T, tty *os.File, f func(fd int) error) {
	t.Helper()
	conn, err := tty.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
	if inner != nil {
		t.Fatal(inner)
	}
}

func link(t *testing.T, target string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "gate-a")
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
	return name
}
