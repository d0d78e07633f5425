package replication

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// Users that a connection to the hub can name.
const (
	userCentre = "centre" // connections inside the process, by a secret of this run
	userBox    = "box"    // leaf nodes of a hub without a Link
	userOps    = "ops"    // clients of a hub without Clients; also those that give no name
)

// StationKey is a station and the public nkey (U…) by which its box is known.
type StationKey struct{ Station, Key string }

// doorkeeper says who may connect to a hub, and puts each into an account of
// its own. What one account sends reaches another only where a grant says so, and
// that holds for answers too: within one account a station could have the answer
// to a question of its own sent to the subject of the feed, where it would be
// stored and could be neither used nor deleted.
type doorkeeper struct {
	secret string // of userCentre
	srv    *server.Server
	open   *server.Account // of all clients; nil where clients have keys
	all    *server.Account // of all boxes; nil where stations have keys

	mu       sync.Mutex         // guards what follows
	stations map[string]station // by key
	clients  map[string]*server.User
}

// station is who may connect with a key.
type station struct {
	name    string
	account *server.Account
}

// prepare makes the accounts of srv, which has not been started.
func (d *doorkeeper) prepare(srv *server.Server, cfg *HubConfig) error {
	d.srv = srv
	faults := []error{export(srv.GlobalAccount())}
	var err error
	if cfg.Clients == nil {
		d.open, err = d.accountOf(accountOps, openGrants())
	} else {
		err = d.setClients(cfg.Clients.Clients)
	}
	faults = append(faults, err)
	if cfg.Link == nil {
		d.all, err = d.accountOf(accountStations, boxGrants("*"))
	} else {
		err = d.setStations(cfg.Link.Stations)
	}
	return errors.Join(append(faults, err)...)
}

// accountOf returns an account of the hub that is given the grants. It is made
// where it is not there yet, and stays as long as the server.
func (d *doorkeeper) accountOf(name string, grants []grant) (*server.Account, error) {
	account, isNew := d.srv.LookupOrRegisterAccount(name)
	if !isNew {
		return account, nil
	}
	return account, give(account, d.srv.GlobalAccount(), grants)
}

// setStations replaces the stations that may connect, and disconnects those
// that no longer may.
func (d *doorkeeper) setStations(list []StationKey) error {
	next := make(map[string]station, len(list))
	names := make(map[string]bool, len(list))
	for _, s := range list {
		if _, twice := next[s.Key]; twice || names[s.Station] || !nkeys.IsValidPublicUserKey(s.Key) {
			return fmt.Errorf("station %s: its key is none, or key or station stand there twice", s.Station)
		}
		account, err := d.accountOf(accountStation+s.Station, boxGrants(s.Station))
		if err != nil {
			return fmt.Errorf("account of station %s: %w", s.Station, err)
		}
		next[s.Key], names[s.Station] = station{s.Station, account}, true
	}
	d.mu.Lock()
	before := d.stations
	d.stations = next
	d.mu.Unlock()
	gone := map[string]bool{} // accounts
	for key, s := range before {
		if _, stays := next[key]; !stays {
			gone[s.account.Name] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	leafs, err := d.srv.Leafz(nil)
	if err != nil {
		return fmt.Errorf("list the boxes that are connected: %w", err)
	}
	for _, l := range leafs.Leafs {
		if gone[l.Account] {
			_ = d.srv.DisconnectClientByID(l.ID) // or it has gone by itself
		}
	}
	return nil
}

// setClients replaces the clients that may connect, and disconnects those that no
// longer may.
func (d *doorkeeper) setClients(list []ClientKey) error {
	next := make(map[string]*server.User, len(list))
	if err := checkAccounts(nil, list); err != nil {
		return err
	}
	for _, c := range list {
		name, grants := c.account()
		account, err := d.accountOf(name, grants)
		if err != nil {
			return fmt.Errorf("account of client %s: %w", c.Name, err)
		}
		next[c.Key] = &server.User{Username: c.Name, Account: account, Permissions: clientPermission(grants).server()}
	}
	d.mu.Lock()
	before := d.clients
	d.clients = next
	d.mu.Unlock()
	gone := map[string]bool{} // keys
	for key, c := range before {
		if now, stays := next[key]; !stays || now.Username != c.Username {
			gone[key] = true
		}
	}
	if len(gone) == 0 {
		return nil
	}
	conns, err := d.srv.Connz(&server.ConnzOptions{Username: true, Limit: maxClients})
	if err != nil {
		return fmt.Errorf("list the clients that are connected: %w", err)
	}
	for _, c := range conns.Conns {
		if gone[c.AuthorizedUser] {
			_ = d.srv.DisconnectClientByID(c.Cid) // or it has gone by itself
		}
	}
	return nil
}

// maxClients is the largest number of connections of clients to a hub.
const maxClients = 1 << 16

// Check implements server.Authentication.
func (d *doorkeeper) Check(c server.ClientAuthentication) bool {
	var user *server.User
	switch c.Kind() {
	case server.CLIENT:
		user = d.client(c)
	case server.LEAF:
		user = d.leaf(c)
	}
	if user == nil {
		return false
	}
	c.RegisterUser(user)
	return true
}

func (d *doorkeeper) client(c server.ClientAuthentication) *server.User {
	opts := c.GetOpts()
	if opts.JWT != "" || opts.Token != "" {
		return nil // who proves to be somebody else is not let in as nobody
	}
	if opts.Nkey != "" {
		d.mu.Lock()
		user, known := d.clients[opts.Nkey]
		d.mu.Unlock()
		if !known || !signed(opts, c.GetNonce()) {
			return nil
		}
		return user
	}
	switch opts.Username {
	case userCentre:
		if subtle.ConstantTimeCompare([]byte(opts.Password), []byte(d.secret)) == 1 {
			return &server.User{Username: userCentre, Account: d.srv.GlobalAccount()}
		}
	case userOps, "":
		if d.open != nil {
			return &server.User{Username: userOps, Account: d.open, Permissions: clientPermission(openGrants()).server()}
		}
	}
	return nil
}

func (d *doorkeeper) leaf(c server.ClientAuthentication) *server.User {
	opts := c.GetOpts()
	if d.all != nil {
		if opts.Username != userBox {
			return nil
		}
		return &server.User{Username: userBox, Account: d.all, Permissions: boxPermission("*").server()}
	}
	d.mu.Lock()
	s, known := d.stations[opts.Nkey]
	d.mu.Unlock()
	if !known || !signed(opts, c.GetNonce()) {
		return nil
	}
	return &server.User{Username: s.name, Account: s.account, Permissions: boxPermission(s.name).server()}
}

// signed reports whether who connects has the secret of the key that he names.
func signed(opts *server.ClientOpts, nonce []byte) bool {
	signature, err := base64.RawURLEncoding.DecodeString(opts.Sig)
	if err != nil || len(nonce) == 0 {
		return false
	}
	key, err := nkeys.FromPublicKey(opts.Nkey)
	return err == nil && key.Verify(nonce, signature) == nil
}
