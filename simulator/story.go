package simulator

import (
	"context"
	"fmt"
	"time"

	"gateline/gateway"
)

// Lengths of the story's parts.
const (
	rushFor  = 5 * time.Second
	offFor   = 4 * time.Second
	cutFor   = 8 * time.Second
	afterFor = 1500 * time.Millisecond

	// backLimit is within what a reader serves after its first answer.
	backLimit = 2 * time.Second
)

// story plays the parts one after the other.
func (d *demo) story(ctx context.Context, window policyFacts) error {
	for _, part := range []func(context.Context) error{
		d.rush, d.powerLost, d.upgradeOnTheSpot, d.cutAndHeal,
		func(ctx context.Context) error { return d.changeWindow(ctx, window) },
	} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) rush(ctx context.Context) error {
	d.say("Rush hour. Every tap is answered from the box's own store while the centre's changes keep arriving.")
	return wait(ctx, rushFor)
}

// demoVictim is the reader that loses its power, by its place on the line.
const demoVictim = 4

// powerLost takes the power of one reader and shows that its neighbours on the
// line do not care.
func (d *demo) powerLost(ctx context.Context) error {
	line, gate := d.w.lines[0], demoGates+demoVictim
	o := Outage{Gate: gate + 1}
	off := time.Now()
	line.plan([]powerSwitch{{at: off, reader: demoVictim}})
	d.say("Reader %d loses its POWER. The others on its line go on.", o.Gate)
	if err := wait(ctx, offFor); err != nil {
		return err
	}
	on := time.Now()
	o.Before, o.Meanwhile = d.neighbours(off.Add(-rushFor), off), d.neighbours(off, on)
	d.say("  Its neighbours' riders waited %.1f ms at the median before, %.1f ms while it was dark.", o.Before.Seconds()*1e3, o.Meanwhile.Seconds()*1e3)
	line.restore(on)
	if err := d.w.poll(readersLimit, "the reader to serve again", d.w.gates[gate].serving); err != nil {
		return err
	}
	_, back := line.counted()
	o.Found, o.Back = back.found[len(back.found)-1], back.back[len(back.back)-1]
	d.say("  Its power is back: it is found %.1f s later and serves %d ms after its first answer.", o.Found.Seconds(), o.Back.Milliseconds())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.report.Outage = o; o.Back > backLimit {
		d.report.Surprises = append(d.report.Surprises, fmt.Sprintf("reader %d served only %v after its first answer, the story has %v at most", o.Gate, o.Back, backLimit))
	}
	return nil
}

// neighbours returns the median of the taps in a span at the readers that kept
// their power.
func (d *demo) neighbours(from, to time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	var taps []tapRecord
	for i, of := range d.taps[demoGates:] {
		for _, t := range of {
			if i != demoVictim && t.sent.After(from) && t.sent.Before(to) {
				taps = append(taps, t)
			}
		}
	}
	return median(taps)
}

func (d *demo) upgradeOnTheSpot(ctx context.Context) error {
	t, err := d.tapAs(ctx, d.upgrader)
	if err != nil {
		return err
	}
	d.tell("A rider whose card is not upgraded taps at gate 1", t, gateway.VerdictManual, gateway.R20)
	start := time.Now()
	number, err := d.w.bind(d.upgrader, true)
	if err != nil {
		return err
	}
	if err := d.w.caughtUp(number, catchUpLimit); err != nil {
		return err
	}
	d.say("  He upgrades it on his phone; the box knows %d ms later. He taps again.", time.Since(start).Milliseconds())
	if t, err = d.tapAs(ctx, d.upgrader); err != nil {
		return err
	}
	d.tell("The same card, second tap", t, gateway.VerdictPass, gateway.R00)
	return wait(ctx, afterFor)
}

