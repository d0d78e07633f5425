package setup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gateline/drivers/osdp"
)

// MaxWithin bounds the time in which a reader can be taken over under the
// default key.
const MaxWithin = 10 * time.Minute

// CommissionConfig says which reader becomes what.
type CommissionConfig struct {
	// Target is where the reader shall be.
	Target Place
	// From is where it is now; nil = at the target or as it came from the
	// factory.
	From *Place
	// OnlyReader says that no other reader is on the line, so that it may be
	// asked without its address being known.
	OnlyReader bool
	// OnlyBaud is the one speed of a line whose speed cannot be changed from
	// here; 0 = any.
	OnlyBaud int
	// Taken are the places of other gates, which are not looked at.
	Taken []Place
	Keys  Keys
	// Force lets the new key take the place of one that is in force and that the
	// reader does not have.
	Force bool
	// Within is how long the reader may take to answer, at most MaxWithin. After
	// that the default key is not used any more.
	Within time.Duration
	// Say is told each step once it is done.
	Say func(step string)
}

func (c *CommissionConfig) validate() error {
	switch {
	case c.Target.Address > osdp.MaxAddress:
		return fmt.Errorf("address %d: give 0 to %d", c.Target.Address, osdp.MaxAddress)
	case !osdp.ValidBaud(uint32(c.Target.Baud)):
		return fmt.Errorf("speed %d: give one of %v", c.Target.Baud, Bauds())
	case c.From != nil && c.From.Address > osdp.MaxAddress:
		return fmt.Errorf("address %d: give 0 to %d", c.From.Address, osdp.MaxAddress)
	case c.From != nil && !osdp.ValidBaud(uint32(c.From.Baud)):
		return fmt.Errorf("speed %d: give one of %v", c.From.Baud, Bauds())
	case c.OnlyBaud != 0 && (c.Target.Baud != c.OnlyBaud || c.From != nil && c.From.Baud != c.OnlyBaud):
		return fmt.Errorf("this line has %d baud and no other speed; set the speed where it is set, or use a serial adapter", c.OnlyBaud)
	case c.Within <= 0 || c.Within > MaxWithin:
		return fmt.Errorf("time %v: give up to %v", c.Within, MaxWithin)
	}
	return nil
}

// Commissioned is what came of a Commission.
type Commissioned struct {
	ID   osdp.PDID
	From Place // where the reader was found
	To   Place
}

// ErrDefaultOpens is wrapped where a reader has its own key, address and speed
// and yet still opens a session under the default key.
var ErrDefaultOpens = errors.New("the reader STILL OPENS under the default key: anybody on the line can take it over; do not put it into service, ask its maker for firmware that closes the default key")

// commission is one Commission.
type commission struct {
	*bench
	c        *CommissionConfig
	deadline time.Time
}

// Commission gives a reader in install mode its own key, address and speed. It
// may be cut off at any instant and be run again: it finds out how far the
// reader is and goes on from there. A reader that is commissioned already is
// only proved to be.
func Commission(ctx context.Context, bus *Bus, c CommissionConfig) (Commissioned, error) {
	if err := c.validate(); err != nil {
		return Commissioned{}, err
	}
	b, err := newBench(bus, c.Keys, c.Say)
	if err != nil {
		return Commissioned{}, err
	}
	j := &commission{bench: b, c: &c, deadline: bus.cfg.Now().Add(c.Within)}
	how, err := j.find(ctx)
	if err != nil {
		return Commissioned{}, err
	}
	done := Commissioned{ID: j.id, From: j.place, To: c.Target}
	j.say("found: %s, %v, %s", IDText(j.id), j.place, [...]string{"", "with the staged key", "with its own key", "in install mode"}[how])
	if err := j.roomAtTarget(ctx); err != nil {
		return done, err
	}
	if err := j.ownKey(ctx, how); err != nil {
		return done, err
	}
	if err := j.move(ctx); err != nil {
		return done, err
	}
	return done, j.refusesDefault(ctx)
}

// roomAtTarget refuses where somebody else answers at the target. It leaves the
// session with the reader as it is.
func (j *commission) roomAtTarget(ctx context.Context) error {
	if j.place.Baud == j.c.Target.Baud && (j.place.Address == j.c.Target.Address || j.place.Address == osdp.ConfigAddress) {
		return nil // the reader itself is the one that answers
	}
	if err := j.bus.At(ctx, j.c.Target.Baud); err != nil {
		return err
	}
	other := newTalk(j.bus, j.c.Target.Address)
	_, _, err := other.identify(ctx)
	var silent *SilentError
	switch {
	case endsAll(err):
		return err
	case !errors.As(err, &silent) || silent.Damaged:
		return j.targetTaken()
	}
	return j.bus.At(ctx, j.place.Baud)
}

