package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"gateline/drivers/osdp"
)

// Place is where a reader is on the line.
type Place struct {
	Address byte
	Baud    int // bits per second
}

// String is for an operator's eyes.
func (p Place) String() string {
	if p.Address == osdp.ConfigAddress {
		return fmt.Sprintf("the only reader at %d baud", p.Baud)
	}
	return fmt.Sprintf("address %d at %d baud", p.Address, p.Baud)
}

// FactoryBaud and address 0 are where readers are when they are new.
const FactoryBaud = 9600

// candidate is a place to look for the reader at.
type candidate struct {
	Place
	// known: whoever is there is the reader only if it has one of our keys. It
	// is a place to which an interrupted run may have moved it.
	known bool
}

// bench holds what Commission and Rekey work with.
type bench struct {
	bus             *Bus
	keys            Keys
	current, staged *osdp.Key
	say             func(format string, args ...any)

	talk  *talk // with the reader, once it is found
	id    osdp.PDID
	place Place
}

func newBench(bus *Bus, keys Keys, say func(string)) (*bench, error) {
	b := &bench{bus: bus, keys: keys, say: func(format string, args ...any) { say(fmt.Sprintf(format, args...)) }}
	var err error
	if b.current, b.staged, err = keys.Load(); err != nil {
		return nil, err
	}
	return b, keys.Ready()
}

// opening is the key under which a reader was found.
type opening uint8

const (
	openNone    opening = iota // none of ours
	openStaged                 // the staged one: an interrupted run gave it to the reader
	openCurrent                // the one in force
	openDefault                // SCBK-D: install mode
)

// meet asks who is at a place, until the answer is sure: nobody is a
// *SilentError, damaged or contradictory answers are one with Damaged.
func (b *bench) meet(ctx context.Context, p Place) error {
	if err := b.bus.At(ctx, p.Baud); err != nil {
		return err
	}
	const agreeing = 3
	t := newTalk(b.bus, p.Address)
	t.tries = scanTries
	for i := range agreeing {
		id, r, err := t.identify(ctx)
		if err != nil {
			return err
		}
		double, err := t.doubled(ctx, r)
		if err != nil {
			return err
		}
		if double || i > 0 && id != b.id {
			return &SilentError{Address: p.Address, Damaged: true}
		}
		b.id = id
	}
	t.tries = replyTries
	b.talk, b.place = t, p
	return nil
}

// unlock opens a session with the reader under the first of its keys that does:
// the staged one, the one in force and, where withDefault says so, SCBK-D.
func (b *bench) unlock(ctx context.Context, withDefault bool) (opening, error) {
	type way struct {
		opening
		key *osdp.Key
	}
	ways := []way{{openStaged, b.staged}, {openCurrent, b.current}}
	if withDefault {
		key := osdp.DefaultKey()
		ways = append(ways, way{openDefault, &key})
	}
	for _, way := range ways {
		if way.key == nil {
			continue
		}
		err := b.talk.open(ctx, *way.key)
		var refused *keyError
		switch {
		case err == nil:
			return way.opening, nil
		case !errors.As(err, &refused):
			return openNone, err
		case refused.foreign || refused.refusal == osdp.NAKUnknown:
			return openNone, fmt.Errorf("the reader at %v knows no Secure Channel (%w); it can have no key", b.place, err)
		}
	}
	return openNone, nil
}

// settleTime is how long a reader may take to write a key, or to change its
// address and speed.
const settleTime = 5 * time.Second

// settle opens a session under key with a reader that has just been told
// something, which may keep it from answering for a while.
func (b *bench) settle(ctx context.Context, key osdp.Key) error {
	for end := b.bus.cfg.Now().Add(settleTime); ; {
		err := b.talk.open(ctx, key)
		if err == nil || endsAll(err) || !b.bus.cfg.Now().Before(end) {
			return err
		}
		if err := b.bus.calm(ctx, busyPause); err != nil {
			return err
		}
	}
}

// install gives the reader, in the session that is open, the staged key, or a
// fresh one, and puts that into force once the reader has proved it.
func (b *bench) install(ctx context.Context) error {
	if b.staged != nil {
		b.say("key: taking the one in %s, which an interrupted run has made", b.keys.StagedName())
	} else {
		key, err := freshKey(b.bus.cfg.Random)
		if err == nil {
			err = b.keys.Stage(key)
		}
		if err != nil {
			return err
		}
		b.staged = &key
		b.say("key: made a fresh one, kept in %s until the reader has it", b.keys.StagedName())
	}
	_, setErr := b.talk.ask(ctx, osdp.CmdKEYSET, osdp.AppendKeySet(nil, *b.staged))
	if endsAll(setErr) {
		return setErr
	}
	// Without an acknowledgement the reader may have the key all the same.
	if err := b.settle(ctx, *b.staged); err != nil {
		return fmt.Errorf("the reader does not prove the new key: %w; %s keeps that key: run this again", errors.Join(setErr, err), b.keys.StagedName())
	}
	b.say("key: the reader has it and has proved it")
	return b.adopt()
}