func (d *demo) cutAndHeal(ctx context.Context) error {
	t, err := d.tapAs(ctx, d.late)
	if err != nil {
		return err
	}
	d.tell("A rider whose test is three days old (48 h allowed)", t, gateway.VerdictRefuse, gateway.R10)
	d.say("The link to the centre is CUT. Taps go on; changes pile up at the centre.")
	d.level.Store(0)
	d.linkDown.Store(true)
	cut := time.Now()
	d.w.link.set(true)
	if err := wait(ctx, cutFor*3/4); err != nil {
		return err
	}
	if t, err = d.tapAs(ctx, d.late); err != nil {
		return err
	}
	d.tell("The same rider. The box has heard nothing for longer than fresh_limit (4 s here, 15 min in life)\n  and accuses nobody any more", t, gateway.VerdictManual, gateway.R22)
	if err := wait(ctx, cutFor/4); err != nil {
		return err
	}
	behind := d.w.centre.FeedNumber() - d.w.box.Position().Number
	d.catching.Store(true)
	d.w.link.set(false)
	healed := time.Now()
	if err := d.w.caughtUp(d.w.centre.FeedNumber(), catchUpLimit); err != nil {
		return err
	}
	d.catching.Store(false)
	d.linkDown.Store(false)
	took := time.Since(healed)
	d.level.Store(time.Now().UnixMicro())
	d.report.CutFor, d.report.CaughtUp.Seconds = healed.Sub(cut), float64(took.Milliseconds())/1e3
	d.say("The link is BACK. The box was %d entries behind and has caught up %.1f s later.", behind, took.Seconds())
	return wait(ctx, afterFor)
}

func (d *demo) changeWindow(ctx context.Context, window policyFacts) error {
	window.window, window.effective = 3, time.Now().Add(demoWindowIn).Truncate(time.Second)
	if err := d.w.setPolicy(window); err != nil {
		return err
	}
	d.say("The window goes from 48 h to 72 h at %s; the policy is published %d s ahead.",
		window.effective.In(gateway.Zone).Format(time.TimeOnly), int(demoWindowIn.Seconds()))
	t, err := d.tapAs(ctx, d.late)
	if err != nil {
		return err
	}
	d.tell("Test three days old, before that instant", t, gateway.VerdictRefuse, gateway.R10)
	if err := wait(ctx, time.Until(window.effective.Add(200*time.Millisecond))); err != nil {
		return err
	}
	if t, err = d.tapAs(ctx, d.late); err != nil {
		return err
	}
	d.tell("The same rider, after it; no record was touched", t, gateway.VerdictPass, gateway.R00)
	return wait(ctx, afterFor)
}

// tapAs lets a rider of the story tap at gate 1.
func (d *demo) tapAs(ctx context.Context, credential int) (tapRecord, error) {
	a := ask{credential: credential, answer: make(chan tapRecord, 1)}
	select {
	case <-ctx.Done():
		return tapRecord{}, ctx.Err()
	case d.asks <- a:
	}
	select {
	case <-ctx.Done():
		return tapRecord{}, ctx.Err()
	case t := <-a.answer:
		return t, nil
	}
}

// tell says what a gate showed, and notes it where the story says otherwise.
func (d *demo) tell(who string, t tapRecord, verdict gateway.Verdict, reason gateway.Reason) {
	texts := gateway.DefaultTexts()
	shown := texts.Text(gateway.Answer{Verdict: t.got.verdict, Reason: t.got.reason}, t.purpose)
	mark, text := "✗", shown.ZH+" / "+shown.EN
	switch t.got.verdict {
	case gateway.VerdictPass:
		mark, text = "✓", "the door opens"
	case gateway.VerdictManual:
		mark = "→"
	}
	if !t.answered {
		text = "no answer"
	}
	d.say("  %s: %s %s  [%s]", who, mark, text, t.got.reason)
	if !t.answered || t.got.verdict != verdict || t.got.reason != reason {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.report.Surprises = append(d.report.Surprises, who+": the gate was told "+t.got.verdict.String()+" "+t.got.reason.String()+", the story has "+verdict.String()+" "+reason.String())
	}
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
