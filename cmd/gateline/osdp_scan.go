package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gateline/drivers/osdp"
	"gateline/drivers/osdp/setup"
)

// scanFlags are what osdp scan is told.
type scanFlags struct {
	lineFlags
	allBauds, json bool
	from, to       int
	wait           time.Duration
}

func newOSDPScan(env environment) *cobra.Command {
	s := &scanFlags{lineFlags: lineFlags{env: env}}
	c := &cobra.Command{
		Use:   "scan",
		Short: "Find the readers on a line and say who they are and which key they have",
		Long: "Asks every address who it is. A line of 127 addresses takes about 15 seconds at\n" +
			"one speed. Readers of the configuration that do not answer are listed too.\n" +
			"Nothing is changed in a reader.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	s.add(c)
	f := c.Flags()
	f.BoolVar(&s.allBauds, "all-bauds", false, "try every speed of OSDP, the line's own first")
	f.IntVar(&s.from, "from", 0, "first address")
	f.IntVar(&s.to, "to", osdp.MaxAddress, "last address")
	f.DurationVar(&s.wait, "wait", setup.DefaultScanWait, "wait for an answer, up to 200ms")
	f.BoolVar(&s.json, "json", false, "answer with one JSON object on standard output")
	return c
}

func (s *scanFlags) run(cmd *cobra.Command) error {
	switch {
	case s.from < 0 || s.to > osdp.MaxAddress || s.from > s.to:
		return errUsage{fmt.Errorf("--from %d --to %d: give addresses in rising order, 0 to %d", s.from, s.to, osdp.MaxAddress)}
	case s.wait < setup.MinScanWait || s.wait > setup.MaxScanWait:
		return errUsage{fmt.Errorf("--wait %v is not %v to %v", s.wait, setup.MinScanWait, setup.MaxScanWait)}
	case s.allBauds && s.baud != 0:
		return errUsage{fmt.Errorf("give --baud or --all-bauds, not both")}
	}
	l, err := s.resolve()
	if err != nil {
		return err
	}
	keys, faults := l.knownKeys()
	for _, fault := range faults {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", fault)
	}
	bar := newBar(cmd.ErrOrStderr(), true)
	c := setup.ScanConfig{
		From: byte(s.from), To: byte(s.to), Bauds: s.bauds(l), Wait: s.wait,
		Key: func(address byte) *osdp.Key { return keys[address] },
	}
	if bar.terminal {
		c.Progress = func(baud, done, total int) { bar.show(fmt.Sprint(baud), done, total) }
	}
	var found []setup.Found
	err = l.work(func(bus *setup.Bus) (err error) {
		found, err = setup.Scan(cmd.Context(), bus, c)
		return err
	})
	bar.end()
	if err != nil && len(found) == 0 {
		return interrupted(err, "nothing was found until then")
	}
	r := l.report(found, c, keys)
	if err == nil {
		r.Silent = l.silent(found, c)
	}
	if s.json {
		if err := json.NewEncoder(cmd.OutOrStdout()).Encode(r); err != nil {
			return err
		}
	} else {
		r.print(cmd.OutOrStdout())
	}
	return interrupted(err, "the scan is not complete")
}

// bauds returns the speeds to try, the line's own first.
func (s *scanFlags) bauds(l setupLine) []int {
	list := []int{l.baud}
	if s.allBauds {
		for _, baud := range setup.Bauds() {
			if baud != l.baud {
				list = append(list, baud)
			}
		}
	}
	return list
}

// knownKeys reads the keys of the line's gates. A file that is not there yet is
// no fault: its reader is still to be commissioned.
func (l setupLine) knownKeys() (keys map[byte]*osdp.Key, faults []error) {
	keys = map[byte]*osdp.Key{}
	for _, g := range l.config.Gates {
		if g.KeyFile == "" {
			continue
		}
		key, err := setup.ReadKeyFile(g.KeyFile)
		if err != nil {
			faults = append(faults, fmt.Errorf("gate %s: %w", g.Name, err))
		} else if key != nil {
			keys[g.Address] = key
		}
	}
	return keys, faults
}

// scanReport is what a scan says, to people and programs.
type scanReport struct {
	Line    string          `json:"line"`
	Bauds   []int           `json:"bauds"`
	Readers []scannedReader `json:"readers"`
	// Silent are the gates of the configuration that did not answer at its speed.
	Silent []silentGate `json:"silent"`
}

type silentGate struct {
	Gate    string `json:"gate"`
	Address byte   `json:"address"`
}

type scannedReader struct {
	Address  byte       `json:"address"`
	Gate     string     `json:"gate,omitempty"`
	Baud     int        `json:"baud"`
	Damaged  bool       `json:"damaged,omitempty"`
	ID       *scannedID `json:"id,omitempty"`
	Has      *hasParts  `json:"has,omitempty"`
	Security string     `json:"security,omitempty"`
	// KeyKnown: there is a key for this address in the configuration.
	KeyKnown bool `json:"key_known"`

	has string
}

type scannedID struct {
	OUI      string `json:"oui"`
	Model    byte   `json:"model"`
	Version  byte   `json:"version"`
	Serial   uint32 `json:"serial"`
	Firmware string `json:"firmware"`
}

type hasParts struct {
	Outputs     byte `json:"outputs"`
	TimedOutput bool `json:"timed_output"`
	LEDs        byte `json:"leds"`
	TimedLED    bool `json:"timed_led"`
	Buzzer      bool `json:"buzzer"`
	Text        bool `json:"text"`
	Inputs      byte `json:"inputs"`
	AES         bool `json:"aes"`
	RxBuffer    int  `json:"rx_buffer"`
}

func (l setupLine) report(found []setup.Found, c setup.ScanConfig, keys map[byte]*osdp.Key) scanReport {
	r := scanReport{Line: l.config.Name, Bauds: c.Bauds, Readers: []scannedReader{}, Silent: []silentGate{}}
	for _, f := range found {
		one := scannedReader{Address: f.Address, Baud: f.Baud, Damaged: f.Damaged, KeyKnown: keys[f.Address] != nil}
		if gate, known := l.gate(f.Address); known {
			one.Gate = gate.Name
		}
		if f.Identified {
			id := f.ID
			one.ID = &scannedID{setup.OUIText(id.OUI), id.Model, id.Version, id.Serial, setup.FirmwareText(id.Firmware)}
			one.Security = f.Security.String()
		}
		if has := &f.Capabilities; f.Described {
			one.has = setup.HasText(has)
			one.Has = &hasParts{has.Outputs, has.TimedOutput(), has.LEDs, has.TimedLED(), has.Sound(), has.Text(), has.Inputs, has.AES, has.RxBuffer}
		}
		r.Readers = append(r.Readers, one)
	}
	return r
}

// silent returns the gates that were asked at their speed and did not answer.
func (l setupLine) silent(found []setup.Found, c setup.ScanConfig) []silentGate {
	list := []silentGate{}
	for _, g := range l.config.Gates {
		asked := g.Address >= c.From && g.Address <= c.To && slices.Contains(c.Bauds, l.config.Serial.Baud)
		heard := slices.ContainsFunc(found, func(f setup.Found) bool {
			return f.Address == g.Address && f.Baud == l.config.Serial.Baud
		})
		if asked && !heard {
			list = append(list, silentGate{g.Name, g.Address})
		}
	}
	return list
}

// manyDamaged answers are a fault of the line and not of a reader.
const manyDamaged = 8

func (r *scanReport) print(out io.Writer) {
	damaged, install := 0, 0
	if len(r.Readers) > 0 {
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "ADDRESS\tGATE\tBAUD\tMAKER\tMODEL\tSERIAL\tFIRMWARE\tSECURE\tHAS")
		for i := range r.Readers {
			one := &r.Readers[i]
			fmt.Fprintln(table, one.row())
			if one.Damaged {
				damaged++
			}
			if one.Security == setup.SecurityDefaultKey.String() {
				install++
			}
		}
		_ = table.Flush() // as with fmt.Fprintln, nobody is left to tell
	}
	for _, g := range r.Silent {
		fmt.Fprintf(out, "gate %s, address %d: no answer; check its power, wiring, address and speed (scan --all-bauds)\n", g.Gate, g.Address)
	}
	if install > 0 {
		fmt.Fprintf(out, "warning: %s in install mode can be taken over by anybody on the line; give each its key with gateline osdp commission\n", counted(install, "reader"))
	}
	if damaged > manyDamaged {
		fmt.Fprintln(out, "warning: so many damaged answers are a fault of the line: check A and B, termination, bias and that nothing else sends")
	}
	fmt.Fprintf(out, "%s on line %s at %s baud\n", counted(len(r.Readers), "answer"), r.Line, joinBauds(r.Bauds))
}

