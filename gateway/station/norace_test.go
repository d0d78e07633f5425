//go:build !race

package station

const raceOn = false
