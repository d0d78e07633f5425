package central

import (
	"time"

	"gateline/gateway"
)

// MaxPerPerson is the largest number of credentials one person can have. It
// keeps every change of a status within one feed entry (IMP-27); it is a limit
// of the centre, not the quota of QTA-01.
const MaxPerPerson = 64

// none ends a list of bindings.
const none = -1

// registry is the state: which credential is bound to whom, and each person's
// status. decide reads it, apply changes it; neither reads a clock, sleeps,
// logs or fails half-way. It holds no pointer per credential: a million of
// them take some 108 MB and cost the garbage collector nothing.
type registry struct {
	byToken  map[gateway.Token]int32 // index into bindings
	byPerson map[Person]int32        // index into persons
	persons  []person
	bindings []binding
	// shards holds the first binding of each shard.
	shards   [gateway.Shards]int32
	free     int32 // first unused element of bindings, linked by next
	upgraded int   // persons with at least one binding (TIME-04)
	schedule *gateway.Schedule
}

type person struct {
	id     Person
	record gateway.Record
	first  int32 // first of the person's bindings
	count  int32 // how many
}

type binding struct {
	token  gateway.Token
	person int32
	next   int32 // of the same person
	// shardNext and shardBefore are its neighbours among those of the same
	// shard, so that a snapshot of a shard need not look at the others.
	shardNext, shardBefore int32
}

func newRegistry() *registry {
	r := &registry{byToken: map[gateway.Token]int32{}, byPerson: map[Person]int32{}, free: none}
	for id := range r.shards {
		r.shards[id] = none
	}
	return r
}

// decide returns the events that a command means, in order; no events where it
// asks for what is already so. It does not change the state.
func (r *registry) decide(c command, now time.Time) ([]event, *Refusal) {
	switch c := c.(type) {
	case rowsCommand:
		return r.decideRows(c)
	case unbindCommand:
		return r.decideUnbind(c)
	case policyCommand:
		return decidePolicy(r.schedule, c, now)
	case stationCommand:
		return decideStation(r.schedule, c, now)
	case readPolicy:
		if r.schedule == nil {
			return nil, noPolicy()
		}
	}
	return nil, nil
}

func (r *registry) decideUnbind(c unbindCommand) ([]event, *Refusal) {
	owner, bound := r.owner(c.token)
	if !bound {
		return nil, refuse(CodeNotBound, "the credential is not bound")
	}
	if c.person != nil && *c.person != owner {
		return nil, refuse(CodeNotBound, "the credential is not bound to this person")
	}
	return []event{{kind: eventUnbind, token: c.token}}, nil
}

// pending is what earlier rows of the same command have already decided.
type pending struct {
	owners  map[gateway.Token]Person
	persons map[Person]pendingPerson
}

type pendingPerson struct {
	record gateway.Record
	count  int32
}

func (r *registry) decideRows(rows rowsCommand) ([]event, *Refusal) {
	events := make([]event, 0, 2*len(rows))
	p := pending{owners: map[gateway.Token]Person{}, persons: map[Person]pendingPerson{}}
	for i := range rows {
		var refusal *Refusal
		if events, refusal = r.decideRow(events, &rows[i], &p); refusal != nil {
			return nil, refusal.inRow(i, len(rows))
		}
	}
	return events, nil
}

// decideRow puts a row's status before its binding: a box never sees a fresh
// binding of a person whose status it is about to learn.
func (r *registry) decideRow(events []event, row *row, p *pending) ([]event, *Refusal) {
	who, ok := p.persons[row.person]
	if !ok {
		who = r.pendingPerson(row.person)
	}
	if row.report && row.record != who.record {
		who.record = row.record
		events = append(events, event{kind: eventStatus, person: row.person, record: row.record})
	}
	if row.bind {
		owner, bound := p.owners[row.token]
		if !bound {
			owner, bound = r.owner(row.token)
		}
		switch {
		case bound && owner != row.person:
			return nil, refuse(CodeOtherOwner, "unbind it from that person first")
		case !bound && who.count >= MaxPerPerson:
			return nil, refuse(CodeTooMany, "at most %d credentials a person; unbind one first", MaxPerPerson)
		case !bound:
			who.count++
			p.owners[row.token] = row.person
			events = append(events, event{kind: eventBind, token: row.token, person: row.person})
		}
	}
	p.persons[row.person] = who
	return events, nil
}

func (r *registry) pendingPerson(id Person) pendingPerson {
	if i, ok := r.byPerson[id]; ok {
		return pendingPerson{record: r.persons[i].record, count: r.persons[i].count}
	}
	return pendingPerson{}
}

func (r *registry) owner(t gateway.Token) (Person, bool) {
	i, ok := r.byToken[t]
	if !ok {
		return Person{}, false
	}
	return r.persons[r.bindings[i].person].id, true
}

// credentials returns the number of bound credentials.
func (r *registry) credentials() int { return len(r.byToken) }

// records returns every record a box should hold, in no order.
func (r *registry) records() []gateway.Change {
	all := make([]gateway.Change, 0, len(r.byToken))
	for i := range r.persons {
		p := &r.persons[i]
		for b := p.first; b != none; b = r.bindings[b].next {
			all = append(all, gateway.Change{Token: r.bindings[b].token, Record: p.record})
		}
	}
	return all
}
