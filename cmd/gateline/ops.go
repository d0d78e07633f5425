package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"gateline/central"
	"gateline/central/rules"
	"gateline/gateway"
	"gateline/internal/linkkey"
)

const (
	defaultServer = "nats://127.0.0.1:4222"
	// connectLimit and askLimit bound what a person waits for a centre that
	// does not answer.
	connectLimit = 3 * time.Second
	askLimit     = 5 * time.Second
)

// ops are the flags that every command to the centre has.
type ops struct {
	env    environment
	server string
	link   string // file by which servers of the operator's know who asks
	json   bool
	// channel is in whose name the registry's service is asked; empty = as ops.
	channel string
}

// answer is what a command to the centre has to say: a text for people, and
// one JSON object for programs.
type answer struct {
	OK bool `json:"ok"`
	// Number is the feed entry at which a command's effect is complete, or the
	// last one.
	Number   uint64                `json:"number,omitempty"`
	Changed  int                   `json:"changed,omitempty"`
	Schedule *gateway.Schedule     `json:"schedule,omitempty"`
	Stats    *central.Stats        `json:"stats,omitempty"`
	Import   *imported             `json:"import,omitempty"`
	Fleet    *central.FleetPage    `json:"fleet,omitempty"`
	Station  *central.FleetStation `json:"station,omitempty"`
	Change   *policyChange         `json:"change,omitempty"`
	Rules    *rules.Rules          `json:"rules,omitempty"`
	List     *listed               `json:"list,omitempty"`
	Receipts *receipts             `json:"receipts,omitempty"`
	// What follows are answers of the registry's service.
	Result   rules.Result           `json:"result,omitempty"`
	Ended    int                    `json:"ended,omitempty"`
	Kind     *central.CardKind      `json:"kind,omitempty"`
	Bindings []central.ShownBinding `json:"bindings,omitempty"`
	Helped   []central.CardKind     `json:"helped,omitempty"`
	Cases    *[]central.ShownCase   `json:"cases,omitempty"` // nil = they were not asked for
	More     bool                   `json:"more,omitempty"`  // there are others
	problem

	text string
}

// problem is why a command failed: a refusal of the centre, or another error.
type problem struct {
	Code   central.Code `json:"code,omitempty"`
	ZH     string       `json:"zh,omitempty"`
	EN     string       `json:"en,omitempty"`
	Detail string       `json:"detail,omitempty"`
	Error  string       `json:"error,omitempty"`
}

func newProblem(err error) problem {
	var refusal *central.Refusal
	if errors.As(err, &refusal) {
		return problem{Code: refusal.Code, ZH: refusal.ZH, EN: refusal.EN, Detail: refusal.Detail}
	}
	return problem{Error: err.Error()}
}

func newOps(env environment) *cobra.Command {
	o := &ops{env: env}
	c := group("ops", "Give commands to the centre",
		group("card", "Bind, unbind, look up, take back and replace credentials", newCardBind(o), newCardUnbind(o), newCardLookUp(o), newCardReturn(o), newCardReplace(o)),
		group("ride", "Authorise ride-code accounts", newRideAuthorise(o), newRideWithdraw(o)),
		group("person", "Report the status of a person, and correct who is who", newPersonReport(o), newPersonShow(o), newPersonMerge(o), newPersonSplit(o), newPersonDied(o), newPersonForget(o)),
		newList(o),
		group("conflict", "List and settle what waits for a human", newConflictList(o), newConflictResolve(o)),
		newImport(o),
		group("policy", "Set, show and end the policy", newPolicySet(o), newPolicyShow(o), newPolicySunset(o), newPolicyPurge(o)),
		group("rules", "Show the rules of who may upgrade what", newRulesShow(o), newRulesFile(o)),
		group("feed", "Change the key of the feed", newFeedRotate(o)),
		group("station", "Set what a station does", newStationMode(o)),
		newStats(o), newSchema(o),
	)
	c.Long = "Gives commands to a running centre. The feed number of an answer is the entry of\n" +
		"the feed at which the effect is complete: a box that shows it, or a greater one,\n" +
		"acts accordingly. A command may be repeated without harm."
	o.flags(c)
	return c
}

// flags gives a command and those below it the flags of every command to the
// centre.
func (o *ops) flags(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&o.server, "server", defaultServer, "address of the centre (environment: GATELINE_SERVER)")
	f.StringVar(&o.link, "link", "", "link file of who gives commands, for a centre that asks who that is")
	f.BoolVar(&o.json, "json", false, "answer with one JSON object on standard output")
}

// run turns a command's work into cobra's RunE: it prints the answer.
func (o *ops) run(work func(cmd *cobra.Command, args []string) (answer, error)) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a, err := work(cmd, args)
		var usage errUsage
		switch {
		case errors.As(err, &usage):
			return err
		case errors.Is(err, context.Canceled):
			err = fmt.Errorf("%s: interrupted; what was under way may have taken effect, and doing it again does no harm", cmd.CommandPath())
		}
		if o.json {
			a.OK = err == nil
			if err != nil && !errors.Is(err, errReported) {
				a.problem = newProblem(err)
			}
			return errors.Join(err, json.NewEncoder(cmd.OutOrStdout()).Encode(a))
		}
		if a.text != "" && (err == nil || a.Import != nil || a.List != nil || a.Receipts != nil) { // an import may have done a part
			fmt.Fprintln(cmd.OutOrStdout(), a.text)
		}
		return err
	}
}

