//go:build race

package cache

// raceOn says whether the race detector slows these tests down.
const raceOn = true
