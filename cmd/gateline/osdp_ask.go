package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gateline/drivers/osdp"
	"gateline/drivers/osdp/setup"
)

// maxKeepActive is the longest time that fits into KEEPACTIVE.
const maxKeepActive = 65535 * time.Millisecond

func newOSDPAsk(env environment) *cobra.Command {
	r := &readerFlags{lineFlags: lineFlags{env: env}}
	c := &cobra.Command{
		Use:   "ask {lstat|istat|ostat|rstat|id|cap|abort | acurxsize BYTES | keepactive DURATION | mfg OUI HEX}",
		Short: "Give one command to one reader and print its reply",
		Long: "Gives one command to one reader: in Secure Channel where there is a key for it,\n" +
			"in the configuration or by --key-file, else in clear.\n\n" +
			"  lstat istat ostat rstat   case and power, inputs, outputs, attached readers\n" +
			"  id cap                    who it is, what it has\n" +
			"  abort                     give up what takes long\n" +
			"  acurxsize BYTES           the longest answer to send, 128 to 1440\n" +
			"  keepactive DURATION       keep the card in the field, up to 65.535s\n" +
			"  mfg OUI HEX               a maker's own command: 6 and any hexadecimal digits",
		Args: cobra.RangeArgs(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			command, data, err := parseAsk(args)
			if err != nil {
				return errUsage{err}
			}
			l, err := r.resolveReader()
			if err != nil {
				return err
			}
			c := setup.AskConfig{Place: setup.Place{Address: byte(r.address), Baud: l.baud}, Command: command, Data: data}
			if c.Key, err = r.askKey(l); err != nil {
				return err
			}
			return l.work(func(bus *setup.Bus) error {
				code, data, err := setup.Ask(cmd.Context(), bus, c)
				if err != nil {
					return interrupted(err, "the reader may have done it")
				}
				fmt.Fprintln(cmd.OutOrStdout(), setup.ReplyText(code, data))
				return nil
			})
		},
	}
	r.add(c)
	return c
}

// askKey returns the reader's key, nil where it is to be asked in clear.
func (r *readerFlags) askKey(l setupLine) (*osdp.Key, error) {
	path := r.keyFile
	if gate, known := l.gate(byte(r.address)); path == "" && known {
		path = gate.KeyFile
	}
	if path == "" {
		return nil, nil
	}
	key, err := setup.ReadKeyFile(path)
	if err == nil && key == nil {
		err = fmt.Errorf("key file %s is not there; commission the reader first, or ask it in clear on a bench with --device", path)
	}
	return key, err
}

// parseAsk turns words into a command and its data.
func parseAsk(args []string) (command byte, data []byte, err error) {
	const hexDigits = "give a maker's command as mfg, 6 hexadecimal digits of the OUI, hexadecimal data"
	word, rest := strings.ToLower(args[0]), args[1:]
	takes := map[string]int{"acurxsize": 1, "keepactive": 1, "mfg": 2}[word]
	if word == "mfg" && len(rest) == 1 {
		takes = 1
	}
	plain := map[string]byte{
		"lstat": osdp.CmdLSTAT, "istat": osdp.CmdISTAT, "ostat": osdp.CmdOSTAT, "rstat": osdp.CmdRSTAT, "id": osdp.CmdID, "cap": osdp.CmdCAP,
		"abort": osdp.CmdABORT, "acurxsize": osdp.CmdACURXSIZE, "keepactive": osdp.CmdKEEPACTIVE, "mfg": osdp.CmdMFG,
	}
	command, known := plain[word]
	switch {
	case !known:
		return 0, nil, fmt.Errorf("there is no command %q for a reader", args[0])
	case len(rest) != takes:
		return 0, nil, fmt.Errorf("%s takes %s, not %d", word, counted(takes, "argument"), len(rest))
	}
	switch command {
	case osdp.CmdID, osdp.CmdCAP:
		data = osdp.AppendRequest(nil)
	case osdp.CmdACURXSIZE:
		size, err := strconv.Atoi(rest[0])
		if err != nil || size < osdp.MinRxBuffer || size > osdp.MaxFrame {
			return 0, nil, fmt.Errorf("acurxsize %q is not %d to %d", rest[0], osdp.MinRxBuffer, osdp.MaxFrame)
		}
		data = osdp.AppendRxSize(nil, size)
	case osdp.CmdKEEPACTIVE:
		d, err := time.ParseDuration(rest[0])
		if err != nil || d < time.Millisecond || d > maxKeepActive {
			return 0, nil, fmt.Errorf("keepactive %q is not a time of 1ms to %v", rest[0], maxKeepActive)
		}
		data = osdp.AppendKeepActive(nil, d)
	case osdp.CmdMFG:
		var all []byte
		if all, err = hex.DecodeString(strings.Join(rest, "")); err != nil || len(rest[0]) != 6 {
			return 0, nil, errors.New(hexDigits)
		}
		if len(all) > setup.MaxAsked {
			return 0, nil, fmt.Errorf("%d bytes for the maker's command; give at most %d", len(all), setup.MaxAsked)
		}
		data = all
	}
	return command, data, nil
}
