package central

import (
	"time"

	"gateline/central/rules"
	"gateline/gateway"
)

// A command asks the centre for something. It holds tokens and pseudonyms, never
// numbers or ids.
type command interface{ isCommand() }

// registryCommand is one for the registry.
type registryCommand rules.Request

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

func (registryCommand) isCommand() {}
func (policyCommand) isCommand()   {}
func (stationCommand) isCommand()  {}
func (rotateCommand) isCommand()   {}
func (readPolicy) isCommand()      {}
func (readStats) isCommand()       {}
