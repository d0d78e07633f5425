package replication

import (
	"errors"

	"github.com/nats-io/nats-server/v2/server"
)

// Accounts of the centre's servers. Within one account whoever asks may have the
// answer sent to any subject; between accounts the way back is the server's. So
// the centre, those who give commands, each channel and each station are alone in
// theirs, and are given of the centre's what a grant names.
const (
	accountOps      = "OPS"
	accountStations = "STATIONS" // of all leaf nodes, where the hub has no Link
	accountStation  = "STATION-" // and the station's name, where it has
	accountChannel  = "CHANNEL-" // and the channel's name, where clients have keys
	// accountCentre is the centre's own on servers of the operator; in the hub it
	// is the server's global one.
	accountCentre = "CENTRE"
)

// grant is a subject of the centre's account that another account is given. Hub
// and AccountsConf are made of the same ones.
type grant struct {
	// subject is what the account that has the grant calls it, origin what the
	// centre's does.
	subject, origin string
	kind            grantKind
}

type grantKind int

const (
	told     grantKind = iota // messages that come by themselves
	asked                     // a question with one answer
	streamed                  // a question with several
)

// exports are what of the centre's account may be granted at all.
func exports() []grant {
	return []grant{
		{origin: directGetOf(StreamFeed), kind: streamed},
		{origin: directGetOf(StreamShards), kind: streamed},
		{origin: SubjectStatus + ">", kind: asked},
		{origin: SubjectOps + ">", kind: asked},
		{origin: SubjectRegistry + ">", kind: asked},
		{origin: subjectServices, kind: streamed},
		{origin: SubjectLive, kind: told},
	}
}

// boxGrants are what the account of a station's box is given, * = of any.
func boxGrants(station string) []grant {
	status := SubjectStatus + station
	return []grant{
		{subject: SubjectFetch, origin: directGetOf(StreamFeed), kind: streamed},
		{subject: SubjectFetchShards, origin: directGetOf(StreamShards), kind: streamed},
		{subject: status, origin: status, kind: asked},
		{subject: status + HoursSuffix, origin: status + HoursSuffix, kind: asked},
		{subject: SubjectLive, origin: SubjectLive, kind: told},
	}
}

// opsGrants are what the account of the operator's staff is given: commands, and the
// registry in their own name.
func opsGrants() []grant {
	registry := registryOf(channelOps)
	return []grant{
		{subject: SubjectOps + ">", origin: SubjectOps + ">", kind: asked},
		{subject: registry, origin: registry, kind: asked},
		{subject: subjectServices, origin: subjectServices, kind: streamed},
	}
}

// openGrants are what the account of clients is given whom nobody asks who they
// are: commands, and the registry in any name.
func openGrants() []grant {
	return []grant{
		{subject: SubjectOps + ">", origin: SubjectOps + ">", kind: asked},
		{subject: SubjectRegistry + ">", origin: SubjectRegistry + ">", kind: asked},
		{subject: subjectServices, origin: subjectServices, kind: streamed},
	}
}

// channelGrants are what the account of a channel is given.
func channelGrants(channel string) []grant {
	registry := registryOf(channel)
	return []grant{
		{subject: registry, origin: registry, kind: asked},
		{subject: subjectServices, origin: subjectServices, kind: streamed},
	}
}

// registryOf returns the subjects on which a channel asks the registry.
func registryOf(channel string) string { return SubjectRegistry + channel + ".>" }

// directGetOf returns JetStream's own subject of a Direct Get on a stream.
func directGetOf(stream string) string { return "$JS.API.DIRECT.GET." + stream }

// permission is what a user may publish and subscribe to; everything else he may
// not.
type permission struct{ publish, subscribe []string }

// boxPermission is that of a box; station may be * for all.
func boxPermission(station string) permission {
	status := SubjectStatus + station
	return permission{[]string{SubjectFetch, SubjectFetchShards, status, status + HoursSuffix}, []string{SubjectLive, InboxPrefix + station + ".*"}}
}

// clientPermission is that of a client who is given the grants: to ask on their
// subjects, and to hear the answers.
func clientPermission(grants []grant) permission {
	p := permission{subscribe: []string{"_INBOX.>"}}
	for _, g := range grants {
		p.publish = append(p.publish, g.subject)
	}
	return p
}

// server returns p in the server's terms.
func (p permission) server() *server.Permissions {
	return &server.Permissions{Publish: &server.SubjectPermission{Allow: p.publish}, Subscribe: &server.SubjectPermission{Allow: p.subscribe}}
}

// export lets other accounts be given what exports names.
func export(centre *server.Account) error {
	var faults []error
	for _, g := range exports() {
		switch g.kind {
		case told:
			faults = append(faults, centre.AddStreamExport(g.origin, nil))
		case asked:
			faults = append(faults, centre.AddServiceExportWithResponse(g.origin, server.Singleton, nil))
		case streamed:
			faults = append(faults, centre.AddServiceExportWithResponse(g.origin, server.Streamed, nil))
		}
	}
	return errors.Join(faults...)
}

// give gives the account what the grants name.
func give(account, centre *server.Account, grants []grant) error {
	var faults []error
	for _, g := range grants {
		if g.kind == told {
			faults = append(faults, account.AddStreamImport(centre, g.origin, ""))
		} else {
			faults = append(faults, account.AddServiceImport(centre, g.subject, g.origin))
		}
	}
	return errors.Join(faults...)
}
