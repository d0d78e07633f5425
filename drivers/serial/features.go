package serial

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// latencyTimerWarnMS is the FTDI latency timer above which Open warns. The
// adapter holds back every reply shorter than 62 bytes for that long; its
// default is 16 ms, which a tap would notice.
const latencyTimerWarnMS = 2

// Info says what was set on a port, for one log line at open.
type Info struct {
	// Device is the path as configured, Resolved the node it leads to.
	Device, Resolved string
	Baud             int
	// Frame is the form of a byte, for instance 8N1.
	Frame string
	// RS485Kernel is true where the kernel turns the line; false means that
	// the hardware does, or that the line is not two-wire.
	RS485Kernel bool
	// Echo is true where the port insists on hearing itself: the session must
	// then drop its own frames.
	Echo bool
	// LowLatency is true where the driver accepted ASYNC_LOW_LATENCY.
	LowLatency bool
	// LatencyTimerMS is an FTDI adapter's latency timer in milliseconds, 0 for
	// a port that has none.
	LatencyTimerMS int
	// Warnings are what an operator should mend though the port works, each
	// with its next step. Usually empty.
	Warnings []string
}

// LogValue returns the fields as one group, warnings apart.
func (i Info) LogValue() slog.Value {
	rs485 := "none"
	if i.RS485Kernel {
		rs485 = "kernel"
	}
	attrs := []slog.Attr{
		slog.String("device", i.Device), slog.String("resolved", i.Resolved),
		slog.Int("baud", i.Baud), slog.String("frame", i.Frame), slog.String("rs485", rs485),
		slog.Bool("echo", i.Echo), slog.Bool("low_latency", i.LowLatency),
	}
	if i.LatencyTimerMS > 0 {
		attrs = append(attrs, slog.Int("latency_timer_ms", i.LatencyTimerMS))
	}
	return slog.GroupValue(attrs...)
}

// rs485Line reads and writes a driver's RS-485 settings.
type rs485Line interface {
	get() (rs485Settings, error)
	set(rs485Settings) error
}

// fdRS485 is the rs485Line of a descriptor.
type fdRS485 int

func (fd fdRS485) get() (s rs485Settings, err error) {
	err = ioctl(int(fd), unix.TIOCGRS485, s[:])
	return s, err
}

func (fd fdRS485) set(s rs485Settings) error { return ioctl(int(fd), unix.TIOCSRS485, s[:]) }

// lacksRS485 reports whether a driver's answer means that it knows no RS-485:
// the hardware then turns the line by itself. Some drivers answer so only when
// they are asked to set it.
func lacksRS485(err error) bool {
	return errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP)
}

// setRS485 brings line into mode and reports what it then does: whether the
// kernel turns the line, and whether the port hears itself. It reads back what
// it set, because drivers clear the flags they lack. Delays and polarity that
// the board's device tree brought along are kept.
func setRS485(line rs485Line, mode RS485Mode) (kernel, echo bool, err error) {
	s, err := line.get()
	if err == nil {
		if mode == RS485Off && s[wordRS485Flags]&rs485Enabled == 0 {
			return false, false, nil
		}
		s[wordRS485Flags] = wantedRS485(s[wordRS485Flags], mode)
		if err = line.set(s); err == nil {
			s, err = line.get()
		}
	}
	kernel = err == nil && s[wordRS485Flags]&rs485Enabled != 0
	switch {
	case lacksRS485(err) && mode != RS485Kernel:
		return false, false, nil
	case err != nil && !lacksRS485(err):
		return false, false, fmt.Errorf("set the driver's RS-485 to %s: %w", mode, err)
	case !kernel && mode == RS485Kernel:
		return false, false, errors.New("the driver cannot turn an RS-485 line; set rs485 to auto if the adapter does so by itself")
	case kernel && mode == RS485Off:
		return false, false, errors.New("the driver keeps RS-485 on; set rs485 to auto")
	}
	return kernel, kernel && s[wordRS485Flags]&rs485RxDuringTx != 0, nil
}

// wantedRS485 returns the flags to ask for in mode where flags are set now.
func wantedRS485(flags uint32, mode RS485Mode) uint32 {
	switch {
	case mode == RS485Off:
		return flags &^ rs485Enabled
	case flags&rs485Enabled == 0:
		flags = flags&^rs485RTSAfterSend | rs485Enabled | rs485RTSOnSend
	}
	return flags &^ rs485RxDuringTx
}

// setLowLatency asks the driver to hand bytes up at once and reports whether it
// will. A driver that cannot is no fault.
func setLowLatency(fd int) bool {
	var s portSettings
	if ioctl(fd, unix.TIOCGSERIAL, s[:]) != nil {
		return false
	}
	s[wordPortFlags] |= asyncLowLatency
	if ioctl(fd, unix.TIOCSSERIAL, s[:]) != nil {
		return false
	}
	return ioctl(fd, unix.TIOCGSERIAL, s[:]) == nil && s[wordPortFlags]&asyncLowLatency != 0
}

// latencyTimer returns the latency timer in milliseconds of an FTDI adapter, 0
// for any other port. sysfs is the tree at /sys.
func latencyTimer(sysfs fs.FS, node string) int {
	text, err := fs.ReadFile(sysfs, path.Join("bus/usb-serial/devices", path.Base(node), "latency_timer"))
	if err != nil {
		return 0
	}
	ms, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || ms < 0 {
		return 0
	}
	return ms
}

func latencyTimerWarnings(ms int) []string {
	if ms <= latencyTimerWarnMS {
		return nil
	}
	return []string{fmt.Sprintf("the adapter's latency timer is %d ms and delays every short reply by as much; install the udev rule that sets it to 1 ms", ms)}
}

// LineErrors counts what a port's driver has seen since it was loaded. The
// counts run on across opens and wrap; use the difference of two.
type LineErrors struct {
	// Frame and Parity are bytes damaged on the wire, Break long lows.
	Frame, Parity, Break uint32
	// Overrun is bytes lost in the port, BufferOverrun bytes lost in the
	// kernel's buffer.
	Overrun, BufferOverrun uint32
}

// Errors returns the driver's counters; ok is false where it keeps none, and
// once the port is closed or gone.
func (p *Port) Errors() (e LineErrors, ok bool) {
	var c counters
	err := p.control(func(fd int) error { return ioctl(fd, unix.TIOCGICOUNT, c[:]) })
	if err != nil {
		return LineErrors{}, false
	}
	return LineErrors{
		Frame: c[wordFrame], Parity: c[wordParity], Break: c[wordBreak],
		Overrun: c[wordOverrun], BufferOverrun: c[wordBufferOverrun],
	}, true
}
