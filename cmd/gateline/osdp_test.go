package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gateline/drivers/osdp"
	"gateline/drivers/serial"
)

// readersBench is a pseudo-terminal with readers behind it, which hear only
// what is sent at their speed. Its configuration has three gates.
type readersBench struct {
	t      *testing.T
	device string
	dir    string
	config string

	mu      sync.Mutex // guards what follows
	readers []*osdp.PD
	heard   []byte // everything that went over the line
}

func newReadersBench(t *testing.T, readers ...*osdp.PD) *readersBench {
	t.Helper()
	blocking, terminal := newPTY(t)
	fd, err := unix.FcntlInt(blocking.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	master := os.NewFile(uintptr(fd), "master") // Close reaches a pending read
	b := &readersBench{t: t, device: terminal.Name(), dir: t.TempDir(), readers: readers}
	b.config = b.writeConfig(terminal.Name())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.serve(master)
	}()
	t.Cleanup(func() {
		_ = master.Close()
		<-done
	})
	return b
}

func (b *readersBench) writeConfig(device string) string {
	return writeFile(b.t, "station.toml", fmt.Sprintf(`station = "xidan"
centre.url = "nats-leaf://127.0.0.1:1"
feed.keys = [%[3]q]
token.key_file = "/etc/gateline/token.key"
[[line]]
name = "west"
device = %[1]q
baud = 38400
protocol = "osdp"
[[line.gate]]
name = "W1"
address = 1
key_file = "%[2]s/W1.key"
[[line.gate]]
name = "W2"
address = 2
key_file = "%[2]s/W2.key"
[[line.gate]]
name = "W3"
address = 3
key_file = "%[2]s/W3.key"
[[line]]
name = "north"
tcp = "127.0.0.1:1"
[[line.gate]]
name = "N1"
address = 1
[[line]]
name = "far"
tcp = "127.0.0.1:2"
protocol = "osdp"
secure = false
[[line.gate]]
name = "F1"
address = 1
`, device, b.dir, testFeedSecret.Public()))
}

// serve plays the readers until the pseudo-terminal is closed. Two that answer
// at once spoil each other's bytes.
func (b *readersBench) serve(master *os.File) {
	buffer := make([]byte, 512)
	for {
		n, err := master.Read(buffer)
		if errors.Is(err, os.ErrClosed) || err != nil && n == 0 {
			return
		}
		baud := b.speed(master)
		b.mu.Lock()
		b.heard = append(b.heard, buffer[:n]...)
		var answer []byte
		for _, r := range b.readers {
			if int(r.Baud()) != baud {
				continue
			}
			one := bytes.Clone(r.Step(time.Now(), buffer[:n]))
			for i := range min(len(answer), len(one)) {
				one[i] &= answer[i] ^ 0x10
			}
			if len(one) > 0 {
				answer = one
			}
		}
		b.heard = append(b.heard, answer...)
		b.mu.Unlock()
		if _, err := master.Write(answer); err != nil {
			return
		}
	}
}

// speed is that to which the command has set its end.
func (b *readersBench) speed(master *os.File) int {
	conn, err := master.SyscallConn()
	if err != nil {
		return 0
	}
	codes := map[uint32]int{
		unix.B9600: 9600, unix.B19200: 19200, unix.B38400: 38400, unix.B57600: 57600, unix.B115200: 115200, unix.B230400: 230400,
	}
	baud := 0
	_ = conn.Control(func(fd uintptr) { // a closed one is nobody's speed
		if settings, err := unix.IoctlGetTermios(int(fd), unix.TCGETS); err == nil {
			baud = codes[settings.Cflag&unix.CBAUD]
		}
	})
	return baud
}

func (b *readersBench) keyFile(name string) string { return filepath.Join(b.dir, name+".key") }

// call gives an osdp command on the line west.
func (b *readersBench) call(args ...string) result {
	b.t.Helper()
	return gateline(b.t, environment{}, nil, append([]string{"osdp", args[0], "--config", b.config, "--line", "west"}, args[1:]...)...)
}

