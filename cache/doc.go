// Package cache is a box's own copy of the records: a Badger store that
// answers a gate's lookup in microseconds, with or without a link to the
// centre, and takes the centre's updates in one durable step each.
//
// # On disk
//
// A store owns one directory. It holds the file GATELINE-CACHE, which names
// the format, and the folder badger/. The marker is written first, so that a
// directory without it is either empty or somebody else's; somebody else's is
// refused and left as it is.
//
// Keys start with one byte that names their space:
//
//	'r' + token, 8 bytes big-endian   a record, as gateway.AppendRecord writes it
//	's' + name                        the feed's state: position, schedule, keys, complete
//	'm' + shard, 2 bytes big-endian   epoch and number of what the shard was loaded from
//	'l' + name                        the box's own settings, see SaveLocal
//
// The leading byte keeps the spaces apart, keeps records in token order, and
// keeps every token clear of the prefix "!badger!" that Badger reserves.
//
// # What a crash leaves
//
// An update's changes, its schedule, the keys of the feed where they change, and
// the position it brings the box to are one transaction, on the disk before Apply returns. A crash or a power cut
// leaves all of it or nothing. A heartbeat, which changes nothing but the
// position, is kept in memory and written at most once a minute to spare the
// flash; so the position on disk may be behind the data's, never ahead of it,
// and after a restart the follower fetches those few entries again. A load that
// needs several transactions leaves each shard as it was or as it is to be, and
// the marks say which; a shard too large for one is left without a mark.
package cache
