package station

import (
	"errors"

	"gateline/cache"
	"gateline/gateway"
)

// wholeStore is a store that is whole as soon as it holds an entry: it has been
// filled from the first one on.
type wholeStore struct{ *cache.Store }

var errNoShards = errors.New("the store takes no shards")

func (s wholeStore) Marks() []gateway.ShardMark {
	marks := make([]gateway.ShardMark, gateway.Shards)
	for i := range marks {
		marks[i].Epoch = s.Position().Epoch
	}
	return marks
}

func (wholeStore) Load(gateway.Load) error { return errNoShards }

func (wholeStore) Sum(gateway.ShardID) (gateway.ShardSum, error) {
	return gateway.ShardSum{}, errNoShards
}
