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
	userOps    = "ops"    // clients; also those that give no name
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
	ops    *server.Account
	all    *server.Account // of all boxes; nil where stations have keys

	mu       sync.Mutex
	stations map[string]station // by key
}

// station is who may connect with a key.
type station struct {
	name    string
	account *server.Account
}

// open prepares the accounts of srv, which has not been started.
func (d *doorkeeper) open(srv *server.Server, link *HubLink) error {
	d.srv = srv
	centre := srv.GlobalAccount()
	d.ops, _ = srv.LookupOrRegisterAccount(accountOps)
	faults := []error{export(centre), give(d.ops, centre, opsGrants())}
	if link == nil {
		var err error
		d.all, err = d.accountOf(accountStations, "*")
		faults = append(faults, err)
	} else {
		faults = append(faults, d.setStations(link.Stations))
	}
	return errors.Join(faults...)
}

// accountOf returns an account of the hub that has what the box of a station
// needs, * = of any. It is made where it is not there yet, and stays as long as
// the server.
func (d *doorkeeper) accountOf(name, station string) (*server.Account, error) {
	account, isNew := d.srv.LookupOrRegisterAccount(name)
	if !isNew {
		return account, nil
	}
	return account, give(account, d.srv.GlobalAccount(), boxGrants(station))
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
		account, err := d.accountOf(accountStation+s.Station, s.Station)
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

// Check implements server.Authentication.
func (d *doorkeeper) Check(c server.ClientAuthentication) bool {
	var user *server.User
	switch c.Kind() {
	case server.CLIENT:
		user = d.client(c.GetOpts())
	case server.LEAF:
		user = d.leaf(c)
	}
	if user == nil {
		return false
	}
	c.RegisterUser(user)
	return true
}

func (d *doorkeeper) client(opts *server.ClientOpts) *server.User {
	if opts.Nkey != "" || opts.JWT != "" || opts.Token != "" {
		return nil // who proves to be somebody else is not let in as nobody
	}
	switch opts.Username {
	case userCentre:
		if subtle.ConstantTimeCompare([]byte(opts.Password), []byte(d.secret)) == 1 {
			return &server.User{Username: userCentre, Account: d.srv.GlobalAccount()}
		}
	case userOps, "":
		return &server.User{Username: userOps, Account: d.ops, Permissions: opsPermission().server()}
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
