package station

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gateline/central"
	"gateline/central/rules"
	"gateline/gateway"
)

// call is one request with an id, and what it has to come to.
type call struct {
	channel rules.Channel
	verb    string
	id      string
	request any
	// code is that of the refusal that is due; "" = it is done.
	code     central.Code
	accepted uint16 // reports
	// events are those in the ledger that it leads to, but for its outcome, each as
	// eventOf shows it.
	events []string
	apply  func(*ending)
}

// ending is what all calls that were answered come to.
type ending struct {
	bound  map[string]string // credential → person
	status map[string]gateway.Record
}

// records are those that boxes should hold.
func (e *ending) records(t *testing.T) records {
	t.Helper()
	all := records{}
	for credential, person := range e.bound {
		all[tokenOf(t, credential)] = e.status[person]
	}
	return all
}

// answeredCall is a call with its answer.
type answeredCall struct {
	*call
	number uint64 // the entry that its answer named; 0 for a refusal
}

// callers are those who ask the registry. Each waits for the answer to one request
// before the next, asks again under the same id until there is one, and has persons
// and cards of its own. Some requests are asked twice at once, over two connections,
// and some once more when later ones have been answered.
type callers struct {
	t    *testing.T
	seed uint64
	// ways are two connections of each channel.
	ways    map[rules.Channel][2]*central.Channel
	running sync.WaitGroup
	// enough: who has asked all that was wanted of him need not go on.
	enough atomic.Bool
	ended  atomic.Int32 // those who have

	mu       sync.Mutex // guards what follows
	answered []answeredCall
	repeated int // questions above the first of a call
	twice    int // calls that were asked twice at once
	late     int // calls that were asked again after later ones
	faults   []string
	ending   ending
}

// Of the callers, some report and the others bring upgrades.
const (
	upgradeCallers = 8
	healthCallers  = 4
	// batchReports is the number of reports in a batch.
	batchReports = 20
	// callTimeout is how long an answer is waited for before the question is put
	// again: a centre that was killed keeps it for ever.
	callTimeout = time.Second
	// thinking is how long they wait between two upgrades or batches above those that
	// were wanted of them.
	thinking = 50 * time.Millisecond
)

func newCallers(t *testing.T, servers *ownServers, seed uint64) *callers {
	t.Helper()
	c := &callers{t: t, seed: seed, ways: map[rules.Channel][2]*central.Channel{}, ending: ending{bound: map[string]string{}, status: map[string]gateway.Record{}}}
	for name := range servers.channels {
		c.ways[name] = [2]*central.Channel{servers.channel(t, name), servers.channel(t, name)}
	}
	return c
}

// start lets them ask: so many upgrades, and so many reports, about as many persons
// as there are upgrades; and more, slowly, until it is enough, so that whatever
// happens happens while they ask.
func (c *callers) start(ctx context.Context, upgrades, reports int) {
	for i := range upgradeCallers {
		c.running.Go(func() {
			one := &caller{callers: c, r: rand.New(rand.NewPCG(c.seed, uint64(i)))}
			for n := i; c.wanted(ctx, n < upgrades); n += upgradeCallers {
				for _, call := range upgradeCalls(n) {
					if !one.do(ctx, call) {
						return
					}
				}
			}
			c.ended.Add(1)
		})
	}
	for i := range healthCallers {
		c.running.Go(func() {
			one := &caller{callers: c, r: rand.New(rand.NewPCG(c.seed, uint64(upgradeCallers+i)))}
			own := upgrades / healthCallers
			for n := 0; c.wanted(ctx, n < reports/healthCallers/batchReports); n++ {
				if !one.do(ctx, healthCall(i, own, n)) {
					return
				}
			}
			c.ended.Add(1)
		})
	}
}

// wanted reports whether a caller goes on; it waits before what is above his share.
func (c *callers) wanted(ctx context.Context, share bool) bool {
	if share {
		return true
	}
	select {
	case <-time.After(thinking):
	case <-ctx.Done():
	}
	return !c.enough.Load() && ctx.Err() == nil
}

// caller is one of them.
type caller struct {
	*callers
	r    *rand.Rand
	past []*call
}

// do puts a question until it is answered. It reports whether it was, as it had to be.
func (c *caller) do(ctx context.Context, one *call) bool {
	first, together, late := c.r.IntN(2), c.r.IntN(8) == 0, c.r.IntN(8) == 0
	var second sync.WaitGroup
	var other bool
	if together {
		second.Go(func() { _, other = c.ask(ctx, c.ways[one.channel][1-first], one) })
	}
	number, ok := c.ask(ctx, c.ways[one.channel][first], one)
	second.Wait()
	if !ok || together && !other {
		return false
	}
	c.mu.Lock()
	if together {
		c.twice++
	}
	c.answered = append(c.answered, answeredCall{call: one, number: number})
	if one.apply != nil {
		one.apply(&c.ending)
	}
	c.mu.Unlock()
	c.past = append(c.past, one)
	if !late {
		return true
	}
	again := c.past[c.r.IntN(len(c.past))]
	if _, ok := c.ask(ctx, c.ways[again.channel][first], again); !ok {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.late++
	return true
}

func (c *callers) ask(ctx context.Context, way *central.Channel, one *call) (number uint64, ok bool) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, callTimeout)
		reply, err := way.Do(attempt, one.verb, one.request)
		cancel()
		var refusal *central.Refusal
		switch {
		case err == nil && one.code == "" && reply.Result == rules.ResultDone && reply.Accepted == one.accepted && reply.Rejected == 0:
			return reply.Number, true
		case errors.As(err, &refusal) && refusal.Code == one.code:
			return 0, true
		case err == nil || refusal != nil && refusal.Code != central.CodeBusy:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.faults = append(c.faults, fmt.Sprintf("call %s is answered %q, accepted %d, rejected %d, %v", one.id, reply.Result, reply.Accepted, reply.Rejected, err))
			return 0, false
		}
		c.mu.Lock()
		c.repeated++
		c.mu.Unlock()
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return 0, false
}

