package replication

import (
	"errors"
	"fmt"

	"gateline/gateway"
)

// Action is what a Follower says about an entry. The zero Action refuses.
type Action uint8

const (
	// ActionRefuse: the entry does not belong to the history the box holds.
	ActionRefuse Action = 0
	// ActionApply: the entry is the next one.
	ActionApply Action = 1
	// ActionRepeat: the box has applied the entry already.
	ActionRepeat Action = 2
	// ActionGap: entries before this one are missing; fetch from the box's
	// position + 1.
	ActionGap Action = 3
)

// String returns the action's name.
func (a Action) String() string {
	switch a {
	case ActionRefuse:
		return "refuse"
	case ActionApply:
		return "apply"
	case ActionRepeat:
		return "repeat"
	case ActionGap:
		return "gap"
	}
	return "invalid"
}

// Reasons to refuse, besides ErrEntry.
var (
	// ErrForeignEpoch: the entry is from another life of the feed.
	ErrForeignEpoch = errors.New("the centre's feed has another epoch than this box")
	// ErrWentBack: the entry has a number the box has applied, and it is not
	// the entry the box applied (the feed was restored from a backup).
	ErrWentBack = errors.New("the centre's feed has lost entries that this box holds")
	// ErrTimeBack: the next entry is older than the one before it.
	ErrTimeBack = errors.New("the next entry of the centre's feed is older than the last")
	// ErrMissing: the feed no longer holds the entry the box needs next.
	ErrMissing = errors.New("the centre's feed no longer holds the next entry this box needs")
)

// Follower decides, entry by entry, how a box follows the feed. It does no I/O
// and reads no clock; Box holds the one that is in use. Make it with
// NewFollower.
type Follower struct {
	position gateway.Position
	usable   bool
	// target is the number of the feed's last entry when the box first asked;
	// it counts only once asked is true.
	target uint64
	asked  bool
}

// NewFollower returns a Follower for a store at the given position; usable is
// what the store says of itself.
func NewFollower(at gateway.Position, usable bool) Follower {
	return Follower{position: at, usable: usable}
}

// Position returns where the box is.
func (f *Follower) Position() gateway.Position { return f.position }

// Step says what is to be done with e; it changes nothing. An error comes with
// ActionRefuse and wraps ErrForeignEpoch, ErrWentBack or ErrTimeBack.
//
// A box that has never applied an entry adopts the epoch of entry 1, and of no
// other.
func (f *Follower) Step(e *Entry) (Action, error) {
	at := f.position
	switch {
	case at.Epoch == 0 && e.Number == 1:
		return ActionApply, nil
	case at.Epoch == 0:
		return ActionGap, nil
	case e.Epoch != at.Epoch:
		return ActionRefuse, fmt.Errorf("%w: entry %d", ErrForeignEpoch, e.Number)
	// Times grow with the numbers, so an entry up to our position is never
	// newer than the watermark, and the one at our position is as new.
	case e.Number <= at.Number && e.Time > at.Watermark,
		e.Number == at.Number && e.Time != at.Watermark:
		return ActionRefuse, fmt.Errorf("%w: entry %d is not the one applied, position %d", ErrWentBack, e.Number, at.Number)
	case e.Number <= at.Number:
		return ActionRepeat, nil
	case e.Number > at.Number+1:
		return ActionGap, nil
	case e.Time <= at.Watermark:
		return ActionRefuse, fmt.Errorf("%w: entry %d", ErrTimeBack, e.Number)
	}
	return ActionApply, nil
}

// Asked tells the number of the feed's last entry, as an answer of the centre
// gave it. The first one counts: the box is complete once it is there.
func (f *Follower) Asked(last uint64) {
	if !f.asked {
		f.asked, f.target = true, last
	}
}

// Update returns what e, for which Step said ActionApply, does to the store.
// Complete is set on the first entry at which the box holds everything the
// centre had when the box first asked; where the feed ended exactly at the
// box's position then, that is the next entry, at the latest a heartbeat.
func (f *Follower) Update(e *Entry) gateway.Update {
	return gateway.Update{
		To:       gateway.Position{Epoch: e.Epoch, Number: e.Number, Watermark: e.Time},
		Changes:  e.Changes,
		Schedule: e.Schedule,
		Complete: !f.usable && f.asked && e.Number >= f.target,
	}
}

// Applied tells that the store has applied u.
func (f *Follower) Applied(u *gateway.Update) {
	f.position = u.To
	f.usable = f.usable || u.Complete
}
