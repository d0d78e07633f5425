// Package osdp is the protocol of readers on RS-485, OSDP (IEC 60839-11-5, SIA
// OSDP v2.2), both ends of it, as state machines without I/O: frames and their
// resynchronisation, the payloads of commands and replies, Secure Channel, and
// the reader's end PD for the simulator and the tests. The words are the
// standard's: the box is the CP, a reader is a PD.
package osdp
