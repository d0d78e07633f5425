package cache

import (
	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"gateline/internal/badgerdir"
)

const (
	// valueThreshold keeps every value in the tree: the largest is a shard of
	// gateway.MaxShardRecords, some 920 kB. It is the most that Badger takes and
	// must stay below 15 % of a memtable.
	valueThreshold = 1 << 20
	// valueLogSize is as small as a value log that holds nothing may be.
	valueLogSize = 1 << 20
)

// badgerOptions are the measured settings; DESIGN.md says what each bought.
func badgerOptions(dir string, o *Options) badger.Options {
	return badger.DefaultOptions(dir).
		WithLogger(badgerdir.Logger(o.Log)).
		WithBypassLockGuard(true). // home holds the lock
		WithMemTableSize(o.MemTableSize).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(valueLogSize).
		WithCompression(options.None).
		WithBlockCacheSize(0).
		WithIndexCacheSize(0).
		WithMetricsEnabled(false).
		WithDetectConflicts(false).
		WithNumVersionsToKeep(1).
		WithNumCompactors(2). // each may have a dozen tables of 4 to 28 MB in memory
		WithSyncWrites(true)
}
