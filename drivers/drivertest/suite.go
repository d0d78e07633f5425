package drivertest

import (
	"fmt"
	"testing"
)

// Check is one contract of drivers.Session.
type Check struct {
	// Name says what holds, with the id of the rule where there is one.
	Name string
	// Shared says that it concerns half-duplex lines only.
	Shared bool

	run func(Protocol) error
}

// Run returns every fault that the check finds, nil where the contract is kept.
// No error names a credential.
func (c Check) Run(p Protocol) error {
	if err := c.run(p); err != nil {
		return fmt.Errorf("%s: %s: %w", p.Name, c.Name, err)
	}
	return nil
}

// Checks returns the whole suite.
func Checks() []Check {
	return []Check{
		{Name: "a tap is asked once and answered at its gate", run: checkVerdicts},
		{Name: "an unreadable medium is the zero credential", run: checkUnreadable},
		{Name: "taps at all gates at once get their own answers", run: checkConcurrent},
		{Name: "PRV-05 what is shown gives no reason", run: checkReasons},
		{Name: "the lane reaches every gate and stays", run: checkLanes},
		{Name: "IMP-26 a gate without a box shows the manual lane", run: checkNoBox},

		{Name: "IMP-24 a lost message changes no answer", run: checkLost},
		{Name: "IMP-24 an outage changes no answer", run: checkOutage},
		{Name: "GATE-07 no answer outlives its lifetime", run: checkLifetime},

		{Name: "bytes may come one by one", run: checkOneByOne},
		{Name: "reads may be cut anywhere", run: checkOddReads},
		{Name: "several frames may come in one read", run: checkLumps},
		{Name: "noise invents no tap and hides none", run: checkNoise},
		{Name: "a damaged tap is never another tap", run: checkBits},
		{Name: "an address that is not configured is not answered", run: checkStranger},
		{Name: "the box's own voice is no answer", Shared: true, run: checkEcho},

		{Name: "Reset in the middle of a frame loses no later tap", run: checkResetFrame},
		{Name: "IMP-24 Reset in the middle of an exchange asks no tap again", run: checkResetAgain},
		{Name: "Reset in the middle of an exchange brings no second answer", run: checkResetExchange},
		{Name: "IMP-26 a dead gate does not delay the others", run: checkDeadGate},
		{Name: "a gate's state says silent and serving", run: checkState},
		{Name: "a gate that was off comes back", run: checkReturn},

		{Name: "a silent line is no work", run: checkQuiet},
		{Name: "what a Step returns is bounded and stays as it is", run: checkBounds},
		{Name: "a megabyte of noise takes no memory", run: checkMemory},
	}
}

// Suite runs every check as a subtest.
func Suite(t *testing.T, p Protocol) {
	t.Helper()
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			if c.Shared && !p.HalfDuplex {
				t.Skip("only for half-duplex lines")
			}
			if err := c.Run(p); err != nil {
				t.Error(err)
			}
		})
	}
}
