package pause

import (
	"testing"
	"time"
)

func TestUntil(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []time.Duration{-time.Second, 0, 10 * time.Microsecond, 200 * time.Microsecond, 3 * time.Millisecond} {
		at := time.Now().Add(d)
		if err := p.Until(at); err != nil {
			t.Fatal(err)
		}
		if now := time.Now(); now.Before(at) {
			t.Errorf("back %v too early", at.Sub(now))
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Until(time.Now().Add(time.Millisecond)); err == nil {
		t.Error("a closed timer waits")
	}
}
