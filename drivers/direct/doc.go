// Package direct is the project's own gate protocol: the gate asks, the box
// answers, on a line that the gate need not share. docs/protocol.md specifies
// it byte by byte for a gate's maker; this package is both ends of it, Box and
// Gate, as state machines without I/O.
package direct
