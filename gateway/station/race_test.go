//go:build race

package station

// raceOn says whether the race detector slows these tests down.
const raceOn = true
