package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gateline/internal/linkkey"
	"gateline/replication"
)

// clientsFile is the list of those who connect to the centre as clients.
const clientsFile = "clients"

// newLinkServer, newLinkClient and newLinkNATSConf make what a centre on servers of
// the operator's needs.
func newLinkServer() *cobra.Command {
	return &cobra.Command{
		Use:   "server DIR HOST...",
		Short: "Make the link files of NATS servers of your own",
		Long: "Makes DIR/server-HOST.pem for each server of a centre on servers of your own. HOST\n" +
			"is its name in the servers' routes. docs/examples/cluster has their configuration.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return makeServers(cmd, args[0], args[1:]) },
	}
}

func newLinkClient() *cobra.Command {
	var replace bool
	c := &cobra.Command{
		Use:   "client DIR NAME...",
		Short: "Make the link files of clients and put them into the list",
		Long: "Makes DIR/client-NAME.pem for each client and puts it into DIR/clients. What it may\n" +
			"do follows from its name: \"ops\", and what begins with \"ops-\", gives commands, with\n" +
			"gateline ops --link FILE; \"centre\" is the centre itself, for [nats] link_file; every\n" +
			"other is the channel of that name, such as app, machine, back-office, health-source,\n" +
			"and reaches the registry in that name only.",
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			list := filepath.Join(args[0], clientsFile)
			if _, err := os.Lstat(list); errors.Is(err, fs.ErrNotExist) {
				if err := makeFile(list, []byte(linkkey.ClientsHead), 0o644); err != nil {
					return err
				}
			}
			if err := makeKeys(cmd, args[0], args[1:], clientsFile, "client-", replace); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "Each file to who it is for, and no copy elsewhere. Then %s to the centre as [ops] clients_file and reload it,\nor where it runs on servers of your own:\n\n  gateline link-key nats-conf %s >accounts.conf\n", list, args[0])
			return nil
		},
	}
	c.Flags().BoolVar(&replace, "replace", false, "give clients that are in the list a new key")
	return c
}

func newLinkNATSConf() *cobra.Command {
	return &cobra.Command{
		Use:   "nats-conf DIR",
		Short: "Print the accounts of such servers, made from both lists",
		Long: "Prints accounts.conf for NATS servers of your own: whom they let in and what each\n" +
			"reaches, made from DIR/stations and DIR/clients. It holds no secret.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := accountsConf(args[0])
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(text)
			return err
		},
	}
}

func makeServers(cmd *cobra.Command, dir string, hosts []string) error {
	authority, err := linkkey.ReadAuthority(filepath.Join(dir, authorityFile))
	if err != nil {
		return err
	}
	for _, host := range hosts {
		file, err := authority.Server(host)
		if err != nil {
			return err
		}
		path := filepath.Join(dir, "server-"+host+".pem")
		if err := makeFile(path, file, 0o600); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s  %s\n", host, path)
	}
	fmt.Fprint(cmd.ErrOrStderr(), "Each file to its server as /etc/nats/link.pem, and no copy elsewhere.\n")
	return nil
}

func accountsConf(dir string) ([]byte, error) {
	stations, err := linkkey.ReadStations(filepath.Join(dir, stationsFile))
	if err != nil {
		return nil, err
	}
	clients, err := linkkey.ReadClients(filepath.Join(dir, clientsFile))
	if errors.Is(err, fs.ErrNotExist) {
		clients, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	var centre replication.ClientKey
	var others []replication.ClientKey
	for _, c := range clients {
		if c.Name == linkkey.CentreClient {
			centre = replication.ClientKey(c)
		} else {
			others = append(others, replication.ClientKey(c))
		}
	}
	if centre.Key == "" {
		return nil, fmt.Errorf("the list %s has no client %q: gateline link-key client %s %s", filepath.Join(dir, clientsFile), linkkey.CentreClient, dir, linkkey.CentreClient)
	}
	boxes := make([]replication.StationKey, 0, len(stations))
	for _, s := range stations {
		boxes = append(boxes, replication.StationKey{Station: s.Name, Key: s.Key})
	}
	text, err := replication.AccountsConf(boxes, centre, others)
	if err != nil {
		return nil, err
	}
	head := "# Made by: gateline link-key nats-conf. Make it anew when a list changes; the same on all servers.\n"
	return append([]byte(head), text...), nil
}