// ask connects to the centre for the time of f.
func (o *ops) ask(cmd *cobra.Command, limit time.Duration, f func(context.Context, *central.Client) error) error {
	return o.connect(cmd, limit, func(ctx context.Context, conn *nats.Conn) error { return f(ctx, central.NewClient(conn)) })
}

// askRegistry is ask for the registry's service.
func (o *ops) askRegistry(cmd *cobra.Command, limit time.Duration, f func(context.Context, *central.Channel) error) error {
	name := cmp.Or(rules.Channel(o.channel), rules.ChannelOps)
	return o.connect(cmd, limit, func(ctx context.Context, conn *nats.Conn) error { return f(ctx, central.NewChannel(conn, name)) })
}

func (o *ops) connect(cmd *cobra.Command, limit time.Duration, f func(context.Context, *nats.Conn) error) error {
	server := o.server
	if o.env.server != "" && !cmd.Flags().Changed("server") {
		server = o.env.server
	}
	shown, err := serverName(server)
	if err != nil {
		return err
	}
	dial := &dialer{ctx: cmd.Context()}
	ctx, giveUp := context.WithCancelCause(cmd.Context())
	defer giveUp(nil)
	opts := []nats.Option{nats.Name("gateline ops"), nats.SetCustomDialer(dial), nats.Timeout(connectLimit), nats.NoReconnect(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				giveUp(err) // nobody will answer; every other error fails the request
			}
		})}
	if o.link != "" {
		auth, err := linkOptions(o.link)
		if err != nil {
			return err
		}
		opts = append(opts, auth...)
	}
	conn, err := nats.Connect(server, opts...)
	if err != nil {
		if dial.err != nil {
			err = dial.err // the library says only that no server is available
		}
		return fmt.Errorf("no centre answers at %s: %w; start it with 'gateline central', or give the address of its [ops] listener with --server or GATELINE_SERVER; a centre that asks who gives commands also wants --link", shown, err)
	}
	defer conn.Close()
	if limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	err = f(ctx, conn)
	if err != nil && errors.Is(context.Cause(ctx), nats.ErrPermissionViolation) {
		if o.channel != "" && o.channel != string(rules.ChannelOps) {
			return fmt.Errorf("the key of this link file does not speak for %s at %s; take that channel's own, or leave --channel out", o.channel, shown)
		}
		return fmt.Errorf("the key of this link file gives no commands at %s; take one whose name is ops, or begins with ops-", shown)
	}
	return err
}

func linkOptions(path string) ([]nats.Option, error) {
	l, err := linkkey.Read(path)
	if err != nil {
		return nil, err
	}
	opts, err := l.NATSOptions()
	if err != nil {
		return nil, fmt.Errorf("link file %s: %w", path, err)
	}
	return opts, nil
}

// dialer connects for as long as ctx lasts and keeps why it could not.
type dialer struct {
	ctx context.Context
	err error
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: connectLimit}).DialContext(d.ctx, network, address)
	d.err = err
	return conn, err
}

// command asks for one thing that changes the centre's state.
func (o *ops) command(cmd *cobra.Command, f func(context.Context, *central.Client) (central.Done, error)) (answer, error) {
	var a answer
	err := o.ask(cmd, askLimit, func(ctx context.Context, c *central.Client) error {
		done, err := f(ctx, c)
		a.Number, a.Changed = done.Number, done.Changed
		return err
	})
	return a, err
}

// say sets the text of an accepted command: changed where it changed anything,
// same where it was so already.
func (a *answer) say(changed, same string, args ...any) {
	if a.Changed == 0 {
		changed = same
	}
	a.text = fmt.Sprintf(changed, args...) + fmt.Sprintf(" (feed number %d)", a.Number)
}

// serverName checks the address of a centre, or several with commas between them,
// and returns it without a password.
func serverName(servers string) (string, error) {
	wrong := errUsage{errors.New("the address of the centre is not of the form nats://host:port: correct --server or GATELINE_SERVER")}
	var shown []string
	for server := range strings.SplitSeq(servers, ",") {
		if server = strings.TrimSpace(server); !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" || u.Scheme != "nats" && u.Scheme != "tls" || strings.Trim(u.Path, "/") != "" {
			return "", wrong // without the text: it may hold a password
		}
		if port := u.Port(); port != "" {
			if _, err := net.LookupPort("tcp", port); err != nil {
				return "", wrong
			}
		}
		shown = append(shown, u.Redacted())
	}
	return strings.Join(shown, ","), nil
}

// need refuses a call without one of the flags.
func need(cmd *cobra.Command, flags ...string) error {
	var missing []string
	for _, name := range flags {
		if !cmd.Flags().Changed(name) {
			missing = append(missing, "--"+name)
		}
	}
	if len(missing) > 0 {
		return errUsage{fmt.Errorf("%s needs %s", cmd.CommandPath(), strings.Join(missing, " and "))}
	}
	return nil
}
