package serial

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"
)

// driver plays a port's RS-485 side.
type driver struct {
	state  rs485Settings
	lacks  uint32 // flags the driver clears
	forces uint32 // flags the driver keeps on
	getErr error
	setErr error
}

func (d *driver) get() (rs485Settings, error) { return d.state, d.getErr }

func (d *driver) set(s rs485Settings) error {
	if d.setErr != nil {
		return d.setErr
	}
	s[wordRS485Flags] = s[wordRS485Flags]&^d.lacks | d.forces
	d.state = s
	return nil
}

// settings returns flags together with delays, which nobody may lose.
func settings(flags uint32) rs485Settings { return rs485Settings{wordRS485Flags: flags, 1: 3, 2: 4} }

func TestRS485(t *testing.T) {
	const on = rs485Enabled | rs485RTSOnSend
	tests := []struct {
		name         string
		driver       driver
		mode         RS485Mode
		kernel, echo bool
		fails        bool
		flags        uint32 // afterwards
	}{
		{name: "auto, the driver can", mode: RS485Auto, kernel: true, flags: on},
		{name: "auto, no such call", driver: driver{getErr: unix.ENOTTY}, mode: RS485Auto},
		{name: "auto, refused", driver: driver{setErr: unix.EINVAL}, mode: RS485Auto},
		{name: "auto, unplugged meanwhile", driver: driver{getErr: unix.EIO}, mode: RS485Auto, fails: true},
		{name: "auto, unplugged while setting", driver: driver{setErr: unix.EIO}, mode: RS485Auto, fails: true},
		{name: "auto, dropped", driver: driver{lacks: rs485Enabled}, mode: RS485Auto, flags: rs485RTSOnSend},
		{name: "auto, the port hears itself", driver: driver{forces: rs485RxDuringTx}, mode: RS485Auto, kernel: true, echo: true, flags: on | rs485RxDuringTx},
		{name: "auto, polarity of the board is kept", driver: driver{state: settings(rs485Enabled | rs485RTSAfterSend | rs485RxDuringTx)}, mode: RS485Auto, kernel: true, flags: rs485Enabled | rs485RTSAfterSend},
		{name: "kernel, the driver can", mode: RS485Kernel, kernel: true, flags: on},
		{name: "kernel, no such call", driver: driver{getErr: unix.ENOTTY}, mode: RS485Kernel, fails: true},
		{name: "kernel, refused", driver: driver{setErr: unix.EINVAL}, mode: RS485Kernel, fails: true},
		{name: "kernel, reads but does not set", driver: driver{setErr: unix.ENOTTY}, mode: RS485Kernel, fails: true},
		{name: "kernel, dropped", driver: driver{lacks: rs485Enabled}, mode: RS485Kernel, fails: true, flags: rs485RTSOnSend},
		{name: "off, was on", driver: driver{state: settings(on)}, mode: RS485Off, flags: rs485RTSOnSend},
		{name: "off, was off", mode: RS485Off},
		{name: "off, no such call", driver: driver{getErr: unix.ENOTTY}, mode: RS485Off},
		{name: "off, the driver keeps it on", driver: driver{state: settings(on), forces: on}, mode: RS485Off, fails: true, flags: on},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := test.driver
			before := d.state
			kernel, echo, err := setRS485(&d, test.mode)
			if kernel != test.kernel || echo != test.echo || (err != nil) != test.fails || d.state[wordRS485Flags] != test.flags {
				t.Errorf("kernel %v, echo %v, flags %#x, %v", kernel, echo, d.state[wordRS485Flags], err)
			}
			if d.state[1] != before[1] || d.state[2] != before[2] {
				t.Errorf("the delays changed from %v to %v", before, d.state)
			}
			if err != nil && !errors.Is(err, unix.EIO) && !strings.Contains(err.Error(), "; set rs485 to auto") {
				t.Errorf("no next step in: %v", err)
			}
		})
	}
}

func TestRS485OnAPortWithoutIt(t *testing.T) {
	_, slave := newPTY(t)
	port, err := Open(Config{Device: slave.Name(), Baud: 9600, RS485: RS485Kernel})
	if err == nil {
		_ = port.Close()
		t.Fatal("a pseudo-terminal turns an RS-485 line")
	}
	if errors.Is(err, ErrNotSerial) || !strings.Contains(err.Error(), "set rs485 to auto") {
		t.Errorf("%v", err)
	}
	info := openPort(t, slave.Name()).Info() // and the failed open let go of it
	if info.RS485Kernel || info.Echo || info.LowLatency || info.LatencyTimerMS != 0 || len(info.Warnings) != 0 {
		t.Errorf("%+v", info)
	}
}

func TestCountersWhereTheDriverHasNone(t *testing.T) {
	_, slave := newPTY(t)
	if e, ok := openPort(t, slave.Name()).Errors(); ok {
		t.Errorf("a pseudo-terminal counts %+v", e)
	}
}

func TestLatencyTimer(t *testing.T) {
	sysfs := fstest.MapFS{
		"bus/usb-serial/devices/ttyUSB0/latency_timer": {Data: []byte("16\n")},
		"bus/usb-serial/devices/ttyUSB1/latency_timer": {Data: []byte("1\n")},
		"bus/usb-serial/devices/ttyUSB2/latency_timer": {Data: []byte("much\n")},
	}
	for node, want := range map[string]int{"/dev/ttyUSB0": 16, "/dev/ttyUSB1": 1, "/dev/ttyUSB2": 0, "/dev/ttyS0": 0} {
		if got := latencyTimer(sysfs, node); got != want {
			t.Errorf("%s: %d ms, not %d", node, got, want)
		}
	}
	for ms, want := range map[int]int{0: 0, 1: 0, 2: 0, 3: 1, 16: 1} {
		if got := latencyTimerWarnings(ms); len(got) != want {
			t.Errorf("%d ms: %q", ms, got)
		}
	}
}

func TestInfoIsOneGroup(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	log.Info("line open", "port", Info{
		Device: "/dev/gate-a", Resolved: "/dev/ttyUSB0", Baud: 115200, Frame: "8N1", RS485Kernel: true, LatencyTimerMS: 16,
	})
	for _, want := range []string{"port.device=/dev/gate-a", "port.resolved=/dev/ttyUSB0", "port.baud=115200", "port.frame=8N1", "port.rs485=kernel", "port.low_latency=false", "port.latency_timer_ms=16"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %s in: %s", want, out.String())
		}
	}
}
