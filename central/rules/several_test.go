package rules

import (
	"strings"
	"testing"

	"gateline/gateway"
)

func TestSeveral(t *testing.T) {
	w := newWorld(t)
	w.does(ChannelOps, Several{Report{Person: ann, Class: gateway.ClassYellow}, upgrade(physical(1), ann), upgrade(phone(1), ann)})
	if got := w.box[phone(1).Token].Class; got != gateway.ClassYellow || len(w.box) != 2 {
		t.Errorf("%d records", len(w.box))
	}
	// A later row finds what the earlier ones have done; all or nothing.
	w.refuses(CodePhysicalFull, ChannelOps, Several{upgrade(physical(2), bob), upgrade(physical(3), bob)})
	w.refuses(CodeOtherOwner, ChannelOps, Several{upgrade(physical(2), bob), upgrade(physical(2), cat)})
	if _, bound := w.state.Binding(physical(2).Token); bound {
		t.Error("a refused row left something")
	}
	_, _, refusal := w.decide(Request{Channel: ChannelOps, Command: Several{upgrade(physical(2), bob), upgrade(physical(1), bob)}})
	if refusal == nil || !strings.Contains(refusal.Detail, "row 2 of 2") {
		t.Errorf("which one is not said: %v", refusal)
	}
	// Each row needs the right that it needs alone.
	w.refuses(CodeChannel, ChannelMetro, Several{upgrade(physical(2), bob), Return{Token: physical(1).Token}})
	w.refuses(CodeMalformed, ChannelOps, Several{})
	w.refuses(CodeMalformed, ChannelOps, Several{Statistics{}})
	w.refuses(CodeMalformed, ChannelOps, Several{nil})
	// A row of a status and a binding.
	w.does(ChannelOps, Several{Several{Report{Person: bob, Class: gateway.ClassRed}, upgrade(physical(2), bob)}, upgrade(phone(2), bob)})
	if got := w.box[phone(2).Token].Class; got != gateway.ClassRed {
		t.Error("a row has not found what the one before it did")
	}
	w.refuses(CodeMalformed, ChannelOps, Several{Several{Several{upgrade(physical(4), cat)}}})
}

// Every shard's list is what a filter over all records gives, whatever happened.
func TestShards(t *testing.T) {
	w := newWorld(t)
	for i := range 200 {
		w.does(ChannelOps, upgrade(physical(i), Person{byte(i), 1}))
	}
	for i := range 100 {
		w.does(ChannelOps, Unbind{Token: physical(2 * i).Token, Identified: true})
	}
	for i := range 20 {
		w.does(ChannelOps, Replace{Old: physical(2*i + 1).Token, New: physical(1000 + i)})
	}
	want := map[gateway.ShardID]int{}
	for c := range w.state.Records() {
		want[gateway.ShardOf(c.Token)]++
	}
	total := 0
	for id := range gateway.ShardID(gateway.Shards) {
		shard := w.state.Shard(id)
		for i, c := range shard {
			if got, bound := w.box[c.Token]; !bound || got != c.Record || i > 0 && shard[i-1].Token >= c.Token {
				t.Fatalf("shard %v is wrong", id)
			}
		}
		if total += len(shard); len(shard) != want[id] {
			t.Errorf("shard %v has %d records, not %d", id, len(shard), want[id])
		}
	}
	if total != 100 {
		t.Errorf("%d records", total)
	}
}