func joinBauds(list []int) string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = fmt.Sprint(n)
	}
	return strings.Join(texts, ", ")
}

// row is one line of the table, its columns apart by tabs.
func (r *scannedReader) row() string {
	gate, has := r.Gate, r.has
	if gate == "" {
		gate = "-"
	}
	if has == "" {
		has = "does not say"
	}
	head := fmt.Sprintf("%d\t%s\t%d\t", r.Address, gate, r.Baud)
	switch {
	case r.Damaged:
		return head + setup.DamagedText
	case r.ID == nil:
		return head + "answers, and does not say who it is"
	}
	return head + fmt.Sprintf("%s\t%d v%d\t%d\t%s\t%s\t%s", r.ID.OUI, r.ID.Model, r.ID.Version, r.ID.Serial, r.ID.Firmware, r.secure(), has)
}

func (r *scannedReader) secure() string {
	switch r.Security {
	case setup.SecurityOwnKey.String():
		return "own key ok"
	case setup.SecurityOtherKey.String():
		if r.KeyKnown {
			return "own key, not the one configured"
		}
		return "own key, none known here"
	case setup.SecurityDefaultKey.String():
		return "default key (install mode)"
	case setup.SecurityNone.String():
		return "none"
	}
	return "no answer to the handshake"
}
