package serial

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"
)

// What a caller may choose by. Every error of Open wraps at most one of them,
// names the device and ends with the next step.
var (
	// ErrNotFound says that there is no such device, or no hardware behind its
	// name.
	ErrNotFound = errors.New("no such serial port")
	// ErrInUse says that a program holds the port, this one or another.
	ErrInUse = errors.New("serial port is in use")
	// ErrNotSerial says that the path names something else than a serial port.
	ErrNotSerial = errors.New("not a serial port")
	// ErrGone says that an open port has hung up: its adapter was unplugged or
	// its peer closed. It stays so; close the port and open it again.
	ErrGone = errors.New("serial port is gone")
)

// openError says why a port could not be opened. name holds the device as
// configured and, where that is a link, what it leads to.
func openError(name string, err error) error {
	next, kind := classify(err)
	switch {
	case next == "":
		return fmt.Errorf("open serial port %s: %w", name, err)
	case kind == nil:
		return fmt.Errorf("open serial port %s: %w; %s", name, err, next)
	case errors.Is(err, kind):
		return fmt.Errorf("open serial port %s: %w; %s", name, err, next)
	}
	return fmt.Errorf("open serial port %s: %w (%w); %s", name, kind, err, next)
}

// classify returns the operator's next step, empty where err names it itself,
// and the sentinel an error of Open belongs to, nil if none.
func classify(err error) (next string, kind error) {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(unix.ENOENT, unix.ENOTDIR, unix.ENXIO, unix.ENODEV, unix.EIO):
		return "check the adapter and its cable, and the name against ls -l /dev/serial/by-path", ErrNotFound
	case is(unix.EBUSY, unix.EWOULDBLOCK):
		return "see who holds it with fuser -v and stop that program, or correct the configuration where two lines name one port", ErrInUse
	case is(ErrNotSerial):
		return "name the port's device, as listed by ls -l /dev/serial/by-path", ErrNotSerial
	case is(fs.ErrPermission):
		return "add the user that runs this program to the device's group, usually dialout", nil
	}
	return "", nil
}

// goneError is what Read and Write return once the port has hung up.
func (p *Port) goneError(verb string, cause error) error {
	return fmt.Errorf("%s serial port %s: %w (%w); check the adapter and its cable, then open the port again", verb, p.name, ErrGone, cause)
}
