package replication

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nkeys"

	"gateline/gateway"
)

// ClientKey is somebody who connects to the centre's servers as a client and the
// public nkey (U…) by which he is known.
type ClientKey struct{ Name, Key string }

// channelOps is the registry's channel of the operator's own staff.
const channelOps = "ops"

// ops reports whether a client is one of the operator's staff, by his name: ops, or
// one that begins with "ops-". Every other is the channel of his name, so that a
// name that is written wrong may do nothing.
func (c ClientKey) ops() bool {
	return c.Name == channelOps || strings.HasPrefix(c.Name, channelOps+"-")
}

// account returns the account that a client is in, and what that is given.
func (c ClientKey) account() (name string, grants []grant) {
	if c.ops() {
		return accountOps, opsGrants()
	}
	return accountChannel + c.Name, channelGrants(c.Name)
}

// AccountsConf returns the accounts of NATS servers that are the operator's own,
// as a part of their configuration: whom they let in, and what each is given.
// It is what a Hub does for its own stations and clients. centre is the key of the
// centre; a client is one of the operator's staff, or a channel, by his name.
func AccountsConf(stations []StationKey, centre ClientKey, clients []ClientKey) ([]byte, error) {
	if err := checkAccounts(stations, append([]ClientKey{centre}, clients...)); err != nil {
		return nil, fmt.Errorf("write the servers' accounts: %w", err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "accounts {\n  %s {\n    jetstream: enabled\n    users: [\n      %s\n    ]\n    exports: [\n", accountCentre, userConf(centre, nil, "STANDARD"))
	for _, g := range exports() {
		fmt.Fprintf(&b, "      %s\n", g.exportConf())
	}
	fmt.Fprint(&b, "    ]\n  }\n")
	var staff []string
	for _, c := range clients {
		name, grants := c.account()
		p := clientPermission(grants)
		user := userConf(c, &p, "STANDARD")
		if c.ops() {
			staff = append(staff, user)
			continue
		}
		accountConf(&b, name, []string{user}, grants)
	}
	accountConf(&b, accountOps, staff, opsGrants())
	for _, s := range stations {
		p := boxPermission(s.Station)
		accountConf(&b, accountStation+s.Station, []string{userConf(ClientKey{s.Station, s.Key}, &p, "LEAFNODE")}, boxGrants(s.Station))
	}
	fmt.Fprint(&b, "}\n")
	return b.Bytes(), nil
}

// checkAccounts refuses what a server would refuse, or take for somebody else.
// Names cannot end a string: gateway.ValidStation sees to that.
func checkAccounts(stations []StationKey, clients []ClientKey) error {
	var faults []error
	names, keys := map[string]bool{}, map[string]bool{}
	check := func(what, name, key string) {
		if err := gateway.ValidStation(name); err != nil {
			faults = append(faults, fmt.Errorf("%s %q: %w", what, name, err))
		}
		if !nkeys.IsValidPublicUserKey(key) || keys[key] || names[what+name] {
			faults = append(faults, fmt.Errorf("%s %s: its key is none, or key or name stand there twice", what, name))
		}
		names[what+name], keys[key] = true, true
	}
	for _, c := range clients {
		check("client", c.Name, c.Key)
	}
	for _, s := range stations {
		check("station", s.Station, s.Key)
	}
	return errors.Join(faults...)
}

// userConf writes a user; p nil = may do everything in its account. The key's
// owner cannot come in by another door: a box is no client.
func userConf(who ClientKey, p *permission, connection string) string {
	allowed := ""
	if p != nil {
		allowed = fmt.Sprintf(", permissions: {publish: {allow: %s}, subscribe: {allow: %s}}", listConf(p.publish), listConf(p.subscribe))
	}
	return fmt.Sprintf("{nkey: %s, allowed_connection_types: [%s]%s} # %s", who.Key, connection, allowed, who.Name)
}

func listConf(subjects []string) string { return `["` + strings.Join(subjects, `", "`) + `"]` }

func accountConf(b *bytes.Buffer, name string, users []string, grants []grant) {
	fmt.Fprintf(b, "  %q {\n    users: [\n", name)
	for _, u := range users {
		fmt.Fprintf(b, "      %s\n", u)
	}
	fmt.Fprint(b, "    ]\n    imports: [\n")
	for _, g := range grants {
		fmt.Fprintf(b, "      %s\n", g.importConf())
	}
	fmt.Fprint(b, "    ]\n  }\n")
}

func (g grant) exportConf() string {
	switch g.kind {
	case told:
		return fmt.Sprintf("{stream: %q}", g.origin)
	case asked:
		return fmt.Sprintf("{service: %q}", g.origin)
	default:
		return fmt.Sprintf("{service: %q, response_type: stream}", g.origin)
	}
}

func (g grant) importConf() string {
	kind, to := "service", ""
	if g.kind == told {
		kind = "stream"
	}
	if g.subject != g.origin {
		to = fmt.Sprintf(", to: %q", g.subject)
	}
	return fmt.Sprintf("{%s: {account: %s, subject: %q}%s}", kind, accountCentre, g.origin, to)
}
