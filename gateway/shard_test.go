package gateway

import "testing"

func TestShardOf(t *testing.T) {
	for _, c := range []struct {
		token Token
		want  ShardID
	}{{0, 0}, {1<<52 - 1, 0}, {1 << 52, 1}, {0x123f_ffff_ffff_ffff, 0x123}, {^Token(0), Shards - 1}} {
		got := ShardOf(c.token)
		first, last := got.Range()
		if got != c.want || c.token < first || c.token > last || ShardOf(first) != got || ShardOf(last) != got {
			t.Errorf("the shard of %#x is %d (%#x … %#x), not %d", uint64(c.token), got, uint64(first), uint64(last), c.want)
		}
	}
}

func TestShardSum(t *testing.T) {
	sum := func(id ShardID, records ...Change) ShardSum {
		s := NewShardSummer(id)
		for _, r := range records {
			s.Add(r.Token, r.Record)
		}
		return s.Sum()
	}
	one, two := Change{Token: 1, Record: Record{Class: ClassRed}}, Change{Token: 2, Record: Record{Anchor: 19000}}
	if first, again := sum(0, one, two), sum(0, one, two); first != again || first.Records != 2 {
		t.Error("the same records do not have the same sum")
	}
	seen := map[Hash]string{}
	for name, s := range map[string]ShardSum{
		"empty": sum(0), "another shard": sum(1), "one": sum(0, one), "both": sum(0, one, two),
		"another record": sum(0, one, Change{Token: 2, Record: Record{Anchor: 19001}}),
		"another token":  sum(0, one, Change{Token: 3, Record: two.Record}),
	} {
		if other, ok := seen[s.Hash]; ok {
			t.Errorf("%s and %s have one hash", name, other)
		}
		seen[s.Hash] = name
	}
}
