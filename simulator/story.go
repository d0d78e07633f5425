package simulator

import (
	"context"
	"time"

	"gateline/gateway"
)

// Lengths of the story's parts.
const (
	rushFor  = 6 * time.Second
	cutFor   = 8 * time.Second
	afterFor = 1500 * time.Millisecond
)

// story plays the parts one after the other.
func (d *demo) story(ctx context.Context, window policyFacts) error {
	for _, part := range []func(context.Context) error{
		d.rush, d.upgradeOnTheSpot, d.cutAndHeal,
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
