package linkkey

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// CentreClient is the centre's own name in a list of clients, which has the form of
// a list of stations.
const CentreClient = "centre"

// ClientsHead is what a new list of clients begins with.
const ClientsHead = `# Who may connect to the centre as a client: a name and the public part of its key
# in each line. ops, and what begins with ops-, gives commands; centre is the centre
# itself, at servers of your own; every other is the channel of that name.
# gateline link-key client writes it. On one machine the centre reads it; at servers
# of your own gateline link-key nats-conf does.
`

// ReadClients is ReadStations for a list of clients.
func ReadClients(path string) ([]Station, error) { return readList(path, "client") }

// NATSOptions returns what a client connects to the centre with:
// over TLS, whatever the scheme of the address says, and by the key of the file.
// The error says which command makes a file that has one.
func (l *Link) NATSOptions() ([]nats.Option, error) {
	if l.seed == "" {
		return nil, errors.New("it has no key, so it is that of a server; gateline link-key client makes that of a client")
	}
	pair, err := nkeys.FromSeed([]byte(l.seed))
	if err != nil {
		return nil, fmt.Errorf("%w: the seed in it is not that of a NATS user", ErrLink)
	}
	return []nats.Option{nats.Secure(l.Client()), nats.Nkey(l.Public(), pair.Sign)}, nil
}
