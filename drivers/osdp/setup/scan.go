package setup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gateline/drivers/osdp"
)

// Bounds of a scan's wait for the first byte of an answer.
const (
	DefaultScanWait = 50 * time.Millisecond
	MinScanWait     = 5 * time.Millisecond
	MaxScanWait     = osdp.ReplyTime

	scanTries = 2
)

// Security is how a reader takes to Secure Channel.
type Security uint8

const (
	// SecurityUnclear: the handshake was not answered.
	SecurityUnclear Security = 0
	// SecurityOwnKey: it has the key that is known for its address.
	SecurityOwnKey Security = 1
	// SecurityOtherKey: it has a key of its own that is not the known one.
	SecurityOtherKey Security = 2
	// SecurityDefaultKey: it is in install mode; anybody can open it.
	SecurityDefaultKey Security = 3
	// SecurityNone: it has no Secure Channel.
	SecurityNone Security = 4
)

// String is for programs.
func (s Security) String() string {
	return [...]string{"unclear", "own_key", "other_key", "default_key", "none"}[min(s, SecurityNone)]
}

// Found is what a scan found out about one address.
type Found struct {
	Address byte
	Baud    int
	// Damaged: something answers that cannot be read, or two answers came.
	Damaged bool
	// Identified: ID is what the reader says of itself; else it answers and does
	// not say.
	Identified bool
	ID         osdp.PDID
	// Described: Capabilities is what it says it has.
	Described    bool
	Capabilities osdp.Capabilities
	// Security is only looked at where it has identified itself.
	Security Security
}

// ScanConfig says what to look for.
type ScanConfig struct {
	// From and To bound the addresses, To at most osdp.MaxAddress.
	From, To byte
	// Bauds are the speeds, in the order in which they are tried.
	Bauds []int
	// Wait is for the first byte of an answer, after the last of the question. A
	// reader that answers later is noticed and asked again with more patience.
	Wait time.Duration
	// Key returns the key that is known for an address; nil = none.
	Key func(address byte) *osdp.Key
	// Progress is told how many addresses of how many are done at a speed.
	Progress func(baud, done, total int)
}

// validate reports what the caller got wrong.
func (c *ScanConfig) validate() error {
	switch {
	case c.To > osdp.MaxAddress || c.From > c.To:
		return fmt.Errorf("addresses %d to %d: give them in rising order, 0 to %d", c.From, c.To, osdp.MaxAddress)
	case c.Wait < MinScanWait || c.Wait > MaxScanWait:
		return fmt.Errorf("wait %v: give %v to %v", c.Wait, MinScanWait, MaxScanWait)
	}
	return nil
}

// Scan asks every address who it is and returns those that answer, in the order
// of speeds and addresses. It changes nothing in a reader but the session it is
// in. What was found before an error is returned with it.
func Scan(ctx context.Context, bus *Bus, c ScanConfig) ([]Found, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	var all []Found
	for _, baud := range c.Bauds {
		if err := bus.At(ctx, baud); err != nil {
			return all, err
		}
		s := scan{bus: bus, c: &c, baud: baud}
		err := s.run(ctx)
		slices.SortFunc(s.found, func(a, b Found) int { return int(a.Address) - int(b.Address) })
		if all = append(all, s.found...); err != nil {
			return all, err
		}
	}
	return all, nil
}

// scan is a Scan at one speed.
type scan struct {
	bus   *Bus
	c     *ScanConfig
	baud  int
	found []Found
	late  []byte // addresses of answers that came while another was asked
}

func (s *scan) run(ctx context.Context) error {
	total := int(s.c.To) - int(s.c.From) + 1
	for i := range total {
		if err := s.try(ctx, s.c.From+byte(i), s.c.Wait); err != nil {
			return err
		}
		if s.c.Progress != nil {
			s.c.Progress(s.baud, i+1, total)
		}
	}
	for _, address := range s.late {
		known := slices.ContainsFunc(s.found, func(f Found) bool { return f.Address == address })
		if known || address < s.c.From || address > s.c.To {
			continue
		}
		if err := s.try(ctx, address, MaxScanWait); err != nil {
			return err
		}
	}
	return nil
}

// try asks one address.
func (s *scan) try(ctx context.Context, address byte, wait time.Duration) error {
	there, damaged, err := s.knock(ctx, address, wait)
	if err != nil || !there && !damaged {
		return err
	}
	f := Found{Address: address, Baud: s.baud, Damaged: damaged}
	if there && !damaged {
		if f, err = s.look(ctx, f); err != nil {
			return err
		}
	}
	s.found = append(s.found, f)
	return nil
}

// knock asks for a sign of life.
func (s *scan) knock(ctx context.Context, address byte, wait time.Duration) (there, damaged bool, err error) {
	f := osdp.Frame{Address: address, CRC: true, Code: osdp.CmdID, Data: osdp.AppendRequest(nil)}
	raw := osdp.AppendFrame(nil, &f)
	for range scanTries {
		h, err := s.bus.exchange(ctx, raw, address, wait)
		if err != nil {
			return false, false, err
		}
		for _, other := range h.others {
			if !slices.Contains(s.late, other) {
				s.late = append(s.late, other)
			}
		}
		if h.ok {
			return true, false, nil
		}
		damaged = damaged || h.damaged()
	}
	return false, damaged, nil
}

// look asks a reader that answers for all that a scan wants to know.
func (s *scan) look(ctx context.Context, f Found) (Found, error) {
	t := newTalk(s.bus, f.Address)
	id, r, err := t.identify(ctx)
	if err != nil {
		return f, tolerate(&f, err)
	}
	if f.Damaged, err = t.doubled(ctx, r); err != nil || f.Damaged {
		return f, err
	}
	f.Identified, f.ID = true, id
	if r, err = t.ask(ctx, osdp.CmdCAP, osdp.AppendRequest(nil)); err != nil {
		err = tolerate(&f, err)
	} else if caps, bad := osdp.ParsePDCAP(r.data); bad == nil && r.code == osdp.ReplyPDCAP {
		f.Described, f.Capabilities = true, caps
	}
	if err != nil || f.Damaged {
		return f, err
	}
	f.Security, err = s.security(ctx, t, &f)
	return f, tolerate(&f, err)
}

// tolerate returns only what ends a scan: a reader that does not answer as it
// should is a finding.
func tolerate(f *Found, err error) error {
	var silent *SilentError
	switch {
	case errors.As(err, &silent):
		f.Damaged = f.Damaged || silent.Damaged
		return nil
	case endsAll(err):
		return err
	}
	return nil
}

// security finds out under which key a session comes about. No key is set.
func (s *scan) security(ctx context.Context, t *talk, f *Found) (Security, error) {
	if key := s.c.Key(f.Address); key != nil {
		err := t.open(ctx, *key)
		if err == nil {
			return SecurityOwnKey, nil
		}
		if endsAll(err) {
			return SecurityUnclear, err
		}
	}
	err := t.open(ctx, osdp.DefaultKey())
	var refused *keyError
	switch {
	case err == nil:
		return SecurityDefaultKey, nil
	case !errors.As(err, &refused):
		return SecurityUnclear, err
	case refused.foreign || refused.refusal == osdp.NAKUnknown || f.Described && !f.Capabilities.AES && refused.refusal != 0:
		return SecurityNone, nil
	}
	return SecurityOtherKey, nil
}
