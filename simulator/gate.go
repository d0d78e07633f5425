package simulator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"gateline/drivers/direct"
	"gateline/gateway"
)

// gate is a simulated gate on a line of its own.
type gate struct {
	wire     *wire
	device   *direct.Gate
	position func() gateway.Position // the box's
	wake     time.Time
}

const gateAddress = 1

func newGate(baud int, position func() gateway.Position) (*gate, error) {
	w, err := openWire(baud)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	return &gate{wire: w, device: direct.NewGate(now, gateAddress, nil, 0), position: position, wake: now}, nil
}

// usable and serving implement tapper: nothing is ever wrong with a gate.
func (g *gate) usable() bool  { return true }
func (g *gate) serving() bool { return true }

// idle lets the gate live until t: it beats and listens.
func (g *gate) idle(ctx context.Context, t time.Time) error {
	for now := time.Now(); now.Before(t) && ctx.Err() == nil; now = time.Now() {
		deadline := t
		if g.wake.Before(t) {
			deadline = g.wake
		}
		if _, _, err := g.step(deadline); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// step waits for bytes until deadline, gives them to the gate and sends what
// it wants to send.
func (g *gate) step(deadline time.Time) (result *direct.Result, received int, err error) {
	in, now, err := g.wire.receive(deadline)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, 0, fmt.Errorf("gate on %s: %w", g.wire.path, err)
	}
	result, send, wake := g.device.Step(now, in)
	if g.wake = wake; len(send) > 0 {
		if _, err := g.wire.send(send); err != nil {
			return nil, 0, fmt.Errorf("gate on %s: %w", g.wire.path, err)
		}
	}
	return result, len(in), nil
}

// tap lets a rider tap and waits for the answer, or until the gate gives up.
func (g *gate) tap(ctx context.Context, credentialIndex int, purpose gateway.Purpose) (tapRecord, error) {
	t := tapRecord{credential: credentialIndex, purpose: purpose, before: g.position()}
	var c gateway.Credential
	if credentialIndex != noCredential {
		c = credential(credentialIndex)
	}
	_, err := g.present(ctx, c, &t)
	return t, err
}

// present asks the question of a tap, notes in t what comes of it and returns the
// answer, the zero one where the gate has given up.
func (g *gate) present(ctx context.Context, c gateway.Credential, t *tapRecord) (gateway.Answer, error) {
	now := time.Now()
	number := g.device.Tap(now, t.purpose, c)
	_, send, wake := g.device.Step(now, nil)
	g.wake = wake
	var err error
	if t.sent, err = g.wire.send(send); err != nil {
		return gateway.Answer{}, fmt.Errorf("gate on %s: %w", g.wire.path, err)
	}
	for ctx.Err() == nil {
		result, received, err := g.step(g.wake)
		if err != nil {
			return gateway.Answer{}, err
		}
		if t.lineBytes += received; result == nil || result.Number != number {
			continue
		}
		t.received, t.after = time.Now(), g.position()
		t.answered, t.tries = result.Answered, result.Tries
		t.got = outcome{result.Answer.Verdict, result.Answer.Reason, result.Answer.Open}
		return result.Answer, nil
	}
	return gateway.Answer{}, ctx.Err()
}
