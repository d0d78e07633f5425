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
	// baseLevelSize is more than all tables ever have, so that there are two levels:
	// new tables, and one where each key is once. With more of them each value would
	// be written once more on its way down, and its old ones wait for theirs.
	baseLevelSize = 4 << 30
	// newTables is how many new tables are brought down together, the most of them
	// what writes wait at. The lower level is written anew with them: more of them,
	// and that is less often; fewer, and there are fewer old values.
	newTables, mostNewTables = 8, 20
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
		WithBaseLevelSize(baseLevelSize).
		WithNumLevelZeroTables(newTables).
		WithNumLevelZeroTablesStall(mostNewTables).
		WithNumCompactors(2). // each may have a dozen tables in memory
		WithSyncWrites(true)
}
