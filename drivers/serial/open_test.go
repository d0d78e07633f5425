package serial

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tarm/serial"
	"golang.org/x/sys/unix"
)

func setVMIN(t *testing.T, tty *os.File, vmin uint8) {
	t.Helper()
	settings := termios(t, tty)
	settings.Cc[unix.VMIN] = vmin
	control(t, tty, func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETS, settings) })
}

func TestOpenOfWhatIsNoSerialPort(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, device string
		want         error
	}{
		{"regular file", file, ErrNotSerial},
		{"directory", dir, ErrNotSerial},
		{"fifo", fifo, ErrNotSerial},
		{"character device that is no tty", "/dev/null", ErrNotSerial},
		{"link to a file", link(t, file), ErrNotSerial},
		{"missing", filepath.Join(dir, "missing"), ErrNotFound},
		{"below a file", filepath.Join(file, "x"), ErrNotFound},
		{"link to nothing", link(t, filepath.Join(dir, "missing")), ErrNotFound},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, err := Open(Config{Device: test.device, Baud: 9600})
			if err == nil {
				_ = p.Close()
			}
			if !errors.Is(err, test.want) {
				t.Fatalf("got %v, not %v", err, test.want)
			}
			if !strings.Contains(err.Error(), test.device) || !strings.Contains(err.Error(), "; ") {
				t.Errorf("no device or no next step in: %v", err)
			}
			if n := strings.Count(err.Error(), test.want.Error()); n != 1 {
				t.Errorf("the reason stands %d times in: %v", n, err)
			}
		})
	}
	if content, err := os.ReadFile(file); err != nil || string(content) != "x" {
		t.Errorf("the file changed: %q, %v", content, err)
	}
}

func TestErrorsOfOpenFallIntoTheirKinds(t *testing.T) {
	tests := []struct {
		cause, want error
		step        string
	}{
		{unix.ENOENT, ErrNotFound, "cable"},
		{unix.ENXIO, ErrNotFound, "cable"},
		{unix.ENODEV, ErrNotFound, "cable"},
		{unix.EIO, ErrNotFound, "cable"},
		{unix.EBUSY, ErrInUse, "fuser"},
		{unix.EAGAIN, ErrInUse, "fuser"},
		{unix.EACCES, fs.ErrPermission, "dialout"},
		{unix.EPERM, fs.ErrPermission, "dialout"},
	}
	for _, test := range tests {
		err := openError("/dev/gate-a", fmt.Errorf("doing it: %w", test.cause))
		if !errors.Is(err, test.want) || !errors.Is(err, test.cause) {
			t.Errorf("%v became %v", test.cause, err)
		}
		_, step, _ := strings.Cut(err.Error(), "; ")
		if !strings.Contains(err.Error(), "/dev/gate-a") || !strings.Contains(step, test.step) {
			t.Errorf("%v: no device or no next step in: %v", test.cause, err)
		}
	}
}

