// Package drivertest checks that a protocol keeps the contracts of
// drivers.Session, and plays real conversations back.
//
// # Conformance
//
// Who adds a protocol writes a Protocol, two functions that build the box's end
// and a simulated gate, and one test:
//
//	func TestConformance(t *testing.T) { drivertest.Suite(t, mine) }
//
// Every check builds a line of its own in virtual time: a session, a few gates,
// and between them a wire that paces bytes to the line's speed, cuts them into
// reads, and damages or loses them where the check wants it. Nothing waits for a
// real clock, and the same source gives the same run. Package gates has the
// protocols of this project as examples.
//
// # Record and Playback
//
// A Recorder stands between a Line and its port and notes what passes; a
// Playback is a port that plays the far end of such a Record, and insists that
// the box says what it said then. A record of a real line holds credentials in
// clear, also under every key that both ends know: make one with test cards
// only, and delete one that was made otherwise.
//
// The records in testdata say what the box says today. Where it is meant to say
// something else, for instance because OSDP's CP changed, make them anew over a
// pseudo-terminal:
//
//	go test ./drivers/drivertest -run Record -update
package drivertest
