package station

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"gateline/drivers/osdp"
	"gateline/gateway"
)

// The examples that ship are right, and what they say is a default is one.
func TestExamples(t *testing.T) {
	c, err := LoadConfig("../../docs/examples/station.toml", DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if c.Station != "xizhimen" || len(c.Lines) != 3 || !c.Lines[2].Secure || len(c.Lines[2].Reads) != 3 || c.Lines[0].Serial.Device != "/dev/gate-north" || c.Lines[1].TCP == "" || len(c.Lines[1].Gates) != 2 {
		t.Errorf("got %+v", c)
	}
	text, err := os.ReadFile("../../docs/examples/station.toml")
	if err != nil {
		t.Fatal(err)
	}
	var spelled []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if key, _, found := strings.Cut(line, " = "); found && strings.HasPrefix(key, "#") && !strings.Contains(key, " ") && key != "#key_file" || strings.HasPrefix(line, `#key_file = "/etc/gateline/token.key"`) {
			line = line[1:]
		}
		spelled = append(spelled, line)
	}
	again, err := ParseConfig("spelled out", []byte(strings.Join(spelled, "\n")), DefaultConfig())
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, c) {
		t.Errorf("a default shown in the example is not the default: %+v, %+v", again, c)
	}
	if d := osdp.DefaultSignals(); *again.Lines[2].Signals != d {
		t.Errorf("the signals shown in the example are %+v, the defaults %+v", *again.Lines[2].Signals, d)
	}
	for key, want := range map[string]int{"#light = ": 10, "#beeps = ": 5, "#text = ": 9} {
		if got := strings.Count(string(text), key); got != want {
			t.Errorf("the example shows %q %d times of %d", key, got, want)
		}
	}
	policy, err := os.ReadFile("../../docs/examples/policy.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gateway.DecodePolicy(policy); err != nil {
		t.Error(err)
	}
}

// All faults of a file come at once, each with line and key.
func TestConfigFaults(t *testing.T) {
	const text = `station = "Xi Zhi Men"
[centre]
url = "http://user:secret@centre"
[cache]
dir = "cache"
[status]
listen = 9464
[clock]
require_synch = true
[[line]]
name = "north"
device = "/dev/gate-north"
baud = 115201
[[line.gate]]
name = "N1"
address = 1
[[line.gate]]
name = "N1"
address = 1
[[line.gate]]
name = "N3"
address = 255
[[line]]
name = "north"
device = "/dev/gate-north"
protocol = "osdp2"
[[line.gate]]
address = 2
name = "N 4"
[[line]]
name = "west"
[[line]]
name = "east"
device = "ttyUSB0"
tcp = "10.0.0.1"
[[line.gate]]
name = "E1"
address = 0
key_file = "e1.key"
`
	_, err := ParseConfig("box.toml", []byte(text), DefaultConfig())
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		"box.toml:1: station: a station's name is made of",
		"box.toml:3: centre.url: not of the form nats-leaf://host:port",
		`box.toml:5: cache.dir: "cache" is not an absolute path`,
		"box.toml:7: status.listen: not a string in quotes",
		"box.toml:9: clock.require_synch: unknown key",
		"box.toml:13: line[1].baud: 115201 is not one of",
		`box.toml:18: line[1].gate[2].name: another gate has the name "N1"`,
		`box.toml:19: line[1].gate[2].address: gate "N1" of this line has address 1 already`,
		"box.toml:22: line[1].gate[3].address: 255 is not between 0 and 254",
		`box.toml:24: line[2].name: another line has the name "north"`,
		`box.toml:25: line[2].device: line "north" has the same port`,
		`box.toml:26: line[2].protocol: "osdp2" is not one of direct, osdp`,
		`box.toml:29: line[2].gate[1].name: "N 4" is not a name`,
		"box.toml:30: line[3]: give either device or tcp",
		"box.toml:30: line[3].gate: no gate on this line",
		"box.toml:32: line[4]: give either device or tcp",
		`box.toml:39: line[4].gate[1].key_file: "e1.key" is not an absolute path`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("a password is shown")
	}
	if t.Failed() {
		t.Logf("got:\n%v", err)
	}
}

