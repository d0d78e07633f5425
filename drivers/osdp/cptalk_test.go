package osdp

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"gateline/gateway"
)

// cpTalk is a conversation of the CP with one reader, written down as it goes.
// Runs of POLL and ACK, which say nothing, are counted only.
type cpTalk struct {
	*simBus
	text  bytes.Buffer
	began time.Time
	idle  int
	sent  []byte
	name  string // of the command that is out
}

func newCPTalk(t *testing.T, title string, secure bool, cfg PDConfig) *cpTalk {
	k := &cpTalk{simBus: newSimBus(t, 1, 1, 115200, secure, time.Millisecond)}
	k.began = k.now
	fmt.Fprintf(&k.text, "# %s\n", title)
	cfg.Rand = zeroes{k.r}
	if cfg.Capabilities == (Capabilities{}) {
		cfg.Capabilities = TypicalCapabilities()
	}
	cfg.ID = PDID{OUI: [3]byte{0x44, 0xca, 0x00}, Model: 2, Version: 1, Serial: 0x04020301, Firmware: [3]byte{1, 2, 3}}
	key := simKey(0)
	if secure && cfg.Key == nil {
		cfg.Key, cfg.RequireSecure = &key, true
	}
	k.pds[0] = NewPD(cfg)
	k.onSend, k.onReply = k.command, k.reply
	return k
}

func (k *cpTalk) command(b []byte) {
	f, err := ParseFrame(b[1:])
	if err != nil {
		k.t.Fatal(err)
	}
	k.sent, k.name = bytes.Clone(b), describe(&f)
	if f.Code != CmdPOLL {
		k.flush()
	}
}

func (k *cpTalk) reply(b []byte) {
	poll := strings.HasPrefix(k.name, CommandName(CmdPOLL))
	if len(b) == 0 {
		k.flush()
		k.line('>', k.sent, k.name)
		fmt.Fprintln(&k.text, "<")
		return
	}
	f, err := ParseFrame(bytes.TrimLeft(b, "\xff"))
	if err != nil {
		k.t.Fatal(err)
	}
	if poll && f.Code == ReplyACK {
		k.idle++
		return
	}
	k.flush()
	k.line('>', k.sent, k.name)
	k.line('<', b, describe(&f))
}

func (k *cpTalk) line(mark rune, b []byte, what string) {
	fmt.Fprintf(&k.text, "%c % X   %s\n", mark, b, what)
}

func (k *cpTalk) flush() {
	if k.idle > 0 {
		fmt.Fprintf(&k.text, "# POLL, ACK × %d\n", k.idle)
		k.idle = 0
	}
}

func (k *cpTalk) note(format string, args ...any) {
	k.flush()
	fmt.Fprintf(&k.text, "\n# %s: "+format+"\n", append([]any{k.now.Sub(k.began).Round(time.Millisecond)}, args...)...)
}

func (k *cpTalk) wait(d time.Duration) { k.until(k.now.Add(d)) }

func (k *cpTalk) tap(verdict gateway.Verdict, reason gateway.Reason) {
	k.answer = func(gateway.Tap) gateway.Answer {
		return gateway.Answer{Verdict: verdict, Reason: reason, Open: verdict == gateway.VerdictPass, TTL: 3 * time.Second}
	}
	k.present(0, k.now, someCard)
}

func (k *cpTalk) golden(name string) {
	k.t.Helper()
	k.flush()
	compareGolden(k.t, name, k.text.Bytes())
}

