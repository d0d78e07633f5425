package serial

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Config says which port to open and how. Only Device and Baud are required;
// the zero value of every other field means 8N1 and RS485Auto.
type Config struct {
	// Device is the absolute path of the port. A symbolic link is followed
	// once, at Open; a name by socket (/dev/serial/by-path, or a udev rule of
	// one's own) stays right when an adapter is unplugged, a number does not.
	Device string
	// Baud is the line's speed in bits per second, one of Bauds.
	Baud int
	// DataBits is 5 to 8; 0 means 8.
	DataBits int
	Parity   Parity
	// StopBits is 1 or 2; 0 means 1.
	StopBits int
	RS485    RS485Mode
}

// Parity is the parity bit of a line. A byte whose parity is wrong is dropped
// by the kernel; the frame check above then fails.
type Parity uint8

const (
	ParityNone Parity = 0
	ParityEven Parity = 1
	ParityOdd  Parity = 2
)

var parityNames = [...]string{ParityNone: "none", ParityEven: "even", ParityOdd: "odd"}

// String returns none, even or odd.
func (p Parity) String() string { return nameOf(parityNames[:], int(p)) }

// MarshalText returns the parity's name.
func (p Parity) MarshalText() ([]byte, error) { return marshalName(parityNames[:], int(p), "parity") }

// UnmarshalText reads the parity's name.
func (p *Parity) UnmarshalText(text []byte) error {
	i, err := unmarshalName(parityNames[:], text, "parity")
	*p = Parity(i)
	return err
}

// RS485Mode says who turns a two-wire line from sending to receiving.
type RS485Mode uint8

const (
	// RS485Auto lets the kernel turn the line where the port's driver can,
	// and otherwise takes it that the hardware does so by itself, as nearly
	// every USB adapter does. A full-duplex RS-232 line on a driver that can
	// wants RS485Off: the kernel does not listen while it sends.
	RS485Auto RS485Mode = 0
	// RS485Kernel demands that the kernel turns the line; Open fails where it
	// cannot.
	RS485Kernel RS485Mode = 1
	// RS485Off switches the kernel's turning off.
	RS485Off RS485Mode = 2
)

var rs485Names = [...]string{RS485Auto: "auto", RS485Kernel: "kernel", RS485Off: "off"}

// String returns auto, kernel or off.
func (m RS485Mode) String() string { return nameOf(rs485Names[:], int(m)) }

// MarshalText returns the mode's name.
func (m RS485Mode) MarshalText() ([]byte, error) { return marshalName(rs485Names[:], int(m), "rs485") }

// UnmarshalText reads the mode's name.
func (m *RS485Mode) UnmarshalText(text []byte) error {
	i, err := unmarshalName(rs485Names[:], text, "rs485")
	*m = RS485Mode(i)
	return err
}

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return "invalid"
}

func marshalName(names []string, i int, what string) ([]byte, error) {
	if i >= len(names) {
		return nil, fmt.Errorf("%s %d is not one of %s", what, i, strings.Join(names, ", "))
	}
	return []byte(names[i]), nil
}

func unmarshalName(names []string, text []byte, what string) (int, error) {
	for i, name := range names {
		if string(text) == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%s %q is not one of %s", what, text, strings.Join(names, ", "))
}

// bauds are the speeds that github.com/tarm/serial sets, each with its code in
// the termios flags (asm-generic/termbits.h).
var bauds = [...]struct {
	rate int
	code uint32
}{
	{50, unix.B50}, {75, unix.B75}, {110, unix.B110}, {134, unix.B134}, {150, unix.B150},
	{200, unix.B200}, {300, unix.B300}, {600, unix.B600}, {1200, unix.B1200}, {1800, unix.B1800},
	{2400, unix.B2400}, {4800, unix.B4800}, {9600, unix.B9600}, {19200, unix.B19200},
	{38400, unix.B38400}, {57600, unix.B57600}, {115200, unix.B115200}, {230400, unix.B230400},
	{460800, unix.B460800}, {500000, unix.B500000}, {576000, unix.B576000}, {921600, unix.B921600},
	{1000000, unix.B1000000}, {1152000, unix.B1152000}, {1500000, unix.B1500000},
	{2000000, unix.B2000000}, {2500000, unix.B2500000}, {3000000, unix.B3000000},
	{3500000, unix.B3500000}, {4000000, unix.B4000000},
}

// Bauds returns every speed that Open can set, in rising order.
func Bauds() []int {
	rates := make([]int, len(bauds))
	for i, b := range bauds {
		rates[i] = b.rate
	}
	return rates
}

func baudCode(rate int) (uint32, bool) {
	for _, b := range bauds {
		if b.rate == rate {
			return b.code, true
		}
	}
	return 0, false
}

// Validate reports every fault at once, each by its field in lower case.
func (c Config) Validate() error {
	c = c.withDefaults()
	var faults []error
	if !filepath.IsAbs(c.Device) {
		faults = append(faults, fmt.Errorf("device: %q is not an absolute path; write for instance /dev/serial/by-path/…", c.Device))
	}
	if _, ok := baudCode(c.Baud); !ok {
		faults = append(faults, fmt.Errorf("baud: %d is not one of %s", c.Baud, joinInts(Bauds())))
	}
	if c.DataBits < 5 || c.DataBits > 8 {
		faults = append(faults, fmt.Errorf("data_bits: %d is not 5, 6, 7 or 8", c.DataBits))
	}
	if int(c.Parity) >= len(parityNames) {
		faults = append(faults, fmt.Errorf("parity: %d is not one of %s", c.Parity, strings.Join(parityNames[:], ", ")))
	}
	if c.StopBits != 1 && c.StopBits != 2 {
		faults = append(faults, fmt.Errorf("stop_bits: %d is not 1 or 2", c.StopBits))
	}
	if int(c.RS485) >= len(rs485Names) {
		faults = append(faults, fmt.Errorf("rs485: %d is not one of %s", c.RS485, strings.Join(rs485Names[:], ", ")))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.DataBits == 0 {
		c.DataBits = 8
	}
	if c.StopBits == 0 {
		c.StopBits = 1
	}
	return c
}

// frame returns the form of a byte on the line, for instance 8N1.
func (c Config) frame() string {
	return strconv.Itoa(c.DataBits) + strings.ToUpper(c.Parity.String()[:1]) + strconv.Itoa(c.StopBits)
}

func joinInts(list []int) string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ", ")
}
