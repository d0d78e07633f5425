package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gateline/gateway"
	"gateline/internal/linkkey"
)

// The files of the folder that gateline link-key works in.
const (
	authorityFile  = "authority.pem"
	centreLinkFile = "centre.pem"
	stationsFile   = "stations"
)

// newLinkKey is the command that makes what box and centre know each other by.
// It prints no secret.
func newLinkKey() *cobra.Command {
	var replace bool
	station := &cobra.Command{
		Use:   "station DIR NAME...",
		Short: "Make the link files of stations and put them into the list",
		Long: "Makes DIR/NAME.pem for each station, to be copied to its box and then deleted here,\n" +
			"and puts the station into DIR/stations. With --replace a station gets a new key, for\n" +
			"a box that was exchanged or stolen: the one with the old key is kept out.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := makeKeys(cmd, args[0], args[1:], stationsFile, "", replace); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Each file to its box as /etc/gateline/link.pem, and no copy elsewhere. %s to the centre, then:\n\n  systemctl reload gateline-central\n", filepath.Join(args[0], stationsFile))
			return nil
		},
	}
	station.Flags().BoolVar(&replace, "replace", false, "give stations that are in the list a new key")
	c := group("link-key", "Make what boxes and centre know each other by",
		&cobra.Command{
			Use:   "init DIR",
			Short: "Make a city's authority and the centre's link file",
			Long: "Makes DIR with the authority, which signs for boxes and centre, the link file of the\n" +
				"centre and an empty list of stations. Where one of them is there already, nothing\n" +
				"is changed. The authority's file belongs in a safe place, not at the centre.",
			Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error { return initLinks(cmd, args[0]) },
		},
		station, newLinkServer(), newLinkClient(), newLinkNATSConf(),
		&cobra.Command{
			Use:   "remove DIR NAME...",
			Short: "Take stations out of the list",
			Args:  cobra.MinimumNArgs(2),
			RunE: func(cmd *cobra.Command, args []string) error {
				list := filepath.Join(args[0], stationsFile)
				for _, name := range args[1:] {
					if err := linkkey.RemoveStation(list, name); err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s  taken out of %s\n", name, list)
				}
				fmt.Fprint(cmd.ErrOrStderr(), "The centre keeps them out once it has the list: systemctl reload gateline-central\n")
				return nil
			},
		},
		&cobra.Command{
			Use:   "show FILE",
			Short: "Show whose link file it is",
			Args:  cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				l, err := linkkey.Read(args[0])
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", l.Name, l.Public())
				return nil
			},
		})
	c.Long = "Boxes reach the centre over TLS, where each end shows a certificate of the city's own\n" +
		"authority, and with a key for each station; the list of stations says who is let in.\n" +
		"Certificates have no end. How to set up, exchange a box and shut one out:\n" +
		"docs/OPERATIONS.md."
	return c
}

func initLinks(cmd *cobra.Command, dir string) error {
	authority, err := linkkey.NewAuthority()
	if err != nil {
		return err
	}
	secret, err := authority.PEM()
	if err != nil {
		return err
	}
	centre, err := authority.Centre()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the link files: %w: name one that this user may write to", err)
	}
	for _, name := range []string{authorityFile, centreLinkFile, stationsFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already and was left as it is: gateline link-key station goes on with it; a city's first authority belongs into a new folder", filepath.Join(dir, name))
		}
	}
	err = errors.Join(makeFile(filepath.Join(dir, authorityFile), secret, 0o600), makeFile(filepath.Join(dir, centreLinkFile), centre, 0o600),
		makeFile(filepath.Join(dir, stationsFile), []byte(linkkey.StationsHead), 0o644))
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\n%s\n", filepath.Join(dir, authorityFile), filepath.Join(dir, centreLinkFile), filepath.Join(dir, stationsFile))
	fmt.Fprintf(cmd.ErrOrStderr(), "%s to the centre as /etc/gateline/link.pem, %s as /etc/gateline/stations.\n"+
		"Keep %s in a safe place; whoever has it can make himself a box. Next:\n\n  gateline link-key station %s NAME...\n",
		centreLinkFile, stationsFile, authorityFile, dir)
	return nil
}

// makeKeys makes link files, PREFIXname.pem, and puts their owners into a list. The
// files come first: a name is in the list only if its file is there.
func makeKeys(cmd *cobra.Command, dir string, names []string, listFile, prefix string, replace bool) error {
	authority, err := linkkey.ReadAuthority(filepath.Join(dir, authorityFile))
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := gateway.ValidStation(name); err != nil {
			return err
		}
	}
	list := filepath.Join(dir, listFile)
	for _, name := range names {
		file, public, err := authority.Station(name)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, prefix+name+".pem")
		if _, err := os.Lstat(path); err == nil && !replace {
			return fmt.Errorf("%s is there already and was left as it is: --replace gives a new key", path)
		}
		// What an earlier attempt left behind is in no list.
		next := path + ".new"
		if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("make link file: %w: name a folder that this user may write to", err)
		}
		if err := makeFile(next, file, 0o600); err != nil {
			return err
		}
		if err := linkkey.AddStation(list, linkkey.Station{Name: name, Key: public}, replace); err != nil {
			return errors.Join(err, os.Remove(next))
		}
		if err := os.Rename(next, path); err != nil {
			return fmt.Errorf("make link file: %w: the station is in the list, and its file is %s", err, next)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", name, path)
	}
	return nil
}

// makeFile makes a file that is not there yet.
func makeFile(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and was left as it is", path)
	}
	if err != nil {
		return fmt.Errorf("make %w: name a folder that this user may write to", err)
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w: see to the disk, then delete the file and try again", path, err)
	}
	return nil
}
