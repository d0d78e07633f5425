package station

import (
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"gateline/cache"
	"gateline/drivers"
	"gateline/drivers/direct"
	"gateline/drivers/osdp"
	"gateline/gateway"
)

const (
	// pathRecords is how many records the store has in the benchmarks of the
	// decision, pathRiders how many riders tap in turn.
	pathRecords = 100_000
	pathRiders  = 1024
)

// tapPath is the way of a tap through a box, from the bytes that complete its frame to
// the bytes of its answer: session, desk, store, decision. A line does the same
// around a port.
type tapPath struct {
	t     testing.TB
	desk  *desk
	cards []gateway.Credential
	// others are the tokens that are no rider's.
	others []gateway.Token
	now    time.Time
}

// newPath is a box on a store of its own, complete and fresh, whose riders pass.
func newPath(t testing.TB) *tapPath {
	t.Helper()
	return newPathOf(t, pathRecords, pathRiders)
}

func newPathOf(t testing.TB, records, riders int) *tapPath {
	t.Helper()
	p := &tapPath{t: t, now: time.Now()}
	store, err := cache.Open(t.TempDir(), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	p.fill(store, records, riders)
	log := slog.New(slog.DiscardHandler)
	switches, err := openSwitches(store, []string{"G1"}, log)
	if err != nil {
		t.Fatal(err)
	}
	schedule := new(atomic.Pointer[gateway.Schedule])
	schedule.Store(&gateway.Schedule{Version: 1, Policies: []gateway.Policy{gateway.DefaultPolicy(p.now.Add(-time.Hour))}})
	p.desk = newDesk(&shared{
		directory: store, usable: store.Usable, position: store.Position, erased: store.Erased, schedule: schedule, switches: switches, metrics: newMetrics("v0", "test"),
		clock: newClock(time.Now, func() (kernelClock, error) { return kernelClock{synced: true}, nil }, func() time.Time { return store.Position().Time() }, clockWatch{requireSync: true}, log),
	}, testKey(), []GateConfig{{Name: "G1", Address: 1}})
	return p
}

// fill applies a tested record for every rider and for as many others as make up all
// records.
func (p *tapPath) fill(store *cache.Store, records, riders int) {
	p.t.Helper()
	tokens := gateway.NewTokenizer(testKey())
	r := rand.New(rand.NewPCG(1, 2))
	for i := range records {
		if i >= riders {
			p.others = append(p.others, gateway.Token(r.Uint64()))
			continue
		}
		card, err := gateway.ParseCredential(fmt.Sprintf("310477001234%07d", i))
		if err != nil {
			p.t.Fatal(err)
		}
		p.cards = append(p.cards, card)
	}
	const together = 64 // entries in a call
	var updates []gateway.Update
	for i := 0; i < records; {
		u := gateway.Update{To: gateway.Position{Epoch: 1, Number: uint64(i/gateway.MaxChanges + 1), Watermark: p.now.UnixMicro(), Hash: gateway.Hash{1}}, Complete: true}
		for ; i < records && len(u.Changes) < gateway.MaxChanges; i++ {
			c := gateway.Change{Record: gateway.Record{Anchor: gateway.DayOf(p.now)}}
			if i < riders {
				c.Token = tokens.Token(p.cards[i])
			} else {
				c.Token = p.others[i-riders]
			}
			u.Changes = append(u.Changes, c)
		}
		if updates = append(updates, u); len(updates) < together && i < records {
			continue
		}
		if err := store.ApplyAll(updates); err != nil {
			p.t.Fatal(err)
		}
		updates = updates[:0]
	}
}

func (p *tapPath) table() *drivers.GateTable {
	p.t.Helper()
	table, err := drivers.NewGateTable(&drivers.Gate{Name: "G1", Address: 1})
	if err != nil {
		p.t.Fatal(err)
	}
	return table
}

// serve gives the session what has come, as a line does, until it has something to
// send, and reports whether that is after a tap. Riders who do not pass are a fault.
func (p *tapPath) serve(session drivers.Session, in []byte) (out drivers.Output, tapped bool) {
	session.Show(1, p.desk.Lane(p.now, 1))
	for out = session.Step(p.now, in); len(out.Taps) > 0; out = session.Step(p.now, nil) {
		tapped = true
		for _, tap := range out.Taps {
			a := p.desk.Decide(p.now, tap)
			if a.Verdict != gateway.VerdictPass || !a.Open {
				p.t.Fatalf("a rider is answered %v %v", a.Verdict, a.Reason)
			}
			session.Answer(p.now, tap, a)
		}
	}
	return out, tapped
}

// directTaps are the frames of pathRiders taps, one after another, of one gate.
func (p *tapPath) directTaps(key *[direct.KeySize]byte) (frames [][]byte) {
	gate := direct.NewGate(p.now, 1, key, 0)
	for _, card := range p.cards {
		gate.Tap(p.now, gateway.PurposeEntry, card)
		_, send, _ := gate.Step(p.now, nil)
		frames = append(frames, append([]byte(nil), send...))
	}
	return frames
}

// directPath returns a function that brings the next tap of a direct gate through
// the box.
func (p *tapPath) directPath(key *[direct.KeySize]byte) func() {
	frames, counters := p.directTaps(key), new(drivers.Counters)
	keys := map[uint8][direct.KeySize]byte{}
	if key != nil {
		keys[1] = *key
	}
	table := p.table()
	var box *direct.Box
	n := 0
	return func() {
		if n%len(frames) == 0 { // a box does not take the same counters twice
			box = direct.NewBox(direct.BoxConfig{Gates: table, Keys: keys, Counters: counters})
		}
		if out, tapped := p.serve(box, frames[n%len(frames)]); !tapped || len(out.Send) == 0 {
			p.t.Fatal("a tap has no answer")
		}
		p.desk.Answered(time.Microsecond, time.Millisecond)
		n++
	}
}

// readerPath is a line with one OSDP reader in Secure Channel, in virtual time.
type readerPath struct {
	*tapPath
	cp    *osdp.CP
	pd    *osdp.PD
	reads [][]byte // of the riders' cards, as RAW has them
	next  int
	came  []byte // what the box has not taken yet
	// answering is set from a tap until its answer is on the way; took is what the
	// box spent in between, waits for the line left out.
	answering bool
	took      time.Duration
}

func newReaderPath(t testing.TB) *readerPath {
	t.Helper()
	p := &readerPath{tapPath: newPath(t)}
	key := osdp.Key{1, 9, 7, 3, 200, 4}
	capabilities := osdp.TypicalCapabilities()
	capabilities.Outputs = 2
	p.pd = osdp.NewPD(osdp.PDConfig{Address: 1, Baud: 115200, Key: &key, RequireSecure: true, Capabilities: capabilities})
	var err error
	p.cp, err = osdp.NewCP(osdp.CPConfig{
		Baud: 115200, Gates: p.table(), Reads: osdp.DefaultReadMap(), Counters: new(drivers.Counters),
		Devices: []osdp.Device{{Address: 1, Key: &key, Signals: osdp.DefaultSignals(), Purpose: gateway.PurposeEntry}},
		Random:  func() [8]byte { return [8]byte{1, 2, 3} },
	}, p.now)
	if err != nil {
		t.Fatal(err)
	}
	for _, card := range p.cards {
		digits, err := hex.DecodeString("0" + string(card.AppendNumber(nil))) // two to a byte
		if err != nil {
			t.Fatal(err)
		}
		p.reads = append(p.reads, osdp.AppendRead(nil, &osdp.Read{Bits: 8 * len(digits), Data: digits}))
	}
	for state := osdp.StateProbe; state != osdp.StateOnline; state, _ = p.cp.State(1) {
		if p.now.After(time.Now().Add(time.Minute)) {
			t.Fatalf("the reader is %v after a minute", state)
		}
		p.exchange()
	}
	for range 200 { // what it has read before is not asked for
		p.exchange()
	}
	return p
}

// exchange gives the box what has come and the reader what it says to that, if
// anything. It reports whether the answer to a tap was said.
func (p *readerPath) exchange() (answered bool) {
	const char = 10 * time.Second / 115200
	began := time.Now()
	out, tapped := p.serve(p.cp, p.came)
	p.answering = p.answering || tapped
	if p.answering {
		p.took += time.Since(began)
	}
	p.came = p.came[:0]
	if len(out.Send) == 0 {
		p.now = out.Wake
		return false
	}
	answered, p.answering = p.answering, false
	p.now = p.now.Add(time.Duration(len(out.Send)) * char)
	p.came = append(p.came, p.pd.Step(p.now, out.Send)...)
	p.now = p.now.Add(time.Millisecond + time.Duration(len(p.came))*char)
	return answered
}

// tap brings the next rider's tap through the box and its signs to the reader.
func (p *readerPath) tap() {
	p.pd.Report(p.now, osdp.ReplyRAW, p.reads[p.next%len(p.reads)])
	p.next++
	const most = 100
	for n := 0; !p.exchange(); n++ {
		if n == most {
			p.t.Fatalf("rider %d has no answer", p.next)
		}
	}
	for range 12 {
		p.exchange()
	}
	p.desk.Answered(time.Microsecond, time.Millisecond)
}

var pathKey = [direct.KeySize]byte{3, 1, 4}

// From the bytes that complete a frame to the bytes of its answer nothing is
// allocated, whatever protocol a gate speaks; nor with the counting afterwards.
func TestPathAllocatesNothing(t *testing.T) {
	for name, tap := range map[string]func(){
		"direct": newPath(t).directPath(nil), "direct, proven": newPath(t).directPath(&pathKey), "OSDP, secure": newReaderPath(t).tap,
	} {
		for range 100 { // what is kept for later taps is made by the first
			tap()
		}
		if n := testing.AllocsPerRun(200, tap); n != 0 {
			t.Errorf("%s: %v allocations a tap", name, n)
		}
	}
}

// BenchmarkDecide is the desk alone: token, lookup, the policy of the moment, verdict.
func BenchmarkDecide(b *testing.B) {
	p := newPath(b)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		tap := gateway.Tap{Gate: 1, Number: uint16(n), Purpose: gateway.PurposeEntry, Credential: p.cards[n%pathRiders]}
		if p.desk.Decide(p.now, tap).Verdict != gateway.VerdictPass {
			b.Fatal("a rider does not pass")
		}
		n++
	}
}

// BenchmarkPath is a tap from the bytes that complete its frame to the bytes of its
// answer, counting included, without a port. That of OSDP is timed apart from the
// reader, by two or more readings of the clock, which are in it.
func BenchmarkPath(b *testing.B) {
	for _, c := range []struct {
		name string
		key  *[direct.KeySize]byte
	}{{"direct", nil}, {"direct-proven", &pathKey}} {
		b.Run(c.name, func(b *testing.B) {
			tap := newPath(b).directPath(c.key)
			b.ReportAllocs()
			for b.Loop() {
				tap()
			}
		})
	}
	b.Run("osdp-secure", func(b *testing.B) {
		p := newReaderPath(b)
		p.took = 0
		b.ReportAllocs()
		for b.Loop() {
			p.tap()
		}
		b.ReportMetric(float64(p.took.Nanoseconds())/float64(b.N), "ns/op")
	})
}
