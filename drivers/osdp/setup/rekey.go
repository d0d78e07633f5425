package setup

import (
	"context"
	"fmt"

	"gateline/drivers/osdp"
)

// RekeyConfig says which reader gets another key.
type RekeyConfig struct {
	Place Place
	// Keys holds the reader's present key.
	Keys Keys
	// Say is told each step once it is done.
	Say func(step string)
}

// Rekey gives a reader that has its own key a fresh one, in a session under the
// present one; that is kept nowhere afterwards. It may be cut off at any instant
// and be run again, which first finishes what was begun. The default key is
// never used.
func Rekey(ctx context.Context, bus *Bus, c RekeyConfig) (osdp.PDID, error) {
	b, err := newBench(bus, c.Keys, c.Say)
	if err != nil {
		return osdp.PDID{}, err
	}
	if b.current == nil && b.staged == nil {
		return osdp.PDID{}, fmt.Errorf("there is no key in %s; commission the reader first", b.keys.Name())
	}
	if err := b.meet(ctx, c.Place); err != nil {
		return osdp.PDID{}, err
	}
	how, err := b.unlock(ctx, false)
	if err != nil {
		return b.id, err
	}
	b.say("found: %s, %v", IDText(b.id), b.place)
	switch how {
	case openStaged:
		b.say("key: an interrupted run gave the reader the one in %s already", b.keys.StagedName())
		return b.id, b.adopt()
	case openCurrent:
		return b.id, b.install(ctx)
	}
	return b.id, fmt.Errorf("the reader at %v does not have the key in %s; gateline osdp scan says what it has, and one in install mode is to be commissioned", b.place, b.keys.Name())
}
