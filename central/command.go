package central

import (
	"time"

	"gateline/gateway"
)

// A command asks the registry for something. It holds tokens and pseudonyms,
// never numbers or ids.
type command interface{ isCommand() }

// rowsCommand binds credentials and reports statuses: one row for card.bind
// and person.report, up to gateway.MaxChanges for import. It is refused as a
// whole or accepted as a whole.
type rowsCommand []row

// row binds a credential to a person, reports the person's status, or both.
type row struct {
	person Person
	token  gateway.Token
	record gateway.Record
	bind   bool // token is given
	report bool // record is given
}

// unbindCommand ends the binding of a credential; of this person only, where
// one is given.
type unbindCommand struct {
	token  gateway.Token
	person *Person
}

// policyCommand adds one policy document to the schedule.
type policyCommand struct{ policy gateway.Policy }

// stationCommand sets the mode of one station in every document in force from
// the given instant on; the zero instant is now, the zero mode takes the
// station's own mode away.
type stationCommand struct {
	station string
	mode    gateway.Mode
	from    time.Time
}

// rotateCommand lets another key of the centre sign the feed from the next entry
// on. The registry has no part in it.
type rotateCommand struct{ key gateway.FeedKey }

// readPolicy and readStats change nothing; they are queued with the others, so
// that their answer covers every command answered before.
type (
	readPolicy struct{}
	readStats  struct{}
)

func (rowsCommand) isCommand()    {}
func (unbindCommand) isCommand()  {}
func (policyCommand) isCommand()  {}
func (stationCommand) isCommand() {}
func (rotateCommand) isCommand()  {}
func (readPolicy) isCommand()     {}
func (readStats) isCommand()      {}
