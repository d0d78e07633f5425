package linkkey

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Clients is a list of those who connect to servers of the operator's as
// clients: the same form as the list of stations. CentreClient is the centre's
// name in it; every other may give commands.
const CentreClient = "centre"

// ClientsHead is what a new list of clients begins with.
const ClientsHead = `# Who may connect to the centre's servers as a client: a name and the public part
# of its key in each line. centre is the centre itself, every other gives commands.
# gateline link-key client writes it; gateline link-key nats-conf reads it.
`

// NATSOptions returns what a client connects to servers of the operator's with:
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
