package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"gateline/drivers/osdp"
	"gateline/drivers/osdp/setup"
)

// commissionFlags are what osdp commission is told.
type commissionFlags struct {
	readerFlags
	fromAddress, fromBaud, toBaud int
	onlyReader, force             bool
	within                        time.Duration
}

func newOSDPCommission(env environment) *cobra.Command {
	k := &commissionFlags{}
	k.env = env
	c := &cobra.Command{
		Use:   "commission",
		Short: "Give a new reader its own key, its address and its speed",
		Long: "Finds a reader in install mode, gives it a fresh random key in a session under\n" +
			"the default key, proves that key, then gives the reader its address and speed and\n" +
			"proves it there. Whoever listens on the line meanwhile can learn the key: do it\n" +
			"where nobody does, best on a bench.\n\n" +
			"The reader is looked for where --from-address and --from-baud say; without them\n" +
			"at its target and as it came from the factory, address 0 at 9600 baud.\n\n" +
			"It may be cut off at any moment, by either side's power: run the same command\n" +
			"again. The key is on the disk before the reader gets it, in the key file's name\n" +
			"with .new, and in the key file once the reader has proved it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return k.run(cmd) },
	}
	k.add(c)
	f := c.Flags()
	f.IntVar(&k.fromAddress, "from-address", 0, "the reader's present address")
	f.IntVar(&k.fromBaud, "from-baud", setup.FactoryBaud, "the reader's present speed")
	f.IntVar(&k.toBaud, "to-baud", 0, "the speed the reader gets; default: the line's")
	f.BoolVar(&k.onlyReader, "only-reader", false, "no other reader is on the line: find it whatever its address and speed")
	f.BoolVar(&k.force, "force", false, "let the new key take the place of one in the key file that this reader does not have")
	f.DurationVar(&k.within, "within", 2*time.Minute, "how long to wait for the reader, up to 10m")
	return c
}

func (k *commissionFlags) run(cmd *cobra.Command) error {
	told := cmd.Flags().Changed("from-address") || cmd.Flags().Changed("from-baud")
	switch {
	case k.fromAddress < 0 || k.fromAddress > osdp.MaxAddress:
		return errUsage{fmt.Errorf("--from-address %d is not 0 to %d", k.fromAddress, osdp.MaxAddress)}
	case !osdp.ValidBaud(uint32(max(k.fromBaud, 0))):
		return errUsage{fmt.Errorf("--from-baud %d is not one of %v", k.fromBaud, setup.Bauds())}
	case k.toBaud != 0 && !osdp.ValidBaud(uint32(max(k.toBaud, 0))):
		return errUsage{fmt.Errorf("--to-baud %d is not one of %v", k.toBaud, setup.Bauds())}
	case k.within <= 0 || k.within > setup.MaxWithin:
		return errUsage{fmt.Errorf("--within %v is not up to %v", k.within, setup.MaxWithin)}
	case told && k.onlyReader:
		return errUsage{errors.New("--only-reader finds the reader by itself; leave out --from-address and --from-baud")}
	}
	l, err := k.resolveReader()
	if err != nil {
		return err
	}
	keys, err := k.keys(l)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	c := setup.CommissionConfig{
		Target: setup.Place{Address: byte(k.address), Baud: k.targetBaud(l)}, OnlyReader: k.onlyReader,
		Keys: keys, Force: k.force, Within: k.within, Taken: l.taken(byte(k.address)),
		Say: func(step string) { fmt.Fprintln(out, step) },
	}
	if l.config.TCP != "" {
		c.OnlyBaud = l.config.Serial.Baud
	}
	if told {
		c.From = &setup.Place{Address: byte(k.fromAddress), Baud: k.fromBaud}
	}
	var done setup.Commissioned
	err = l.work(func(bus *setup.Bus) (err error) {
		done, err = setup.Commission(cmd.Context(), bus, c)
		return err
	})
	if err != nil {
		return interrupted(err, "run the same command again: it goes on where it was")
	}
	fmt.Fprintf(out, "done: reader %d is at %v, its key in %s\n", done.ID.Serial, done.To, keys.Path)
	noteOwner(out, keys.Path)
	if gate, known := l.gate(done.To.Address); known && done.To.Baud != l.config.Serial.Baud {
		fmt.Fprintf(out, "note: gate %s is on a line of %d baud in the configuration; change one or the other\n", gate.Name, l.config.Serial.Baud)
	}
	return nil
}

// noteOwner says where only root can read a key file, which is not the user
// that a box runs as.
func noteOwner(out io.Writer, path string) {
	var st unix.Stat_t
	if unix.Stat(path, &st) == nil && st.Uid == 0 && (st.Gid == 0 || st.Mode&0o040 == 0) {
		fmt.Fprintf(out, "note: only root can read the key file; for the box's user: chgrp gateline %[1]s && chmod 0640 %[1]s\n", path)
	}
}

func (k *commissionFlags) targetBaud(l setupLine) int {
	if k.toBaud != 0 {
		return k.toBaud
	}
	return l.baud
}

// taken returns the places of the line's other gates.
func (l setupLine) taken(address byte) (list []setup.Place) {
	for _, g := range l.config.Gates {
		if g.Address != address {
			list = append(list, setup.Place{Address: g.Address, Baud: l.config.Serial.Baud})
		}
	}
	return list
}

func newOSDPRekey(env environment) *cobra.Command {
	r := &readerFlags{lineFlags: lineFlags{env: env}}
	c := &cobra.Command{
		Use:   "rekey",
		Short: "Give a reader that has its own key a fresh one",
		Long: "Gives a reader a fresh random key in a session under its present one, which is\n" +
			"kept nowhere afterwards. It may be cut off at any moment: run the same command\n" +
			"again. The default key is never used.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := r.resolveReader()
			if err != nil {
				return err
			}
			keys, err := r.keys(l)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			err = l.work(func(bus *setup.Bus) error {
				_, err := setup.Rekey(cmd.Context(), bus, setup.RekeyConfig{
					Place: setup.Place{Address: byte(r.address), Baud: l.baud}, Keys: keys,
					Say: func(step string) { fmt.Fprintln(out, step) },
				})
				return err
			})
			if err != nil {
				return interrupted(err, "run the same command again: it goes on where it was")
			}
			fmt.Fprintf(out, "done: the reader's new key is in %s; the old one is kept nowhere\n", keys.Path)
			noteOwner(out, keys.Path)
			return nil
		},
	}
	r.add(c)
	return c
}
