// Package gateway holds the vocabulary of a gate that asks whether a rider
// may pass, and the decision itself: Credential, Token, Record, Policy, Tap,
// Answer and Judge.
//
// It is pure: standard library only, no clock, no I/O, no goroutine, no log.
// Everything that touches a port, a disk or a network lives above it and hands
// it values. The zero value of every type here is the safe one: a zero Verdict
// sends the rider to the manual lane; it neither opens a gate nor accuses.
//
// # Sources
//
// Rule ids such as NUM-03, GATE-03 or IMP-17 and the rows of the decision table
// are listed in docs/decision.md.
package gateway