// What only a line of readers has, and what it cannot have.
func TestReaderConfigFaults(t *testing.T) {
	const text = `station = "a"
centre.url = "nats-leaf://127.0.0.1"
[[line]]
name = "w"
device = "/dev/w"
protocol = "osdp"
baud = 4800
parity = "even"
[[line.read]]
bits = 20
as = "tunion_bcd"
[[line.gate]]
name = "W1"
address = 127
purpose = "leave"
[[line]]
name = "d"
device = "/dev/d"
secure = true
[[line.gate]]
name = "D1"
address = 1
purpose = "exit"
`
	_, err := ParseConfig("box.toml", []byte(text), DefaultConfig())
	for _, want := range []string{
		"box.toml:7: line[1].baud: 4800 is not a speed of OSDP",
		"box.toml:8: line[1].parity: OSDP has none",
		"line[1].read: rule 1: tunion_bcd has 76 or 80 bits, not 20",
		`box.toml:15: line[1].gate[1].purpose: "leave" is not one of entry, exit, topup`,
		"box.toml:14: line[1].gate[1].address: 127 is not between 0 and 126",
		"line[1].gate[1].key_file: missing: a reader in Secure Channel has its own key",
		"box.toml:19: line[2].secure: unknown key",
		"box.toml:23: line[2].gate[1].purpose: unknown key",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s\ngot:\n%v", want, err)
		}
	}
}

// defaultsWithKey are the defaults and a key of the feed, for texts that are not
// about keys.
func defaultsWithKey() Config {
	c := DefaultConfig()
	c.FeedKeys = []gateway.FeedKey{testFeedSecret.Public()}
	return c
}

const readerLine = `station = "a"
centre.url = "nats-leaf://127.0.0.1"
[[line]]
name = "w"
device = "/dev/w"
protocol = "osdp"
secure = false
[[line.gate]]
name = "W1"
address = 1
`

// What a line's readers show is what its configuration says, and what that
// leaves out is the default.
func TestShowConfig(t *testing.T) {
	c, err := ParseConfig("box.toml", []byte(readerLine+`[line.show]
output = 1
led = 2
pulse = "600ms"
for = "3s"
pass.light = "white"
refuse = { light = "red blinking", beeps = 9, text = "Staff only" }
manual.beeps = 0
topup.text = "Top up"
closed.light = "off"
auto.light = "cyan"
manual_lane.text = ""
open.light = "green blinking"
out_of_service.text = "Closed"
link_lost.light = "magenta"
[[line.read]]
bits = 160
as = "tunion_ascii"
formatted = true
[[line.read]]
bits = 160
as = "tunion_ascii"
`), defaultsWithKey())
	if err != nil {
		t.Fatal(err)
	}
	want := osdp.DefaultSignals()
	want.Output, want.LED, want.Pulse, want.For = 1, 2, 600*time.Millisecond, 3*time.Second
	want.Pass.Light.Color = osdp.White
	want.Refuse = osdp.Signal{Light: osdp.Light{Color: osdp.Red, Blinking: true}, Beeps: 9, Text: "Staff only"}
	want.Manual.Beeps, want.TopUp.Text, want.Closed.Light = 0, "Top up", osdp.Light{}
	want.Auto.Light.Color, want.ManualLane.Text, want.Open.Light.Blinking = osdp.Cyan, "", true
	want.OutOfService.Text, want.LinkLost.Light = "Closed", osdp.Light{Color: osdp.Magenta}
	if got := c.Lines[0].signals(); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	reads := osdp.ReadMap{{Bits: 160, As: osdp.ReadTUnionASCII, Formatted: true}, {Bits: 160, As: osdp.ReadTUnionASCII}}
	if !reflect.DeepEqual(c.Lines[0].Reads, reads) {
		t.Errorf("reads are %+v", c.Lines[0].Reads)
	}
	var none LineConfig
	if none.signals() != osdp.DefaultSignals() {
		t.Error("a line that says nothing does not show the defaults")
	}
}

