//go:build !race

package osdp

const raceEnabled = false
