package replication

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// StreamStatus is the stream that holds the last document of each kind of
	// every station.
	StreamStatus = "STATUS"
	// SubjectStatus, followed by a station's name, is the subject of its
	// Reports; with HoursSuffix behind the name, that of its Hours.
	SubjectStatus = "gateline.status."
	HoursSuffix   = ".hours"
	// MaxStations bounds the stations of a centre. The stream drops the oldest
	// documents above it.
	MaxStations = 8192
)

// hoursTimeout bounds the wait for the centre to say that it has the hours.
const hoursTimeout = 2 * time.Second

// Reporter sends a box's documents to the centre. One goroutine uses it.
type Reporter struct {
	nc      *nats.Conn
	subject string
}

// OpenReporter connects a Reporter to the embedded server. Close it before the
// Box.
func (b *Box) OpenReporter() (*Reporter, error) {
	nc, err := nats.Connect("", nats.InProcessServer(b.srv), nats.Name(b.cfg.Station+" reports"), nats.MaxReconnects(-1),
		// A station may listen to one word behind its prefix, so each request has
		// a subject of its own. The fetching end passes over what comes there.
		nats.CustomInboxPrefix(InboxPrefix+b.cfg.Station), nats.UseOldRequestStyle())
	if err != nil {
		return nil, fmt.Errorf("send reports: connect to the embedded server: %w", err)
	}
	return &Reporter{nc: nc, subject: SubjectStatus + b.cfg.Station}, nil
}

// Report sends the box's state and does not wait. While the link is down it is
// lost: the next one says more.
func (r *Reporter) Report(report *Report) error {
	data, err := report.Encode()
	if err == nil {
		err = r.nc.Publish(r.subject, data)
	}
	if err != nil {
		return fmt.Errorf("send a report: %w", err)
	}
	return nil
}

// Hours sends an encoded Hours and waits, at most 2 s, until the centre has it.
func (r *Reporter) Hours(ctx context.Context, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, hoursTimeout)
	defer cancel()
	answer, err := r.nc.RequestWithContext(ctx, r.subject+HoursSuffix, data)
	if err != nil {
		return fmt.Errorf("send the hourly sums: %w", err)
	}
	var ack jetstream.PubAck
	if json.Unmarshal(answer.Data, &ack) != nil || ack.Stream != StreamStatus {
		return errors.New("send the hourly sums: the centre did not take them; see its log")
	}
	return nil
}

// Close ends the connection.
func (r *Reporter) Close() { r.nc.Close() }

// Status is the centre's end: what stations have said last.
type Status struct{ stream jetstream.Stream }

// OpenStatus opens the stream, or creates it where there is none.
//
// It lies in files, so that a centre that is started again knows which stations
// there are and misses those that stay silent. But it is not synced for each of
// a thousand reports a second, as the feed is for each entry: what a power cut
// takes comes again with the next report. A stream on more than one server cannot
// be like that, and lies in the memory of all of them.
func OpenStatus(ctx context.Context, js jetstream.JetStream, replicas int) (*Status, error) {
	storage, persist := jetstream.FileStorage, jetstream.AsyncPersistMode
	if replicas > 1 {
		storage, persist = jetstream.MemoryStorage, jetstream.DefaultPersistMode
	}
	stream, err := lookFor(ctx, js, StreamStatus)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		stream, err = js.CreateStream(ctx, jetstream.StreamConfig{
			Name:              StreamStatus,
			Description:       "gateline: the last report and the hourly sums of every station",
			Subjects:          []string{SubjectStatus + "*", SubjectStatus + "*" + HoursSuffix},
			Storage:           storage,
			PersistMode:       persist,
			Replicas:          replicas,
			MaxMsgsPerSubject: 1,
			MaxMsgs:           2 * MaxStations,
			MaxMsgSize:        MaxHoursSize,
			Discard:           jetstream.DiscardOld,
			AllowDirect:       true,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("open the stream %s: %w; check that the centre's directory is writable and its disk is not full", StreamStatus, err)
	}
	return &Status{stream: stream}, nil
}

// StatusMessage is a report as it came in.
type StatusMessage struct {
	Station string // of its subject
	Data    []byte
	// Received is when the centre's server stored it.
	Received time.Time
}

// Follow hands the last report of every station to fn, and then each one as it
// comes in, until ctx is done, when it returns nil. fn runs on the caller's
// goroutine; a slow one misses reports that a later one has replaced.
func (s *Status) Follow(ctx context.Context, fn func(StatusMessage)) error {
	consumer, err := s.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{SubjectStatus + "*"}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return followed(ctx, err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(512))
	if err != nil {
		return followed(ctx, err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return followed(ctx, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return followed(ctx, err)
		}
		fn(StatusMessage{Station: strings.TrimPrefix(m.Subject(), SubjectStatus), Data: m.Data(), Received: meta.Timestamp})
	}
}

func followed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("follow the reports of the stations: %w", err)
}

// Hours returns the last hourly sums of a station, nil where it never sent any.
func (s *Status) Hours(ctx context.Context, station string) (*Hours, error) {
	message, err := s.stream.GetLastMsgForSubject(ctx, SubjectStatus+station+HoursSuffix)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the hourly sums of station %s: %w", station, err)
	}
	hours, err := DecodeHours(message.Data)
	if err == nil && hours.Station != station {
		err = fmt.Errorf("%w: they name another station", ErrReport)
	}
	if err != nil {
		return nil, fmt.Errorf("the hourly sums of station %s: %w", station, err)
	}
	return hours, nil
}

// Forget removes what a station has said, for one that is no more.
func (s *Status) Forget(ctx context.Context, station string) error {
	for _, suffix := range []string{"", HoursSuffix} {
		if err := s.stream.Purge(ctx, jetstream.WithPurgeSubject(SubjectStatus+station+suffix)); err != nil {
			return fmt.Errorf("forget station %s: %w", station, err)
		}
	}
	return nil
}