// Every fault of what readers show comes at once, at its own line.
func TestShowConfigFaults(t *testing.T) {
	const text = readerLine + `[line.show]
output = 256
led = -1
pulse = "50ms"
for = "1 s"
colour = "red"
[line.show.pass]
light = "purple"
beeps = 10
text = "Bitte einsteigen, es ist gr\u00fcn"
[line.show.refuse]
light = "amber"
beeps = "three"
[line.show.manual]
text = "a text that is too long for a reader"
[line.show.open]
light = "off blinking"
beeps = 1
[line.show.link_lost]
text = "No link"
[line.show.exit]
light = "red"
[[line.read]]
bits = 80
as = "bcd"
formatted = "yes"
[[line.read]]
bits = 64
as = "chip"
formatted = true
[[line]]
name = "d"
device = "/dev/d"
[line.show]
led = 1
[[line.gate]]
name = "D1"
address = 1
`
	_, err := ParseConfig("box.toml", []byte(text), defaultsWithKey())
	if err == nil {
		t.Fatal("accepted")
	}
	wants := []string{
		"box.toml:12: line[1].show.output: 256 is not between 0 and 255",
		"box.toml:13: line[1].show.led: -1 is not between 0 and 255",
		"box.toml:14: line[1].show.pulse: 50ms is not between 100ms and 10s",
		`box.toml:15: line[1].show.for: "1 s" is not a duration`,
		"box.toml:16: line[1].show.colour: unknown key",
		`box.toml:18: line[1].show.pass.light: "purple" is not one of off, red,`,
		"box.toml:19: line[1].show.pass.beeps: 10 is not between 0 and 9",
		"box.toml:20: line[1].show.pass.text: not at most 32 characters of printable ASCII",
		"box.toml:22: line[1].show.refuse.light: it is also that of pass, manual, topup or closed",
		"box.toml:23: line[1].show.refuse.beeps: not a whole number",
		"box.toml:25: line[1].show.manual.text: not at most 32 characters",
		`box.toml:27: line[1].show.open.light: "off blinking" is not one of`,
		"box.toml:28: line[1].show.open.beeps: unknown key",
		"box.toml:30: line[1].show.link_lost.text: a reader that has lost the box can show a light by itself and no text",
		"box.toml:31: line[1].show.exit: unknown key",
		`box.toml:35: line[1].read[1].as: "bcd" is not one of tunion_bcd, chip, ride_ascii, tunion_ascii`,
		"box.toml:36: line[1].read[1].formatted: not true or false",
		"line[1].read: rule 2: chip is not made of characters: formatted goes with tunion_ascii and ride_ascii",
		"box.toml:44: line[2].show: unknown key",
	}
	for _, want := range wants {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("missing: %s", want)
		}
	}
	// The rule whose "as" cannot be read is also one without.
	if n := strings.Count(err.Error(), "\n") + 1; n != len(wants)+1 || t.Failed() {
		t.Errorf("%d faults:\n%v", n, err)
	}
}

func TestConfigWithoutLines(t *testing.T) {
	_, err := ParseConfig("box.toml", []byte("station = \"a\"\ncentre.url = \"nats-leaf://127.0.0.1:1\"\n"), DefaultConfig())
	if err == nil || !strings.Contains(err.Error(), "line: no line") {
		t.Errorf("got %v", err)
	}
	if _, err := LoadConfig(filepath.Join(t.TempDir(), "none.toml"), DefaultConfig()); err == nil || !strings.Contains(err.Error(), "--config") {
		t.Errorf("got %v", err)
	}
}

func TestGateKeyFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	secret := strings.Repeat("ab", 16)
	if _, err := readGateKey(write("gate", secret+"\n", 0o640)); err != nil {
		t.Error(err)
	}
	if _, err := readGateKey(write("open", secret, 0o644)); err == nil || !strings.Contains(err.Error(), "chmod 0600") {
		t.Errorf("open to everybody: %v", err)
	}
	for name, text := range map[string]string{"default": hex.EncodeToString([]byte("0123456789:;<=>?")), "alike": strings.Repeat("ab", 16)} {
		if _, err := readReaderKey(write("reader-"+name, text, 0o600)); err == nil || !strings.Contains(err.Error(), "openssl rand -hex 16") || strings.Contains(err.Error(), text) {
			t.Errorf("reader key %s: %v", name, err)
		}
	}
	if _, err := readReaderKey(write("reader", "00112233445566778899aabbccddee00", 0o600)); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{"zero": strings.Repeat("0", 32), "long": secret + secret, "text": "not a key"} {
		_, err := readGateKey(write("gate-"+name, text, 0o600))
		if err == nil || !strings.Contains(err.Error(), "openssl rand -hex 16") || strings.Contains(err.Error(), "abab") {
			t.Errorf("gate key %s: %v", name, err)
		}
	}
}
