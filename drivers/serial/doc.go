// Package serial opens the serial port of a gate line and gives it what a
// gateway needs: deadlines in milliseconds, a Close that frees a pending Read
// at once, a hang-up that is an error of its own, exclusive use, RS-485 turned
// by the kernel and low latency where the port has them.
//
// github.com/tarm/serial checks and sets the line, and nothing more. Its own
// descriptor is never read: a Read on it cannot be interrupted, its Close waits
// for that Read, and it reports a timeout and an unplugged adapter alike as
// (0, io.EOF). Line settings belong to the tty and not to the descriptor, so a
// second, non-blocking descriptor sees the same line and is served by the
// runtime's poller.
package serial
