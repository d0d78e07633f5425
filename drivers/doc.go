// Package drivers connects gate readers to the box: a Line pumps a port, a
// serial device or a TCP connection to a serial device server, through a
// protocol Session. Sessions are pure state machines in the folders below; the
// ports, deadlines and retries are here.
//
// One goroutine owns a line, its session and everything a tap needs, so a tap
// waits for no lock and a dead line delays no other.
package drivers
