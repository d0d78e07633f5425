// Package setup is a technician's tools for OSDP readers on a line that no box
// runs on: Scan finds readers, Commission gives a new one its key, address and
// speed, Rekey gives one that has a key another, and Ask gives one command.
//
// Commission is the only function of the product that installs a key under the
// default key SCBK-D, and Scan only sees whether that still opens a reader.
// Commission and Rekey may be cut off at any instant, at either end, and are
// finished by being run again: a key is on the disk before the reader hears of
// it, and takes its place only once the reader has proved it.
//
// Everything goes over a drivers.Port with a clock and a source of chance that
// are handed in, one question at a time, in the caller's goroutine.
package setup
