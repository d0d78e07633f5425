package replication

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// crossings returns what an account exports and imports, in one form, with the
// centre's account under the name it has at servers of the operator's.
func crossings(t *testing.T, srv *server.Server, account string) []string {
	t.Helper()
	z, err := srv.Accountz(&server.AccountzOptions{Account: account})
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	add := func(kind string, value any) {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, kind+strings.ReplaceAll(string(text), `"$G"`, `"`+accountCentre+`"`))
	}
	for _, e := range z.Account.Exports {
		// Every server exports its own services to all.
		if subject := string(e.Subject); !strings.HasPrefix(subject, "$SYS.") {
			add("exports ", []any{e.Subject, e.Type, e.ResponseType, e.TokenReq, e.AccountTokenPosition})
		}
	}
	for _, i := range z.Account.Imports {
		if i.Account != server.DEFAULT_SYSTEM_ACCOUNT {
			add("imports ", []any{i.Subject, i.Account, i.LocalSubject, i.Type, i.Share})
		}
	}
	slices.Sort(all)
	return all
}

// A hub and servers of the operator's give the same to the same.
func TestAccountsConfIsWhatTheHubDoes(t *testing.T) {
	t.Parallel()
	here := newCity(t)
	_, xidan := here.station("xidan")
	_, dongdan := here.station("dongdan")
	_, centre := here.station("centre")
	_, ops := here.station("ops")
	_, app := here.station("app")
	clients := []ClientKey{{"ops", ops.Key}, {"app", app.Key}}
	stations := []StationKey{xidan, dongdan}
	hub, err := OpenHub(HubConfig{Dir: t.TempDir(), Link: &HubLink{TLS: here.server(), Stations: stations}, Clients: &HubClients{TLS: here.server(), Clients: clients}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hub.Close() }()
	text, err := AccountsConf(stations, ClientKey{"centre", centre.Key}, clients)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "accounts.conf")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	opts.DontListen, opts.NoSigs, opts.NoLog, opts.StoreDir = true, true, true, t.TempDir()
	srv, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	for ours, theirs := range map[string]string{"$G": accountCentre, accountOps: accountOps, accountChannel + "app": accountChannel + "app", accountStation + "xidan": accountStation + "xidan", accountStation + "dongdan": accountStation + "dongdan"} {
		want, got := crossings(t, hub.srv, ours), crossings(t, srv, theirs)
		if len(want) == 0 || !slices.Equal(want, got) {
			t.Errorf("account %s:\n%s\nat the hub, and by the file\n%s", theirs, strings.Join(want, "\n"), strings.Join(got, "\n"))
		}
	}
	users := map[string]struct {
		account, connection string
		permissions         *server.Permissions
	}{
		centre.Key:  {accountCentre, "STANDARD", nil},
		ops.Key:     {accountOps, "STANDARD", clientPermission(opsGrants()).server()},
		app.Key:     {accountChannel + "app", "STANDARD", clientPermission(channelGrants("app")).server()},
		xidan.Key:   {accountStation + "xidan", "LEAFNODE", boxPermission("xidan").server()},
		dongdan.Key: {accountStation + "dongdan", "LEAFNODE", boxPermission("dongdan").server()},
	}
	if len(opts.Nkeys) != len(users) || len(opts.Users) != 0 {
		t.Errorf("%d keys and %d passwords", len(opts.Nkeys), len(opts.Users))
	}
	for _, u := range opts.Nkeys {
		want := users[u.Nkey]
		_, only := u.AllowedConnectionTypes[want.connection]
		if u.Account.Name != want.account || len(u.AllowedConnectionTypes) != 1 || !only || !reflect.DeepEqual(u.Permissions, want.permissions) {
			t.Errorf("%s: account %s, connections %v, permissions %+v", want.account, u.Account.Name, u.AllowedConnectionTypes, u.Permissions)
		}
	}
}

func TestAccountsConfRefuses(t *testing.T) {
	t.Parallel()
	here := newCity(t)
	_, one := here.station("one")
	_, two := here.station("two")
	for name, test := range map[string]struct {
		stations []StationKey
		centre   ClientKey
		want     string
	}{
		"no centre":      {nil, ClientKey{}, "client"},
		"no key":         {[]StationKey{{"one", "U"}}, ClientKey{"centre", two.Key}, "station one"},
		"a key twice":    {[]StationKey{one}, ClientKey{"centre", one.Key}, "station one"},
		"a name twice":   {[]StationKey{one, {"one", two.Key}}, ClientKey{"centre", two.Key}, "twice"},
		"a name that is": {[]StationKey{{"one\" {", one.Key}}, ClientKey{"centre", two.Key}, "a station's name is made of"},
	} {
		if _, err := AccountsConf(test.stations, test.centre, nil); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
