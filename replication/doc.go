// Package replication carries the centre's feed to the boxes: the format of an
// entry, the one fenced writer at the centre (Publisher), the server that holds
// the stream (Hub), and the box's end (Box), which follows the feed over a leaf
// node connection and applies it to a Store.
//
// The feed is one JetStream stream with one totally ordered history. The
// stream's sequence is the entry's number. Each entry is signed by the centre
// and names the hash of the one before; a Follower tells what a box believes. Stored entries are republished to a
// plain subject for boxes that are connected; whatever a box missed it fetches
// by Direct Get in windows of bounded bytes. There is no consumer at the hub and
// no JetStream on a box.
//
// Format and protocol are described byte by byte in DESIGN.md.
package replication

// Names both ends agree on. A station's permissions are made of them.
const (
	// Domain is the JetStream domain of the centre.
	Domain = "centre"
	// StreamFeed is the stream that holds the feed.
	StreamFeed = "FEED"
	// SubjectFeed is the subject the one writer publishes to. Boxes have no
	// part in it.
	SubjectFeed = "gateline.feed"
	// SubjectLive is the subject every stored entry is republished to.
	SubjectLive = "gateline.live"
	// SubjectFetch is the subject of a batched Direct Get on the feed. It is not
	// JetStream's own, of which a station is told nothing.
	SubjectFetch = fetchPrefix + StreamFeed
	fetchPrefix  = "gateline.fetch."
	// StreamShards is the stream that holds a snapshot of each shard, the head,
	// and the entries that announced keys.
	StreamShards = "SHARDS"
	// SubjectShards is the prefix of its subjects, which the one writer
	// publishes to: gateline.shard.000 … fff, gateline.shard.head, and
	// gateline.shard.key. followed by an entry's number as 16 hexadecimal
	// digits. Boxes have no part in it.
	SubjectShards = "gateline.shard."
	// SubjectFetchShards is the subject of a batched Direct Get on the shards.
	SubjectFetchShards = fetchPrefix + StreamShards
	// SubjectOps is the prefix of the subjects on which the operator's staff give
	// commands.
	SubjectOps = "gateline.ops."
	// SubjectRegistry, followed by a channel's name and a dot, is the prefix of the
	// subjects on which that channel asks the registry.
	SubjectRegistry = "gateline.registry."
	// subjectServices is where NATS's services are found and listed.
	subjectServices = "$SRV.>"
	// InboxPrefix, followed by a station's name, is the prefix of the subjects
	// on which that station receives what it fetched.
	InboxPrefix = "gateline.inbox."
)
