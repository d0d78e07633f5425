package drivertest_test

import (
	"strings"
	"testing"

	"gateline/drivers"
	"gateline/drivers/drivertest"
	"gateline/drivers/drivertest/gates"
)

// The names of the checks that the broken sessions below run into.
const (
	asked      = "a tap is asked once and answered at its gate"
	unreadable = "an unreadable medium is the zero credential"
	concurrent = "taps at all gates at once get their own answers"
	reasons    = "PRV-05 what is shown gives no reason"
	lanes      = "the lane reaches every gate and stays"
	noBox      = "IMP-26 a gate without a box shows the manual lane"
	lost       = "IMP-24 a lost message changes no answer"
	outage     = "IMP-24 an outage changes no answer"
	outlives   = "GATE-07 no answer outlives its lifetime"
	oneByOne   = "bytes may come one by one"
	oddReads   = "reads may be cut anywhere"
	lumps      = "several frames may come in one read"
	noisy      = "noise invents no tap and hides none"
	damaged    = "a damaged tap is never another tap"
	stranger   = "an address that is not configured is not answered"
	echo       = "the box's own voice is no answer"
	resetFrame = "Reset in the middle of a frame loses no later tap"
	resetAsks  = "IMP-24 Reset in the middle of an exchange asks no tap again"
	resetTwice = "Reset in the middle of an exchange brings no second answer"
	deadGate   = "IMP-26 a dead gate does not delay the others"
	state      = "a gate's state says silent and serving"
	comesBack  = "a gate that was off comes back"
	quiet      = "a silent line is no work"
	bounds     = "what a Step returns is bounded and stays as it is"
	memory     = "a megabyte of noise takes no memory"
)

// forgetting starts with an empty memory at every Reset.
func forgetting() drivertest.Protocol {
	p := gates.Direct(false)
	build := p.Box
	return spoiled(p, func(b *box, c drivertest.BoxConfig) {
		b.reset = func() {
			if inner, err := build(c); err == nil {
				b.inner = inner
			}
		}
	})
}

// configured is direct whose box is built from another description than the
// line's.
func configured(change func(*drivertest.BoxConfig) error) drivertest.Protocol {
	p := gates.Direct(false)
	build := p.Box
	p.Box = func(c drivertest.BoxConfig) (drivers.Session, error) {
		if err := change(&c); err != nil {
			return nil, err
		}
		return build(c)
	}
	return p
}

func servesStrangers(c *drivertest.BoxConfig) (err error) {
	if c.Gates.At(77) != nil {
		return nil
	}
	all := append([]*drivers.Gate{{Name: "stranger", Address: 77}}, c.Gates.All()...)
	c.Gates, err = drivers.NewGateTable(all...)
	return err
}

func notesNobody(c *drivertest.BoxConfig) (err error) {
	var all []*drivers.Gate
	for _, g := range c.Gates.All() {
		all = append(all, &drivers.Gate{Name: g.Name, Address: g.Address})
	}
	c.Gates, err = drivers.NewGateTable(all...)
	return err
}

func countsNothing(c *drivertest.BoxConfig) error {
	c.Counters = new(drivers.Counters)
	return nil
}

func steadyGates() drivertest.Protocol {
	p := gates.Direct(false)
	build := p.Gate
	p.Gate = func(c drivertest.GateConfig) drivertest.Gate { return steadyGate{build(c)} }
	return p
}

// The suite finds each fault, with the check that is there for it, and every
// check finds one.
func TestSuiteFindsFaults(t *testing.T) {
	direct := func(spoil func(*box, drivertest.BoxConfig)) drivertest.Protocol {
		return spoiled(gates.Direct(false), spoil)
	}
	checks, found := map[string]drivertest.Check{}, map[string]bool{}
	for _, c := range drivertest.Checks() {
		checks[c.Name] = c
	}
	for _, broken := range []struct {
		name string
		p    drivertest.Protocol
		by   []string
	}{
		{"drops taps", direct(dropsTaps), []string{asked}},
		{"repeats a tap as a new one", direct(repeatsTaps), []string{asked}},
		{"answers twice", spoiled(gates.OSDP(false), answersTwice), []string{asked}},
		{"is busy for nothing", direct(waking(0)), []string{asked, quiet}},
		{"wakes too often", direct(waking(1e6)), []string{quiet}},
		{"takes the unreadable for the last card", direct(guessesUnreadable), []string{unreadable}},
		{"swaps answers", direct(swapsAnswers), []string{concurrent}},
		{"tells reasons", direct(tellsReasons), []string{reasons}},
		{"shows the first lane only", direct(showsFirstLaneOnly), []string{lanes}},
		{"gates that do not miss the box", steadyGates(), []string{noBox, lanes}},
		{"forgets its answers at once", direct(withTTL(0)), []string{lost, outage, resetAsks}},
		{"keeps its answers too long", direct(withTTL(25e9)), []string{outlives}},
		{"loses short reads", direct(losesShortReads), []string{oneByOne, oddReads}},
		{"sees one frame in a read", direct(seesOneFrame), []string{lumps}},
		{"believes noise", direct(believesNoise), []string{noisy, damaged}},
		{"counts no errors", configured(countsNothing), []string{noisy, stranger}},
		{"serves strangers", configured(servesStrangers), []string{stranger}},
		{"takes its own voice for a tap", spoiled(gates.OSDP(false), hearsItself), []string{echo}},
		{"is deaf after Reset", direct(deafAfterReset), []string{resetFrame}},
		{"forgets its answers at Reset", forgetting(), []string{resetAsks}},
		{"answers anew after Reset", spoiled(gates.OSDP(false), answersAnewAfterReset), []string{resetTwice}},
		{"waits for the dead", direct(stallsForTheDead), []string{deadGate}},
		{"notes nobody's state", configured(notesNobody), []string{state}},
		{"writes gates off", direct(writesOff), []string{comesBack}},
		{"reuses its buffer", direct(reusesItsBuffer), []string{bounds}},
		{"sends without bound", direct(sendsWithoutBound), []string{bounds}},
		{"asks every copy", direct(asksEveryCopy), []string{bounds}},
		{"hoards what it hears", direct(hoards), []string{memory}},
	} {
		t.Run(broken.name, func(t *testing.T) {
			for _, name := range broken.by {
				err := checks[name].Run(broken.p)
				if err == nil {
					t.Errorf("%q does not find it", name)
					continue
				}
				found[name] = true
				discreet(t, err)
				t.Log(err)
			}
		})
	}
	for name := range checks {
		if !found[name] {
			t.Errorf("nothing shows that %q can fail", name)
		}
	}
}

// discreet checks that an error names no credential, neither as digits nor as
// it stands on the wire.
func discreet(t *testing.T, err error) {
	t.Helper()
	for _, part := range []string{"3104770", "0123AB", "0123ab", "1001000", "31 04 77", "31 30 30 31"} {
		if strings.Contains(err.Error(), part) {
			t.Errorf("the error names a credential, by %q", part)
		}
	}
}

// A spoiled session whose spoil does nothing passes: what the others fail by is
// their fault, not the wrapping.
func TestWrappingIsNoFault(t *testing.T) {
	p := spoiled(gates.Direct(false), func(*box, drivertest.BoxConfig) {})
	for _, c := range drivertest.Checks() {
		if err := c.Run(p); err != nil && !c.Shared {
			t.Error(err)
		}
	}
}
