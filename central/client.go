package central

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"gateline/central/rules"
	"gateline/gateway"
)

// DefaultTimeout is how long a Client waits for an answer where the context
// has no deadline of its own.
const DefaultTimeout = 10 * time.Second

// Client asks the ops service of a centre. A refusal comes back as an error of
// type *Refusal. It may be used by several goroutines at once.
type Client struct {
	conn *nats.Conn
}

// NewClient returns a Client over a connection that stays the caller's.
func NewClient(conn *nats.Conn) *Client { return &Client{conn: conn} }

// Done is what a command that was accepted led to.
type Done struct {
	// Number is the feed entry at which its effect is complete.
	Number uint64
	// Changed counts what it changed; 0 = it was so already.
	Changed int
}

// Bind binds a credential, in the text form of gateway.ParseCredential, to a
// person (UPG-01). Binding the same pair again is a success.
func (c *Client) Bind(ctx context.Context, credential, person string) (Done, error) {
	return c.command(ctx, SubjectCardBind, bindRequest{Credential: credential, Person: person})
}

// Unbind ends a credential's binding (UNB-01); with a person that is not
// empty, only if it is bound to that person.
func (c *Client) Unbind(ctx context.Context, credential, person string) (Done, error) {
	q := unbindRequest{Credential: credential}
	if person != "" {
		q.Person = &person
	}
	return c.command(ctx, SubjectCardUnbind, q)
}

// Report sets a person's status. It reaches all of the person's credentials
// in one feed entry (IMP-27).
func (c *Client) Report(ctx context.Context, person string, s Status) (Done, error) {
	return c.command(ctx, SubjectPersonReport, reportRequest{Person: person, Status: s})
}

// Import binds and reports 1 to gateway.MaxChanges rows. It is refused as a
// whole or accepted as a whole.
func (c *Client) Import(ctx context.Context, rows []Row) (Done, error) {
	return c.command(ctx, SubjectImport, importRequest{Rows: rows})
}

// SetPolicy puts one document into the schedule (IMP-08).
func (c *Client) SetPolicy(ctx context.Context, p gateway.Policy) (Done, error) {
	return c.command(ctx, SubjectPolicySet, p)
}

// Policy returns the schedule.
func (c *Client) Policy(ctx context.Context) (*gateway.Schedule, error) {
	r, err := c.request(ctx, SubjectPolicyGet, emptyRequest{})
	return r.Schedule, err
}

// StationMode sets the mode of one station, off, observe, advisory, enforce or
// ModeDefault, from an instant on; the zero instant is now (GATE-11).
func (c *Client) StationMode(ctx context.Context, station, mode string, from time.Time) (Done, error) {
	return c.command(ctx, SubjectStationMode, stationRequest{Station: station, Mode: mode, From: from})
}

// RotateFeedKey retires the key that signs the feed and lets another one of the
// centre's feed key file sign from the next entry on. Boxes follow by
// themselves. A key that signs already is a success.
func (c *Client) RotateFeedKey(ctx context.Context, to gateway.FeedKey) (Done, error) {
	return c.command(ctx, SubjectFeedRotate, rotateRequest{Key: to.String()})
}

// Stats returns counts of the centre's state and the number of the last feed
// entry.
func (c *Client) Stats(ctx context.Context) (Stats, uint64, error) {
	r, err := c.request(ctx, SubjectStats, emptyRequest{})
	if err != nil || r.Stats == nil {
		return Stats{}, 0, err
	}
	return *r.Stats, r.Number, nil
}

// Rules returns the rules of the registry that the centre was started with.
func (c *Client) Rules(ctx context.Context) (*rules.Rules, error) {
	r, err := c.request(ctx, SubjectRulesGet, emptyRequest{})
	if err == nil && r.Rules == nil {
		err = fmt.Errorf("ask %s: the answer holds no rules; use the same version on both sides", SubjectRulesGet)
	}
	return r.Rules, err
}

func (c *Client) command(ctx context.Context, subject string, q any) (Done, error) {
	r, err := c.request(ctx, subject, q)
	return Done{Number: r.Number, Changed: r.Changed}, err
}

func (c *Client) request(ctx context.Context, subject string, q any) (reply, error) {
	data, err := exchange(ctx, c.conn, subject, q)
	if err != nil {
		return reply{}, err
	}
	return readReply(subject, data)
}

// exchange sends a request and returns the answer's bytes.
func exchange(ctx context.Context, conn *nats.Conn, subject string, q any) ([]byte, error) {
	data, err := json.Marshal(q)
	if err != nil {
		return nil, fmt.Errorf("ask %s: encode the request: %w", subject, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	message, err := conn.RequestWithContext(ctx, subject, data)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("ask %s: no centre serves it; start one with 'gateline central', or give the address of the one that runs: %w", subject, err)
	case errors.Is(err, nats.ErrMaxPayload):
		return nil, refuse(CodeMalformed, "the request has %d bytes, at most %d", len(data), conn.MaxPayload())
	case errors.Is(err, context.DeadlineExceeded):
		return nil, fmt.Errorf("ask %s: no answer in time, so it is not known whether it took effect; it is safe to ask again: %w", subject, err)
	case err != nil:
		return nil, fmt.Errorf("ask %s: %w; check the connection to the centre, it is safe to ask again", subject, err)
	}
	return message.Data, nil
}

func readReply(subject string, data []byte) (reply, error) {
	var r reply
	if err := json.Unmarshal(data, &r); err != nil {
		return reply{}, fmt.Errorf("ask %s: the answer is not one of a centre this program knows; use the same version on both sides: %w", subject, err)
	}
	if !r.OK {
		return reply{}, &Refusal{Code: r.Code, ZH: r.ZH, EN: r.EN, Detail: r.Detail}
	}
	return r, nil
}
