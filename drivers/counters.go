package drivers

import "sync/atomic"

// Counters count what happens on one line. The line's goroutine writes them,
// anybody may read them.
type Counters struct {
	Taps       atomic.Uint64 // questions answered afresh
	Repeats    atomic.Uint64 // questions asked again, answered with the identical answer
	Heartbeats atomic.Uint64 // a gate's signs of life
	Late       atomic.Uint64 // answers of a gate that nobody waited for any more
	BytesIn    atomic.Uint64
	BytesOut   atomic.Uint64
	Opens      atomic.Uint64 // times the port was opened

	Noise       atomic.Uint64 // bytes between delimiters that are not a frame: damage, a wrong speed
	Malformed   atomic.Uint64 // frames whose check is right and whose content is not
	UnknownGate atomic.Uint64 // frames of an address that is not configured
	Unproven    atomic.Uint64 // frames whose MAC is missing, unexpected or wrong
	Replayed    atomic.Uint64 // frames with an old counter
	PortErrors  atomic.Uint64 // times the port failed and was closed
}

// Errors calls f for every kind of error with its count so far.
func (c *Counters) Errors(f func(kind string, n uint64)) {
	f("noise", c.Noise.Load())
	f("malformed", c.Malformed.Load())
	f("unknown_gate", c.UnknownGate.Load())
	f("unproven", c.Unproven.Load())
	f("replayed", c.Replayed.Load())
	f("late", c.Late.Load())
	f("port", c.PortErrors.Load())
}
