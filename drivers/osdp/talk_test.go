package osdp

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

var updateGolden = flag.Bool("update", false, "write the transcripts in testdata anew")

var talkStart = time.Date(2022, 5, 30, 8, 0, 0, 0, time.UTC)

// talk is a conversation of a hand-driven CP with a PD, written down as it
// goes and compared with a golden transcript at the end.
type talk struct {
	t    testing.TB
	pd   *PD
	now  time.Time
	text bytes.Buffer

	box  *Channel // the CP's session
	sent []byte   // the last command on the wire
	got  []byte   // the last answer on the wire
}

func newTalk(t testing.TB, title string, cfg PDConfig) *talk {
	if cfg.ID == (PDID{}) {
		cfg.ID = PDID{OUI: [3]byte{0x44, 0xca, 0x00}, Model: 2, Version: 1, Serial: 0x04020301, Firmware: [3]byte{1, 2, 3}}
	}
	if cfg.Capabilities == (Capabilities{}) {
		cfg.Capabilities = TypicalCapabilities()
	}
	if cfg.Rand == nil {
		cfg.Rand = bytes.NewReader(bytes.Repeat(workedB[:], 8))
	}
	k := &talk{t: t, pd: NewPD(cfg), now: talkStart}
	fmt.Fprintf(&k.text, "# %s\n", title)
	return k
}

func (k *talk) note(format string, args ...any) {
	fmt.Fprintf(&k.text, "\n# "+format+"\n", args...)
}

func (k *talk) wait(d time.Duration) {
	k.now = k.now.Add(d)
	fmt.Fprintf(&k.text, "# %v later\n", d)
}

// wire sends bytes as they are and returns the PD's answer, the zero Frame
// where there is none.
func (k *talk) wire(raw []byte, what string) Frame {
	k.t.Helper()
	k.sent = bytes.Clone(raw)
	fmt.Fprintf(&k.text, "> % X   %s\n", raw, what)
	k.got = bytes.Clone(k.pd.Step(k.now, raw))
	if len(k.got) == 0 {
		fmt.Fprintln(&k.text, "<")
		return Frame{}
	}
	f, err := ParseFrame(bytes.TrimLeft(k.got, "\xff"))
	if err != nil {
		k.t.Fatalf("the PD answers % X: %v", k.got, err)
	}
	fmt.Fprintf(&k.text, "< % X   %s\n", k.got, describe(&f))
	return f
}

// describe says what a frame is. Replies and commands share codes.
func describe(f *Frame) string {
	name := CommandName
	if f.Reply {
		name = ReplyName
	}
	text := fmt.Sprintf("%s sqn %d", name(f.Code), f.SQN)
	switch {
	case f.Block != 0:
		return fmt.Sprintf("%s, block %02X", text, byte(f.Block))
	case f.Reply && f.Code == ReplyNAK:
		return fmt.Sprintf("%s: %v", text, NAKCode(f.Data[0]))
	}
	return text
}

// say sends a command in clear.
func (k *talk) say(sqn, code byte, data ...byte) Frame {
	k.t.Helper()
	f := fromCP(k.pd.Address(), sqn, code)
	f.Data = data
	return k.send(&f)
}

func (k *talk) send(f *Frame) Frame {
	k.t.Helper()
	return k.wire(AppendFrame(nil, f), describe(f))
}

// secure sends a command of the session and opens the answer.
func (k *talk) secure(sqn, code byte, data ...byte) Frame {
	k.t.Helper()
	f := fromCP(k.pd.Address(), sqn, code)
	f.Data = data
	k.box.SealCommand(&f)
	r := k.send(&f)
	if r.Block == 0 {
		return r
	}
	if err := k.box.OpenReply(&r, bytes.TrimLeft(k.got, "\xff")); err != nil {
		k.t.Fatalf("%v: %v", &r, err)
	}
	if len(r.Data) > 0 {
		fmt.Fprintf(&k.text, "#   in clear: % X\n", r.Data)
	}
	return r
}

// again sends the last command once more; the answer must be the very same.
func (k *talk) again() {
	k.t.Helper()
	before := k.got
	k.wire(k.sent, "again")
	if !bytes.Equal(k.got, before) {
		k.t.Errorf("to a repeat the PD answers % X, before it was % X", k.got, before)
	}
}

// shake runs a handshake from sqn on; ok is false where the PD refuses.
func (k *talk) shake(key Key, sqn byte) bool {
	k.t.Helper()
	h := NewCPHandshake(key, workedA)
	f := fromCP(k.pd.Address(), sqn, 0)
	h.Challenge(&f)
	r := k.send(&f)
	if r.Code != ReplyCCRYPT {
		return false
	}
	f.SQN = NextSQN(sqn)
	if err := h.Accept(&r, &f); err != nil {
		return false
	}
	r = k.send(&f)
	channel, err := h.Finish(&r)
	if err != nil {
		return false
	}
	k.box = channel
	return true
}

// want checks an answer's code and, of a NAK, the reason.
func (k *talk) want(f Frame, sqn, code byte, data ...byte) {
	k.t.Helper()
	if f.Code != code || f.SQN != sqn || len(data) > 0 && !bytes.Equal(f.Data, data) {
		k.t.Errorf("the PD answers %v % X, want %s sqn %d % X", &f, f.Data, ReplyName(code), sqn, data)
	}
}

func (k *talk) wantNAK(f Frame, sqn byte, reason NAKCode) {
	k.t.Helper()
	k.want(f, sqn, ReplyNAK, byte(reason))
}

func (k *talk) golden(name string) {
	k.t.Helper()
	compareGolden(k.t, name, k.text.Bytes())
}

// compareGolden compares a transcript with the one in testdata.
func compareGolden(t testing.TB, name string, text []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *updateGolden {
		if err := os.WriteFile(path, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, old := bytes.Split(text, []byte("\n")), bytes.Split(want, []byte("\n"))
	for i := range max(len(got), len(old)) {
		if i >= len(got) || i >= len(old) || !bytes.Equal(got[i], old[i]) {
			t.Fatalf("%s line %d differs; the conversation was\n%s", path, i+1, text)
		}
	}
}
