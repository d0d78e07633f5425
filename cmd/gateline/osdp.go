package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"gateline/drivers"
	"gateline/drivers/osdp"
	"gateline/drivers/osdp/setup"
	"gateline/drivers/serial"
	"gateline/gateway/station"
)

func newOSDP(env environment) *cobra.Command {
	c := group("osdp", "Find and set up OSDP readers on a line that no box runs on",
		newOSDPScan(env), newOSDPCommission(env), newOSDPRekey(env), newOSDPAsk(env))
	c.Long = "Finds and sets up OSDP readers. The box must not run on the line meanwhile.\n\n" +
		"A line is one of the box's configuration (--config, --line), or on a bench any\n" +
		"serial port (--device, --baud)."
	return c
}

// lineFlags say which line a command works on.
type lineFlags struct {
	env                  environment
	config, line, device string
	baud                 int
}

func (l *lineFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&l.config, "config", defaultStationConfig, "configuration file of the box")
	f.StringVar(&l.line, "line", "", "name of the line in the configuration; where it has one OSDP line only, that one")
	f.StringVar(&l.device, "device", "", "serial port of a bench, without a configuration")
	f.IntVar(&l.baud, "baud", 0, "speed of the line; default: the configuration's, on a bench 9600")
}

// setupLine is the line a command works on.
type setupLine struct {
	config station.LineConfig // Gates is empty on a bench
	baud   int
}

// resolve reads the flags and, where they need it, the configuration.
func (l *lineFlags) resolve() (setupLine, error) {
	if l.baud != 0 && !osdp.ValidBaud(uint32(l.baud)) {
		return setupLine{}, errUsage{fmt.Errorf("--baud %d is not one of %v", l.baud, setup.Bauds())}
	}
	if l.device != "" {
		if l.line != "" {
			return setupLine{}, errUsage{errors.New("give --line or --device, not both")}
		}
		at := setupLine{baud: l.baud}
		if at.baud == 0 {
			at.baud = setup.FactoryBaud
		}
		at.config = station.LineConfig{Name: l.device, Protocol: station.ProtocolOSDP, Serial: serial.Config{Device: l.device, Baud: at.baud}}
		return at, nil
	}
	cfg, err := loadStation(l.config, l.env)
	if err != nil {
		return setupLine{}, fmt.Errorf("%w; on a bench give --device instead", err)
	}
	line, err := pickLine(cfg, l.line)
	if err != nil {
		return setupLine{}, err
	}
	at := setupLine{config: line, baud: line.Serial.Baud}
	if l.baud != 0 {
		at.baud = l.baud
	}
	return at, nil
}

// pickLine returns the OSDP line of that name, or the only one.
func pickLine(cfg station.Config, name string) (station.LineConfig, error) {
	var readers []station.LineConfig
	names := ""
	for _, l := range cfg.Lines {
		if l.Protocol == station.ProtocolOSDP {
			readers = append(readers, l)
			names += " " + l.Name
		}
		switch {
		case l.Name == name && l.Protocol == station.ProtocolOSDP:
			return l, nil
		case l.Name == name:
			return l, fmt.Errorf("line %q speaks %s; set protocol = \"osdp\" for it, or give one of:%s", name, l.Protocol, orNone(names))
		}
	}
	switch {
	case name != "":
		return station.LineConfig{}, fmt.Errorf("the configuration has no line %q; its OSDP lines are:%s", name, orNone(names))
	case len(readers) != 1:
		return station.LineConfig{}, errUsage{fmt.Errorf("give --line; the configuration's OSDP lines are:%s", orNone(names))}
	}
	return readers[0], nil
}

func orNone(names string) string {
	if names == "" {
		return " none"
	}
	return names
}

// open opens the line's port at a speed.
func (l setupLine) open(ctx context.Context, baud int) (drivers.Port, error) {
	if l.config.TCP != "" {
		if baud != l.config.Serial.Baud {
			return nil, fmt.Errorf("line %q is behind serial device server %s, which alone sets the speed; set %d baud there and in the configuration, or use a serial adapter with --device", l.config.Name, l.config.TCP, baud)
		}
		return drivers.DialTCP(l.config.TCP)(ctx)
	}
	c := l.config.Serial
	c.Baud = baud
	port, err := serial.Open(c)
	switch {
	case errors.Is(err, serial.ErrInUse):
		return nil, fmt.Errorf("%w; if the box holds it, stop the box first: systemctl stop gateline", err)
	case err != nil:
		return nil, err
	}
	return port, nil
}

// gate returns the gate that the configuration has at an address.
func (l setupLine) gate(address byte) (station.GateConfig, bool) {
	for _, g := range l.config.Gates {
		if g.Address == address {
			return g, true
		}
	}
	return station.GateConfig{}, false
}

// work runs f with the line, whose port is given back afterwards.
func (l setupLine) work(f func(*setup.Bus) error) (err error) {
	bus := setup.NewBus(setup.Config{Open: l.open, Now: time.Now, Random: rand.Reader})
	defer func() { err = errors.Join(err, bus.Close()) }()
	return f(bus)
}

// interrupted says in words that ctx has ended.
func interrupted(err error, then string) error {
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted; " + then)
	}
	return err
}

// readerFlags say which reader of a line a command is for.
type readerFlags struct {
	lineFlags
	address int
	keyFile string
}

func (r *readerFlags) add(c *cobra.Command) {
	r.lineFlags.add(c)
	f := c.Flags()
	f.IntVar(&r.address, "address", -1, "the reader's address, 0 to 126")
	f.Lookup("address").DefValue = "" // there is none
	f.StringVar(&r.keyFile, "key-file", "", "file of the reader's key; default: that of the gate at --address in the configuration")
}

// resolveReader is resolve with the checks of the address.
func (r *readerFlags) resolveReader() (setupLine, error) {
	switch {
	case r.address == -1:
		return setupLine{}, errUsage{errors.New("give --address, the reader's address")}
	case r.address < 0 || r.address > osdp.MaxAddress:
		return setupLine{}, errUsage{fmt.Errorf("--address %d is not 0 to %d", r.address, osdp.MaxAddress)}
	}
	return r.resolve()
}

// keys returns where the reader's key is kept.
func (r *readerFlags) keys(l setupLine) (setup.KeyFile, error) {
	gate, known := l.gate(byte(r.address))
	switch {
	case r.keyFile != "":
		return setup.KeyFile{Path: r.keyFile}, nil
	case known && gate.KeyFile != "":
		return setup.KeyFile{Path: gate.KeyFile}, nil
	case known:
		return setup.KeyFile{}, fmt.Errorf("gate %q has no key_file in the configuration; add one, or give --key-file", gate.Name)
	case len(l.config.Gates) > 0:
		return setup.KeyFile{}, fmt.Errorf("the configuration has no gate at address %d of line %q; add it, or give --key-file", r.address, l.config.Name)
	}
	return setup.KeyFile{}, errUsage{errors.New("give --key-file, the file of the reader's key")}
}
