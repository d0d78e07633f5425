package osdp

import (
	"strings"
	"testing"
	"time"
)

// Whatever a reader's LED can do, and whatever the configuration wants, a
// refusal never looks like the way to the staff, nor like a pass.
func TestRefusalIsNeverMistaken(t *testing.T) {
	for level := byte(1); level <= 5; level++ {
		c := Capabilities{LEDs: 1, LEDLevel: level}
		for refuse := Red; refuse <= White; refuse++ {
			for staff := Black; staff <= White; staff++ {
				for _, blinks := range []bool{false, true} {
					s := DefaultSignals()
					s.Refuse.Light = Light{Color: refuse}
					s.Manual.Light = Light{Color: staff, Blinking: blinks && staff != Black}
					if s.Validate() != nil {
						continue
					}
					no := c.blink(s.Refuse.Light, roleRefuse)
					if no == c.blink(s.Manual.Light, roleStaff) {
						t.Errorf("level %d: a refusal in %v looks like the staff's %v", level, s.Refuse.Light, s.Manual.Light)
					}
					if level < ledColors && no == c.blink(s.Pass.Light, rolePass) {
						t.Errorf("level %d: a refusal in %v looks like a pass", level, s.Refuse.Light)
					}
				}
			}
		}
	}
}

// What a light is made of is always something that a reader takes.
func TestBlinksAreValid(t *testing.T) {
	for level := byte(1); level <= 5; level++ {
		c := Capabilities{LEDs: 1, LEDLevel: level}
		for color := Black; color <= White; color++ {
			for r := roleIdle; r <= roleLost; r++ {
				for _, blinks := range []bool{false, true} {
					b := c.blink(Light{color, blinks}, r)
					data := AppendLED(nil, LED{Temp: TempSet, TempBlink: b, TempTime: time.Second, Perm: PermSet, PermBlink: b})
					leds, err := ParseLED(nil, data)
					if err != nil || leds[0].TempBlink != b {
						t.Errorf("level %d, %v, role %d: %+v, %v", level, Light{color, blinks}, r, b, err)
					}
					if level < ledTwoColors && (b.OnColor != Black && b.OffColor != Black && b.OnColor != b.OffColor) {
						t.Errorf("level %d is asked for two colours", level)
					}
				}
			}
		}
	}
}

func TestLightNames(t *testing.T) {
	for color := Black; color <= White; color++ {
		for _, blinks := range []bool{false, true} {
			want := Light{color, blinks && color != Black}
			var got Light
			if err := got.UnmarshalText([]byte(want.String())); err != nil || got != want {
				t.Errorf("%v: read as %v, %v", want, got, err)
			}
		}
	}
	for _, bad := range []string{"", "pink", "off blinking", "red  blinking", "blinking", "red blinking blinking", "Red"} {
		if err := new(Light).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is a light", bad)
		}
	}
}

func TestSignalsValidate(t *testing.T) {
	good := DefaultSignals()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for want, edit := range map[string]func(s *Signals){
		"pulse:":          func(s *Signals) { s.Pulse = time.Minute },
		"for:":            func(s *Signals) { s.For = 0 },
		"refuse.text:":    func(s *Signals) { s.Refuse.Text = strings.Repeat("x", MaxText+1) },
		"manual.text:":    func(s *Signals) { s.Manual.Text = "请走人工通道" },
		"auto.text:":      func(s *Signals) { s.Auto.Text = "a\nb" },
		"pass.beeps: 10 ": func(s *Signals) { s.Pass.Beeps = 10 },
		"refuse.light:":   func(s *Signals) { s.Refuse.Light = s.Closed.Light },
		"of pass, manual": func(s *Signals) { s.Pass.Light = s.Refuse.Light },
		"link_lost.text:": func(s *Signals) { s.LinkLost.Text = "lost" },
		"closed.beeps:":   func(s *Signals) { s.Closed.Beeps = 99 },
	} {
		s := DefaultSignals()
		edit(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
