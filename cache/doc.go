// Package cache is a box's own copy of the records: a Badger store that
// answers a gate's lookup in microseconds, with or without a link to the
// centre, and takes the centre's updates in one durable step each.
//
// # On disk
//
// A store owns one directory. It holds the file GATELINE-CACHE, which names
// the format, the folder badger/, and KEY-n, the key under which what is known of
// records is sealed; a purge makes the next one and destroys this. The marker is written first, so that a
// directory without it is either empty or somebody else's; somebody else's is
// refused and left as it is.
//
// Keys start with one byte that names their space:
//
//	'h' + shard, 2 bytes big-endian    the records of a shard, packed and sealed
//	'j' + number, 8 bytes big-endian   a step of the journal: changes that shards' values lack, packed
//	                                   and sealed
//	'm' + shard, 2 bytes big-endian    the shard's mark: epoch and number of what it was loaded from,
//	                                   the last step its value contains, how many records that has
//	's' + name                         the feed's state: position, schedule, keys, complete; the last purge
//	'l' + name                         the box's own settings, see SaveLocal
//
// The leading byte keeps the spaces apart and every key clear of the prefix
// "!badger!" that Badger reserves. What the store holds is, for each shard with a mark,
// its value, and of the steps after that, in their order, the changes of its
// tokens.
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
// the marks say which.
package cache