// count returns the number of calls that were answered, and what went wrong.
func (c *callers) count() (int, []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.answered), c.faults
}

// callsOf returns how many calls so many upgrades and reports come to.
func callsOf(upgrades, reports int) int {
	all := reports / healthCallers / batchReports * healthCallers
	for n := range upgrades {
		all += len(upgradeCalls(n))
	}
	return all
}

func nodePerson(n int) string { return fmt.Sprint("n", n) }

// upgradeCalls are those about person n: an upgrade; then for some another card that
// is one too many, a swap, the end of the binding, or several of them. Each is another
// one if it takes effect again after the next.
func upgradeCalls(n int) []*call {
	person := nodePerson(n)
	card := func(i int) string { return fmt.Sprintf("tunion:3104771%012d", 10*n+i) }
	id := func(i int) string { return fmt.Sprintf("u-%d-%d", n, i) }
	bound := func(i int) string {
		return fmt.Sprint("B ", tokenHex(card(i)), " ", personHex(person))
	}
	upgrade := func(channel rules.Channel, i int) *call {
		return &call{channel: channel, verb: central.VerbUpgrade, id: id(i),
			request: central.UpgradeRequest{ID: id(i), Credential: card(i), Who: central.ByID(person), Identified: true, Consent: 1},
			events:  []string{bound(i)}, apply: func(e *ending) { e.bound[card(i)] = person }}
	}
	all := []*call{upgrade([]rules.Channel{rules.ChannelApp, rules.ChannelMini, rules.ChannelMetro}[n%3], 0)}
	if n%4 == 1 {
		refused := upgrade(rules.ChannelApp, 1)
		refused.code, refused.events, refused.apply = rules.CodePhysicalFull, nil, nil
		all = append(all, refused)
	}
	last := 0
	if n%4 <= 1 {
		last = 2
		all = append(all, &call{channel: rules.ChannelApp, verb: central.VerbSwap, id: id(2),
			request: central.SwapRequest{ID: id(2), Old: card(0), New: card(2), Who: central.ByID(person), Identified: true, Consent: 1},
			events:  []string{"U " + tokenHex(card(0)), bound(2)}, apply: func(e *ending) { delete(e.bound, card(0)); e.bound[card(2)] = person }})
	}
	if n%8 >= 5 {
		all = append(all, &call{channel: rules.ChannelHotline, verb: central.VerbUnbind, id: id(3),
			request: central.UnbindRequest{ID: id(3), Credential: card(last), Who: central.ByID(person), Identified: true},
			events:  []string{"U " + tokenHex(card(last))}, apply: func(e *ending) { delete(e.bound, card(last)) }})
	}
	return all
}

// healthCall is batch n of a caller who reports about so many persons of his own, in
// turn. No report says which revision it is, so that one that takes effect twice, or
// late, is another one.
func healthCall(caller, own, n int) *call {
	id := fmt.Sprintf("h-%d-%d", caller, n)
	q := central.HealthRequest{ID: id}
	one := &call{channel: rules.ChannelHealthSource, verb: central.VerbHealthReport, id: id, accepted: batchReports}
	status := map[string]gateway.Record{}
	for i := range batchReports {
		at := n*batchReports + i
		person, revision := nodePerson(at%own*healthCallers+caller), 1+at/own
		record := gateway.Record{Class: gateway.Class(revision % 4), Anchor: gateway.Day(19_000 + revision), AnchorMinute: uint16(at % 1440)}
		q.Reports = append(q.Reports, central.HealthReport{Who: central.ByID(person), Class: record.Class.String(), Anchor: record.Anchor.String(), Minute: int(record.AnchorMinute)})
		one.events = append(one.events, fmt.Sprintf("S %s %x %d", personHex(person), gateway.AppendRecord(nil, record), revision))
		status[person] = record
	}
	one.request = q
	one.apply = func(e *ending) {
		for person, record := range status {
			e.status[person] = record
		}
	}
	return one
}

// tokenHex and personHex are what the ledger has in the place of a number and of an
// id, as central/DESIGN.md describes it.
func tokenHex(credential string) string {
	c, err := gateway.ParseCredential(credential)
	if err != nil {
		panic(err) // the test's own
	}
	return fmt.Sprintf("%016x", uint64(gateway.NewTokenizer(testKey()).Token(c)))
}

func personHex(id string) string {
	key := testKey()
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte("gateline person v1\x00" + id))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