func benchReader(address byte, baud uint32, key *osdp.Key) *osdp.PD {
	return osdp.NewPD(osdp.PDConfig{
		Address: address, Baud: baud, Key: key, RequireSecure: true, Capabilities: osdp.TypicalCapabilities(),
		ID:    osdp.PDID{OUI: [3]byte{0, 0x0e, 0xe3}, Model: 16, Version: 2, Serial: 1000 + uint32(address), Firmware: [3]byte{1, 2, 3}},
		Maker: func(m osdp.Mfg) ([]byte, bool) { return osdp.AppendMfg(nil, &m), true },
	})
}

func benchKey(n byte) *osdp.Key {
	return &osdp.Key{n, 0x5e, 0x11, 0x90, 3, 77, 0xfe, 0xc0, n, 1, 8, 0xaa, 0x31, 0x42, 0x10, 9}
}

func (b *readersBench) keep(path string, key *osdp.Key) {
	b.t.Helper()
	if err := os.WriteFile(path, fmt.Appendf(nil, "%x\n", key[:]), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// A technician's day: scan, commission a new reader, scan, ask, rekey.
func TestOSDPOnAPseudoTerminal(t *testing.T) {
	own := benchKey(1)
	fresh := benchReader(0, 9600, nil)
	b := newReadersBench(t, benchReader(1, 38400, own), fresh)
	b.keep(b.keyFile("W1"), own)

	r := b.call("scan", "--to", "4")
	r.want(t, 0, "1 answer on line west at 38400 baud", "")
	for _, want := range []string{"1        W1    38400  00-0E-E3  16 v2  1001    1.2.3     own key ok  1 output (timed), 1 LED (timed), buzzer, text",
		"gate W2, address 2: no answer", "gate W3, address 3: no answer"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	b.call("scan", "--baud", "9600", "--to", "1").want(t, 0, "default key (install mode)", "")

	r = b.call("commission", "--address", "2")
	r.want(t, 0, "done: reader 1000 is at address 2 at 38400 baud, its key in "+b.keyFile("W2"), "")
	for _, want := range []string{"address 0 at 9600 baud → address 2 at 38400 baud, proved there", "the default key no longer opens it: verified"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
	b.wantKept("W2", fresh)
	b.call("commission", "--address", "2").want(t, 0, "has the one in "+b.keyFile("W2")+" already", "")
	b.call("ask", "--address", "2", "lstat").want(t, 0, "LSTATR: case closed, power good\n", "")
	b.call("ask", "--address", "2", "mfg", "000ee3", "01ff").want(t, 0, "MFGREP: maker 00-0E-E3, data 01 FF\n", "")
	b.call("ask", "--address", "2", "istat").want(t, 1, "", "refuses ISTAT: command not supported (NAK 03)")

	before, _ := fresh.Installed()
	r = b.call("rekey", "--address", "2")
	r.want(t, 0, "done: the reader's new key is in "+b.keyFile("W2"), "")
	b.wantKept("W2", fresh)
	if after, _ := fresh.Installed(); after == before {
		t.Error("the key is the old one")
	}
	b.wantNoKeyShown(r.out+r.err, fresh)
}

// wantKept checks that the gate's key file holds the reader's key.
func (b *readersBench) wantKept(gate string, r *osdp.PD) {
	b.t.Helper()
	b.mu.Lock()
	key, own := r.Installed()
	b.mu.Unlock()
	text, err := os.ReadFile(b.keyFile(gate))
	if err != nil || !own || string(text) != hex.EncodeToString(key[:])+"\n" {
		b.t.Errorf("%s does not hold the reader's key: %v", b.keyFile(gate), err)
	}
	if _, err := os.Stat(b.keyFile(gate) + ".new"); !errors.Is(err, os.ErrNotExist) {
		b.t.Errorf("a staged key is left: %v", err)
	}
}

func (b *readersBench) wantNoKeyShown(printed string, r *osdp.PD) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	key, _ := r.Installed()
	if bytes.Contains(b.heard, key[:]) || strings.Contains(printed, hex.EncodeToString(key[:4])) {
		b.t.Error("a key was on the line or on the screen")
	}
}

func TestOSDPScanForPrograms(t *testing.T) {
	b := newReadersBench(t, benchReader(1, 38400, benchKey(9)), benchReader(2, 38400, nil), benchReader(2, 38400, benchKey(3)), benchReader(0, 115200, nil))
	b.keep(b.keyFile("W1"), benchKey(1))
	r := b.call("scan", "--to", "3", "--all-bauds", "--wait", "20ms", "--json")
	r.want(t, 0, `"line":"west"`, "")
	var got scanReport
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Readers) != 3 || len(got.Silent) != 1 || got.Silent[0] != (silentGate{"W3", 3}) || !slices.Equal(got.Bauds, []int{38400, 9600, 19200, 57600, 115200, 230400}) {
		t.Fatalf("%+v", got)
	}
	w1, w2, stray := got.Readers[0], got.Readers[1], got.Readers[2]
	if w1.Gate != "W1" || w1.Security != "other_key" || !w1.KeyKnown || w1.ID.Serial != 1001 || w1.Has.Outputs != 1 || !w1.Has.AES {
		t.Errorf("%+v", w1)
	}
	if !w2.Damaged || w2.Gate != "W2" || w2.ID != nil {
		t.Errorf("%+v", w2)
	}
	if stray.Baud != 115200 || stray.Gate != "" || stray.Security != "default_key" {
		t.Errorf("%+v", stray)
	}
	r = b.call("scan", "--to", "3", "--wait", "20ms")
	for _, want := range []string{"own key, not the one configured", "something answers, damaged: two readers with this address, noise, or another speed"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("no %q in\n%s", want, r.out)
		}
	}
}

// A key file that is no key is said, and the scan goes on.
func TestOSDPScanWithABadKeyFile(t *testing.T) {
	b := newReadersBench(t, benchReader(1, 38400, nil))
	b.keep(b.keyFile("W1"), &osdp.Key{})
	r := b.call("scan", "--from", "1", "--to", "1")
	r.want(t, 0, "default key (install mode)", "note: gate W1: key file "+b.keyFile("W1")+" holds a key that everybody tries")
	r.want(t, 0, "warning: 1 reader in install mode", "note:")
}

func TestOSDPOnABench(t *testing.T) {
	fresh := benchReader(0, 9600, nil)
	b := newReadersBench(t, fresh)
	on := func(args ...string) result {
		return gateline(t, environment{}, nil, append([]string{"osdp", args[0], "--device", b.device}, args[1:]...)...)
	}
	key := b.keyFile("bench")
	on("scan", "--to", "0").want(t, 0, "default key (install mode)", "")
	on("ask", "--address", "0", "id").want(t, 0, "PDID: maker 00-0E-E3, model 16 version 2, serial 1000, firmware 1.2.3\n", "")
	on("commission", "--address", "7", "--to-baud", "115200").want(t, 2, "", "give --key-file")
	on("commission", "--address", "7", "--to-baud", "115200", "--key-file", key, "--only-reader").want(t, 0, "is at address 7 at 115200 baud", "")
	b.wantKept("bench", fresh)
	on("ask", "--address", "7", "--baud", "115200", "--key-file", key, "rstat").want(t, 0, "RSTATR: reader 0 normal\n", "")
}

// The box's hold on the port is respected.
func TestOSDPPortInUse(t *testing.T) {
	b := newReadersBench(t)
	port, err := serial.Open(serial.Config{Device: b.device, Baud: 38400})
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	for _, args := range [][]string{{"scan"}, {"commission", "--address", "1"}, {"ask", "--address", "9", "id"}} {
		r := b.call(args...)
		r.want(t, 1, "", "serial port is in use")
		r.want(t, 1, "", "stop the box first: systemctl stop gateline\n")
	}
}

func TestOSDPCalledWrongly(t *testing.T) {
	b := newReadersBench(t)
	config := " --config " + b.config
	noDevice := " --line west --config " + b.writeConfig("/dev/gate-none")
	west := config + " --line west"
	b.keep(b.keyFile("W3"), benchKey(3))
	unwritable := " --key-file /proc/none/k"
	for _, c := range []struct {
		args string
		code int
		err  string
	}{
		{"scan --config /nonexistent.toml", 1, "on a bench give --device instead"},
		{"scan" + config, 2, "give --line; the configuration's OSDP lines are: west far"},
		{"scan --line east" + config, 1, `no line "east"; its OSDP lines are: west far`},
		{"scan --line north" + config, 1, `line "north" speaks direct`},
		{"scan --line west --device /dev/x" + config, 2, "not both"},
		{"scan --line far --all-bauds --to 1" + config, 1, "device server 127.0.0.1:2"},
		{"scan --line far --baud 9600 --to 1" + config, 1, "which alone sets the speed"},
		{"scan --from 9 --to 3" + west, 2, "rising order"},
		{"scan --to 127" + west, 2, "0 to 126"},
		{"scan --wait 1s" + west, 2, "--wait 1s is not 5ms to 200ms"},
		{"scan --baud 1200" + west, 2, "--baud 1200 is not one of"},
		{"scan --baud 9600 --all-bauds" + west, 2, "not both"},
		{"scan" + noDevice, 1, "open serial port /dev/gate-none: no such serial port"},
		{"scan x" + west, 2, "unknown command"},
		{"frob", 2, "unknown command"},
		{"commission" + west, 2, "give --address"},
		{"commission --address 127" + west, 2, "--address 127 is not 0 to 126"},
		{"commission --address -2" + west, 2, "is not 0 to 126"},
		{"commission --address 9" + west, 1, "has no gate at address 9 of line"},
		{"commission --address 1 --line far" + config, 1, `gate "F1" has no key_file`},
		{"commission --address 1 --within 11m" + west, 2, "is not up to 10m"},
		{"commission --address 1 --to-baud 1" + west, 2, "--to-baud 1 is not one of"},
		{"commission --address 1 --from-baud -1" + west, 2, "--from-baud -1 is not one of"},
		{"commission --address 1 --from-address 127" + west, 2, "--from-address 127 is not"},
		{"commission --address 1 --from-address 5 --only-reader" + west, 2, "leave out --from-address"},
		{"commission --address 1 --within 1ms" + west, 1, "no reader answered within 1ms at address 1 at 38400 baud, address 1 at 9600 baud, address 0 at 9600 baud"},
		{"commission --address 1" + unwritable + west, 1, "no key can be kept in /proc/none"},
		{"commission --address 1" + noDevice, 1, "open serial port /dev/gate-none"},
		{"commission --address 1 --within 1ms --line far --key-file " + b.keyFile("F1") + config, 1, "connect to serial device server 127.0.0.1:2"},
		{"commission --address 1 --to-baud 9600 --line far --key-file " + b.keyFile("F1") + config, 1, "this line has 115200 baud and no other speed"},
		{"rekey" + west, 2, "give --address"},
		{"rekey --address 1" + west, 1, "there is no key in " + b.keyFile("W1") + "; commission the reader first"},
		{"rekey --address 3" + west, 1, "reader 3 does not answer; check its power"},
		{"ask --address 3" + west, 2, "accepts between 1 and 3 arg"},
		{"ask --address 3 frob" + west, 2, `no command "frob"`},
		{"ask --address 3 lstat now" + west, 2, "takes 0 arguments, not 1"},
		{"ask --address 3 acurxsize 9" + west, 2, "not 128 to 1440"},
		{"ask --address 3 keepactive 70s" + west, 2, "1ms to 1m5.535s"},
		{"ask --address 3 mfg 00 01" + west, 2, "6 hexadecimal digits"},
		{"ask --address 3 mfg 000ee3 xx" + west, 2, "6 hexadecimal digits"},
		{"ask --address 1 id" + west, 1, "W1.key is not there; commission the reader first"},
		{"ask --address 3 id" + west, 1, "reader 3 does not answer"},
	} {
		r := gateline(t, environment{}, nil, append([]string{"osdp"}, strings.Fields(c.args)...)...)
		if r.code != c.code || !strings.Contains(r.err, c.err) {
			t.Errorf("%s: exit code %d, want %d\n%swant %q", c.args, r.code, c.code, r.err, c.err)
		}
	}
}

// What is there already is not lost by a slip.
func TestOSDPCommissionKeepsAForeignKey(t *testing.T) {
	b := newReadersBench(t, benchReader(1, 38400, nil))
	b.keep(b.keyFile("W1"), benchKey(1))
	b.call("commission", "--address", "1").want(t, 1, "in install mode", "say --force")
	text, err := os.ReadFile(b.keyFile("W1"))
	if want := fmt.Sprintf("%x\n", benchKey(1)[:]); err != nil || string(text) != want {
		t.Error("the key file was changed")
	}
	b.call("commission", "--address", "1", "--force").want(t, 0, "done: reader 1001", "")
	b.wantKept("W1", b.readers[0])
}
