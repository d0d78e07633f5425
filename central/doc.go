// Package central is the centre: the registry of who has upgraded which
// credential and of each person's status, the ledger of everything it
// accepted with a second copy of it, and the services through which both are changed:
// one for channels, the back office and the health source, one for the operator's
// staff. It is the one
// writer of the feed that every box follows.
//
// The registry is pure: a command and the state give events or a refusal, an
// event changes the state and yields the record changes it means for boxes.
// One goroutine, Run, owns registry, ledger and feed; see DESIGN.md for how a
// kill between any two of its steps is survived, and for the subjects and
// documents of the ops service, and SERVICES.md for those of the registry's.
//
// Neither a credential's number nor a person's id or document is stored, logged or
// returned: all are turned into keyed hashes as a request comes in.
package central