// The conversations of the CP with readers of every habit. What is encrypted is
// under the keys of simKey and a seeded source.
func TestCPTalks(t *testing.T) {
	t.Run("clear", func(t *testing.T) {
		k := newCPTalk(t, "A reader in clear, from the start to the lane's light after a pass.", false, PDConfig{})
		k.wait(100 * time.Millisecond)
		k.note("A rider passes: the gate first, then light and sound.")
		k.tap(gateway.VerdictPass, gateway.R00)
		k.wait(2500 * time.Millisecond)
		k.note("A rider is refused.")
		k.tap(gateway.VerdictRefuse, gateway.R10)
		k.wait(100 * time.Millisecond)
		k.golden("cp-clear")
	})
	t.Run("secure", func(t *testing.T) {
		k := newCPTalk(t, "A reader in Secure Channel: start, a rider for the staff, the station switched to manual, the end.", true, PDConfig{})
		k.wait(100 * time.Millisecond)
		k.note("A card that is not bound.")
		k.tap(gateway.VerdictManual, gateway.R20)
		k.wait(2500 * time.Millisecond)
		k.note("The lane becomes the staff's.")
		k.cp.Show(0, gateway.LaneManual)
		k.wait(100 * time.Millisecond)
		k.note("The box is stopped.")
		k.cp.Leave(k.now)
		k.wait(100 * time.Millisecond)
		k.golden("cp-secure")
	})
	t.Run("libosdp", func(t *testing.T) {
		k := newCPTalk(t, "libosdp's reader: a refused SQN comes with the one expected and is repeated; checks are always CRC.", true, PDConfig{Quirks: LibOSDP()})
		k.wait(100 * time.Millisecond)
		k.note("The two lose each other's sequence.")
		k.cp.links[0].sqn = NextSQN(k.cp.links[0].sqn)
		k.wait(50 * time.Millisecond)
		k.golden("cp-libosdp")
	})
	t.Run("quirks", func(t *testing.T) {
		k := newCPTalk(t, "RMAC_I under block type 12, BUSY with the command's SQN, OUT answered with a status, power reported at the start.", true,
			PDConfig{Quirks: Quirks{Finish12: true, BusyOwnSQN: true, OutStatus: true, PowerReport: true}})
		k.wait(100 * time.Millisecond)
		k.note("The reader is busy twice.")
		k.pds[0].Busy(2)
		k.wait(200 * time.Millisecond)
		k.golden("cp-quirks")
	})
	t.Run("busy", func(t *testing.T) {
		k := newCPTalk(t, "BUSY with SQN 0, the standard's way, while a gate is to be opened.", true, PDConfig{})
		k.wait(100 * time.Millisecond)
		k.note("The answer meets a busy reader.")
		k.tap(gateway.VerdictPass, gateway.R00)
		k.answer = func(gateway.Tap) gateway.Answer {
			k.pds[0].Busy(1)
			return gateway.Answer{Verdict: gateway.VerdictPass, Open: true, TTL: 3 * time.Second}
		}
		k.wait(200 * time.Millisecond)
		k.golden("cp-busy")
	})
	t.Run("refusals", func(t *testing.T) {
		k := newCPTalk(t, "A reader that can beep and open only: no PDCAP entry for LED and text, and a NAK in clear within the session.", true,
			PDConfig{Capabilities: Capabilities{Outputs: 1, OutputLevel: 3, LEDs: 1, LEDLevel: 4, BuzzerLevel: 1, Readers: 1}, Quirks: Quirks{ClearNAK: true}})
		k.wait(100 * time.Millisecond)
		k.note("Its LED is gone: the light is refused and not asked for again.")
		k.pds[0].cfg.Capabilities.LEDs = 0
		k.tap(gateway.VerdictRefuse, gateway.R13)
		k.wait(2500 * time.Millisecond)
		k.golden("cp-refusals")
	})
	t.Run("power", func(t *testing.T) {
		k := newCPTalk(t, "A reader is switched off and on again.", true, PDConfig{})
		k.wait(100 * time.Millisecond)
		k.note("Off and on between two polls.")
		k.pds[0].PowerCycle(k.now)
		k.wait(60 * time.Millisecond)
		k.note("Off for half a second.")
		k.dead[0] = true
		k.wait(500 * time.Millisecond)
		k.dead[0] = false
		k.pds[0].PowerCycle(k.now)
		k.wait(time.Second)
		k.golden("cp-power")
	})
	t.Run("wrong-key", func(t *testing.T) {
		wrong := Key{1, 2, 4}
		k := newCPTalk(t, "A reader with another key: three attempts, then a pause.", true, PDConfig{Key: &wrong, RequireSecure: true})
		k.wait(6 * time.Second)
		k.golden("cp-wrong-key")
	})
	t.Run("install-mode", func(t *testing.T) {
		k := newCPTalk(t, "A reader that lost its key and wants the default one.", true, PDConfig{})
		k.wait(60 * time.Millisecond)
		k.note("It is reset by hand.")
		k.pds[0] = NewPD(PDConfig{Rand: zeroes{k.r}, Capabilities: TypicalCapabilities(), RequireSecure: true})
		k.wait(2 * time.Second)
		k.golden("cp-install-mode")
	})
}