// adopt puts the staged key, which the reader has proved, into force.
func (b *bench) adopt() error {
	if err := b.keys.Adopt(); err != nil {
		return err
	}
	b.current, b.staged = b.staged, nil
	b.say("key: in force in %s", b.keys.Name())
	return nil
}

// candidates lists where to look, in order.
func (c *CommissionConfig) candidates() []candidate {
	var list []candidate
	add := func(p Place, known bool) {
		if c.OnlyBaud != 0 && p.Baud != c.OnlyBaud {
			return
		}
		taken := !known && p != c.Target && (c.From == nil || p != *c.From) && slices.Contains(c.Taken, p)
		if !taken && !slices.ContainsFunc(list, func(o candidate) bool { return o.Place == p }) {
			list = append(list, candidate{p, known})
		}
	}
	from := Place{Address: 0, Baud: FactoryBaud}
	if c.From != nil {
		from = *c.From
		add(from, false)
		add(c.Target, true)
		add(Place{c.Target.Address, from.Baud}, true)
	} else {
		add(c.Target, false)
		add(Place{c.Target.Address, FactoryBaud}, false) // address set by switches
		add(from, false)
	}
	add(Place{from.Address, c.Target.Baud}, true)
	if c.OnlyReader {
		for _, baud := range append([]int{FactoryBaud, c.Target.Baud}, Bauds()...) {
			add(Place{osdp.ConfigAddress, baud}, false)
		}
	}
	return list
}

// Bauds returns the speeds of OSDP, slowest first.
func Bauds() []int { return []int{9600, 19200, 38400, 57600, 115200, 230400} }

// find waits until the reader answers at one of its places, and returns the key
// under which it opened a session.
func (j *commission) find(ctx context.Context) (opening, error) {
	list := j.c.candidates()
	for said := false; ; said = true {
		for _, at := range list {
			how, err := j.look(ctx, at)
			if how != openNone || err != nil {
				return how, err
			}
		}
		if !j.bus.cfg.Now().Before(j.deadline) {
			return openNone, fmt.Errorf("no reader answered within %v at %s; connect and power it, or find it with gateline osdp scan and say where it is with --from-address and --from-baud", j.c.Within, places(list))
		}
		if !said {
			j.say("waiting up to %v for a reader at %s", j.c.Within, places(list))
		}
	}
}

// places names where a reader is looked for that nobody has moved yet.
func places(list []candidate) string {
	var names []string
	for _, at := range list {
		if !at.known {
			names = append(names, at.Place.String())
		}
	}
	return strings.Join(names, ", ")
}

// look tries one place. openNone without an error = the reader is not there.
func (j *commission) look(ctx context.Context, at candidate) (opening, error) {
	err := j.meet(ctx, at.Place)
	if isDamaged(err) { // once may be the plug that was just put in
		err = j.meet(ctx, at.Place)
	}
	var silent *SilentError
	switch {
	case errors.As(err, &silent) && !silent.Damaged:
		return openNone, nil
	case err != nil && at.known && at.Place != j.c.Target && !endsAll(err):
		return openNone, nil
	case err != nil:
		return openNone, err
	}
	// After the time is over the default key is not tried any more.
	withDefault := !at.known && j.bus.cfg.Now().Before(j.deadline)
	how, err := j.unlock(ctx, withDefault)
	switch {
	case err != nil || how != openNone:
		return how, err
	case at.Place == j.c.Target && at.known:
		return openNone, j.targetTaken()
	case at.known:
		return openNone, nil
	case !withDefault:
		return openNone, fmt.Errorf("the reader answered only after the %v were over; run this again", j.c.Within)
	}
	return openNone, fmt.Errorf("the reader at %v has a key of its own, which is neither in %s nor the default one; if it is the one to commission, reset it to install mode as its maker says, else give the new reader another address", at.Place, j.keys.Name())
}

func isDamaged(err error) bool {
	var silent *SilentError
	return errors.As(err, &silent) && silent.Damaged
}

func (j *commission) targetTaken() error {
	return fmt.Errorf("%v is already answered by another reader, which has none of this gate's keys; give the new reader another address, or take the other one off the line", j.c.Target)
}