// ownKey sees to it that the reader has the key in force, and a session under it.
func (j *commission) ownKey(ctx context.Context, how opening) error {
	if how == openCurrent {
		j.say("key: the reader has the one in %s already", j.keys.Name())
		if j.staged != nil {
			j.say("key: %s is left from an interrupted run and is not this reader's; remove it if no reader has it", j.keys.StagedName())
		}
		return nil
	}
	if j.current != nil && !j.c.Force {
		return fmt.Errorf("%s holds a key already, and it is not this reader's: whatever reader has it would be lost; if that reader was replaced or reset, say --force", j.keys.Name())
	}
	if how == openStaged {
		j.say("key: the reader has the one in %s and has proved it", j.keys.StagedName())
		return j.adopt()
	}
	if !j.bus.cfg.Now().Before(j.deadline) {
		return fmt.Errorf("the %v are over, and the default key is not used any more; run this again", j.c.Within)
	}
	return j.install(ctx)
}

// move brings the reader to the target and proves it there.
func (j *commission) move(ctx context.Context) error {
	from, to := j.place, j.c.Target
	if from == to {
		j.say("place: %v, as it was", to)
		return nil
	}
	want := osdp.Com{Address: to.Address, Baud: uint32(to.Baud)}
	r, err := j.talk.ask(ctx, osdp.CmdCOMSET, osdp.AppendCom(nil, want))
	var silent *SilentError
	switch {
	case err == nil:
		if err := j.judgeCom(r, want); err != nil {
			return err
		}
	case !errors.As(err, &silent): // silent: it may have moved, and its reply been lost
		return fmt.Errorf("the reader has its key and keeps %v: %w; run this again", from, err)
	}
	if err := j.settleAt(ctx, to); err == nil {
		j.say("place: %v → %v, proved there", from, to)
		return nil
	} else if endsAll(err) {
		return err
	}
	return j.whereNow(ctx, from, to)
}

// judgeCom refuses an answer to COMSET that is not what was wanted.
func (j *commission) judgeCom(r reply, want osdp.Com) error {
	com, err := osdp.ParseCom(r.data)
	if r.code != osdp.ReplyCOM || err != nil {
		return fmt.Errorf("the reader has its key and answers %s to its new address and speed; set them as its maker says", osdp.ReplyName(r.code))
	}
	was := osdp.Com{Address: j.place.Address, Baud: uint32(j.place.Baud)}
	switch com {
	case want:
		return nil
	case was:
		return fmt.Errorf("the reader has its key and refuses another address or speed: it keeps %v; set them as its maker says, by switches perhaps, or choose what it can do", j.place)
	}
	now := Place{com.Address, int(com.Baud)}
	return fmt.Errorf("the reader has its key and goes to %v instead of %v; choose a speed it can do and run this with --from-address %d --from-baud %d", now, j.c.Target, com.Address, com.Baud)
}

// settleAt proves the reader at another place.
func (j *commission) settleAt(ctx context.Context, p Place) error {
	if err := j.bus.At(ctx, p.Baud); err != nil {
		return err
	}
	j.talk = newTalk(j.bus, p.Address)
	if err := j.settle(ctx, *j.current); err != nil {
		return err
	}
	j.place = p
	return nil
}

// whereNow is the error for a reader that does not prove itself at its new
// place.
func (j *commission) whereNow(ctx context.Context, from, to Place) error {
	switch err := j.settleAt(ctx, from); {
	case err == nil:
		return fmt.Errorf("the reader has its key and stays at %v, though told to go to %v; run this again, and if it stays there, set address and speed as its maker says", from, to)
	case endsAll(err):
		return err
	}
	return fmt.Errorf("the reader has its key and answers neither at %v nor at %v; switch it off and on and run this again", to, from)
}

// refusesDefault tries the default key once more, which must not open the
// reader any longer.
func (j *commission) refusesDefault(ctx context.Context) error {
	err := j.talk.open(ctx, osdp.DefaultKey())
	var refused *keyError
	switch {
	case err == nil:
		return ErrDefaultOpens
	case endsAll(err):
		return err
	case errors.As(err, &refused):
		j.say("the default key no longer opens it: verified")
		return nil
	}
	// A reader may meet the default key with silence, if it is still there.
	if err := j.talk.open(ctx, *j.current); err != nil {
		return fmt.Errorf("the reader has its key and its place, and answers no more: %w", err)
	}
	j.say("the default key no longer opens it: verified")
	return nil
}
