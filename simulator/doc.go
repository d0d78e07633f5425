// Package simulator is a station and its centre without hardware: gates on
// pseudo-terminals paced to the line's speed, readers on shared ones, riders, a
// link that can be cut, and what goes wrong on a line. It runs the production
// assembly of box and centre; only gates, riders and faults are its own, and a
// model that says what every answer had to be.
//
// A line of readers is a medium (medium.go), which lives in virtual time and
// has its faults as data (faults.go). The model (model.go) is apart from what
// makes traffic and faults, and calls nothing of the decision it checks.
//
// Scenario notice (notice*.go) is a story with what has to come written beside
// each act, under a clock of its own.
package simulator
