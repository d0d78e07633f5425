package station

import (
	"fmt"

	"gateline/internal/linkkey"
	"gateline/internal/tomlconf"
	"gateline/replication"
)

// checkLinkFile: a centre on another machine lets nobody in that it does not know.
func checkLinkFile(t tomlconf.Table, c *Config) {
	if c.LinkFile != "" {
		checkPath(t, "link_file", c.LinkFile)
		return
	}
	addresses, _ := replication.CentreAddresses(c.CentreURL) // an error is reported as url
	for _, address := range addresses {
		if !replication.OnLoopback(address) {
			t.Fault("link_file", "missing: a centre on another machine lets in only boxes that it knows; gateline link-key station makes the file at the centre")
			return
		}
	}
}

// readLink returns what the box is let in by, nil where no file is configured.
func readLink(c *Config) (*replication.BoxLink, error) {
	if c.LinkFile == "" {
		return nil, nil
	}
	l, err := linkkey.Read(c.LinkFile)
	switch {
	case err != nil:
		return nil, err
	case l.Seed() == "":
		return nil, fmt.Errorf("link file %s has no station's key, it is the centre's; gateline link-key station makes that of a box", c.LinkFile)
	case l.Name != c.Station:
		return nil, fmt.Errorf("link file %s was made for %q and this is %q; two boxes with one file push each other off the centre, give this one its own", c.LinkFile, l.Name, c.Station)
	}
	return &replication.BoxLink{TLS: l.Client(), Seed: l.Seed()}, nil
}