func TestOpenTwiceIsInUse(t *testing.T) {
	master, slave := newPTY(t)
	first := openPort(t, slave.Name())
	before := *termios(t, slave)
	for _, device := range []string{slave.Name(), link(t, slave.Name())} {
		p, err := Open(Config{Device: device, Baud: 9600, Parity: ParityEven})
		if err == nil {
			_ = p.Close()
		}
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), device) {
			t.Fatalf("opening %s again: %v", device, err)
		}
	}
	if after := *termios(t, slave); after != before {
		t.Errorf("the refused open changed the line in use:\n%+v\n%+v", before, after)
	}
	if _, err := master.Write([]byte{7}); err != nil {
		t.Fatal(err)
	}
	if n, err := first.Read(make([]byte, 4)); n != 1 || err != nil {
		t.Fatalf("the first port read %d, %v", n, err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	openPort(t, slave.Name())
}

// holdVariable names the device that TestHoldPort opens and holds.
const holdVariable = "GATELINE_TEST_HOLD_PORT"

// TestHoldPort is the other process of TestInUseByAnotherProcess.
func TestHoldPort(t *testing.T) {
	device := os.Getenv(holdVariable)
	if device == "" {
		t.Skip("it runs only as the other process of TestInUseByAnotherProcess")
	}
	openPort(t, device)
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
}

func TestInUseByAnotherProcess(t *testing.T) {
	_, slave := newPTY(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHoldPort$")
	cmd.Env = append(os.Environ(), holdVariable+"="+slave.Name())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || lines.Text() != "held" {
		t.Fatalf("the other process said %q", lines.Text())
	}
	p, err := Open(Config{Device: slave.Name(), Baud: 9600})
	if err == nil {
		_ = p.Close()
	}
	if !errors.Is(err, ErrInUse) {
		t.Errorf("Open of a port another process holds: %v", err)
	}
	// A killed holder leaves nothing behind that bars its successor.
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = stdin.Close()
	_ = cmd.Wait()
	openPort(t, slave.Name())
}

func TestExclusiveIsTakenAndGivenBack(t *testing.T) {
	_, slave := newPTY(t)
	port, err := open(Config{Device: slave.Name(), Baud: 115200}, exclusiveHost())
	if err != nil {
		t.Fatal(err)
	}
	if !isExclusive(t, slave) {
		t.Error("TIOCEXCL is not in force while the port is open")
	}
	if err := port.Close(); err != nil {
		t.Fatal(err)
	}
	if isExclusive(t, slave) {
		t.Error("TIOCEXCL is still in force after Close")
	}
}

func TestExclusiveIsForRealPortsOnly(t *testing.T) {
	_, slave := newPTY(t)
	openPort(t, slave.Name())
	if isExclusive(t, slave) {
		t.Error("TIOCEXCL is in force on a pseudo-terminal, which keeps it when its holder is killed")
	}
	for major, want := range map[uint32]bool{4: true, 166: true, 188: true, 135: true, 136: false, 143: false, 144: true} {
		if takesExclusive(unix.Mkdev(major, 1)) != want {
			t.Errorf("major %d: want %v", major, want)
		}
	}
}

func TestLinkIsFollowed(t *testing.T) {
	_, slave := newPTY(t)
	device := link(t, slave.Name())
	info := openPort(t, device).Info()
	if info.Device != device || info.Resolved != slave.Name() {
		t.Errorf("device %s, resolved %s", info.Device, info.Resolved)
	}
}

func TestLineSettings(t *testing.T) {
	tests := []struct {
		config      Config
		frame       string
		iflag, mask uint32
		rate        uint32
	}{
		{Config{Baud: 115200}, "8N1", unix.IGNPAR, 0, unix.B115200},
		{Config{Baud: 9600, Parity: ParityEven}, "8E1", unix.IGNPAR | unix.INPCK, 0, unix.B9600},
		{Config{Baud: 38400, Parity: ParityOdd, StopBits: 2}, "8O2", unix.IGNPAR | unix.INPCK, unix.PARODD | unix.CSTOPB, unix.B38400},
	}
	for _, test := range tests {
		t.Run(test.frame, func(t *testing.T) {
			_, slave := newPTY(t)
			test.config.Device = slave.Name()
			port, err := Open(test.config)
			if err != nil {
				t.Fatal(err)
			}
			defer port.Close()
			got := termios(t, slave)
			if got.Iflag != test.iflag || got.Cflag&unix.CBAUD != test.rate || got.Cflag&test.mask != test.mask ||
				got.Lflag != 0 || got.Oflag != 0 || got.Cc[unix.VMIN] != 1 || got.Cc[unix.VTIME] != 0 {
				t.Errorf("%+v", got)
			}
			if frame := port.Info().Frame; frame != test.frame {
				t.Errorf("frame %s", frame)
			}
		})
	}
}

// TestEveryKnownBaud holds the list against tarm/serial in both directions.
func TestEveryKnownBaud(t *testing.T) {
	_, slave := newPTY(t)
	for _, baud := range Bauds() {
		port, err := Open(Config{Device: slave.Name(), Baud: baud})
		if err != nil {
			t.Errorf("%d baud: %v", baud, err)
			continue
		}
		if err := port.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, baud := range []int{0, -1, 14400, 28800, 128000, 250000, 256000, 5000000} {
		if _, err := serial.OpenPort(&serial.Config{Name: slave.Name(), Baud: baud}); err == nil {
			t.Errorf("tarm/serial knows %d baud; add it to the list", baud)
		}
		if slices.Contains(Bauds(), baud) {
			t.Errorf("%d baud is in the list", baud)
		}
	}
}

func TestValidateReportsEveryFault(t *testing.T) {
	err := Config{Device: "ttyUSB0", Baud: 14400, DataBits: 9, Parity: 3, StopBits: 3, RS485: 3}.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{`device: "ttyUSB0"`, "baud: 14400", "115200", "4000000", "data_bits: 9", "parity: 3", "stop_bits: 3", "rs485: 3"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in: %v", want, err)
		}
	}
	if err := (Config{Device: "/dev/gate-a", Baud: 9600}).Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	if _, err := Open(Config{Device: "/dev/gate-a", Baud: 14400}); err == nil || !strings.Contains(err.Error(), "baud: 14400") {
		t.Errorf("Open does not validate: %v", err)
	}
}

func TestTextForms(t *testing.T) {
	for _, want := range []RS485Mode{RS485Auto, RS485Kernel, RS485Off} {
		text, err := want.MarshalText()
		var got RS485Mode
		if err != nil || got.UnmarshalText(text) != nil || got != want || string(text) != want.String() {
			t.Errorf("%v: %q, %v, %v", want, text, got, err)
		}
	}
	for _, want := range []Parity{ParityNone, ParityEven, ParityOdd} {
		text, err := want.MarshalText()
		var got Parity
		if err != nil || got.UnmarshalText(text) != nil || got != want || string(text) != want.String() {
			t.Errorf("%v: %q, %v, %v", want, text, got, err)
		}
	}
	var mode RS485Mode
	if err := mode.UnmarshalText([]byte("on")); err == nil || !strings.Contains(err.Error(), "auto, kernel, off") {
		t.Errorf("%v", err)
	}
	if _, err := Parity(9).MarshalText(); err == nil || Parity(9).String() != "invalid" {
		t.Error("parity 9 has a text form")
	}
}
