// Package simulator is a station and its centre without hardware: gates on
// pseudo-terminals paced to the line's speed, riders, a link that can be cut.
// It runs the production assembly of box and centre; only gates, riders and
// faults are its own, and a model that says what every answer had to be.
//
// The model (model.go) is apart from what makes traffic and faults, and calls
// nothing of the decision it checks.
package simulator
