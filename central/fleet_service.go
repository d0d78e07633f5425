package central

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"gateline/central/fleet"
	"gateline/gateway"
	"gateline/replication"
)

// Subjects on which the centre tells how the stations are. They ask neither
// registry nor ledger, and answer before Run too.
const (
	SubjectFleetList   = "gateline.ops.fleet.list"
	SubjectFleetShow   = "gateline.ops.fleet.show"
	SubjectFleetForget = "gateline.ops.fleet.forget"
)

// fleetPage is how many stations one answer holds: with the largest reports
// they stay below a message's limit of 1 MiB.
const fleetPage = 250

// fleetTimeout bounds what an answer waits for the stream.
const fleetTimeout = 5 * time.Second

type (
	fleetListRequest struct {
		// After is the last station of the page before; empty = the first page.
		After string `json:"after,omitempty"`
	}
	fleetStationRequest struct {
		Station string `json:"station"`
	}
)

// FleetPage is some of the stations, in the order of their names.
type FleetPage struct {
	// At is the centre's time, Feed where its feed ends.
	At       time.Time   `json:"at"`
	Feed     uint64      `json:"feed"`
	Stations []fleet.Row `json:"stations"`
	// Purge is the last order of this epoch to erase every record; nil = there was
	// none.
	Purge *fleet.Order `json:"purge,omitempty"`
	// More says that there are stations after the last of these.
	More bool `json:"more,omitempty"`
}

// FleetStation is one station with what it answered, hour by hour.
type FleetStation struct {
	fleet.Row
	Hours []replication.Hour `json:"hours"`
}

// directEndpoint answers requests on one subject by itself.
type directEndpoint struct {
	subject string
	answer  func(context.Context, []byte) (reply, *Refusal)
}

func (w *fleetWatch) endpoints() []directEndpoint {
	return []directEndpoint{{SubjectFleetList, w.list}, {SubjectFleetShow, w.show}, {SubjectFleetForget, w.forget}}
}

func (e directEndpoint) handler(conn *nats.Conn) micro.HandlerFunc {
	return func(request micro.Request) {
		ctx, cancel := context.WithTimeout(context.Background(), fleetTimeout)
		defer cancel()
		r, refusal := e.answer(ctx, request.Data())
		if refusal != nil {
			r = newReply(nil, answer{refusal: refusal})
		}
		respond(conn, request.Reply(), r)
	}
}

func (w *fleetWatch) list(_ context.Context, data []byte) (reply, *Refusal) {
	var q fleetListRequest
	if len(data) > 0 {
		if refusal := decodeRequest(data, maxSmallRequest, "after", &q); refusal != nil {
			return reply{}, refusal
		}
	}
	now := w.now()
	page := FleetPage{At: now.UTC(), Feed: w.entry().Number, Stations: []fleet.Row{}, Purge: w.order()}
	w.mu.Lock()
	rows, more := w.fleet.Rows(q.After, fleetPage, now)
	w.mu.Unlock()
	page.Stations, page.More = append(page.Stations, rows...), more
	return reply{OK: true, Fleet: &page}, nil
}

// order returns the last order to erase every record, nil if there was none.
func (w *fleetWatch) order() *fleet.Order {
	number, ordered := w.purge()
	if number == 0 {
		return nil
	}
	return &fleet.Order{Epoch: w.entry().Epoch, Number: number, Ordered: time.UnixMicro(ordered).UTC()}
}

func (w *fleetWatch) show(ctx context.Context, data []byte) (reply, *Refusal) {
	name, refusal := stationOf(data)
	if refusal != nil {
		return reply{}, refusal
	}
	w.mu.Lock()
	row, err := w.fleet.Row(name, w.now())
	w.mu.Unlock()
	if err != nil {
		return reply{}, refuseUnknown(name)
	}
	station := FleetStation{Row: row, Hours: []replication.Hour{}}
	hours, err := w.status.Hours(ctx, name)
	if err != nil && !errors.Is(err, replication.ErrReport) && !errors.Is(err, replication.ErrReportVersion) {
		return reply{}, refuse(CodeBusy, "%v", err)
	}
	if hours != nil {
		station.Hours = append(station.Hours, hours.Hours...)
	}
	return reply{OK: true, Station: &station}, nil
}

func (w *fleetWatch) forget(ctx context.Context, data []byte) (reply, *Refusal) {
	name, refusal := stationOf(data)
	if refusal != nil {
		return reply{}, refusal
	}
	w.mu.Lock()
	_, err := w.fleet.Row(name, w.now())
	w.mu.Unlock()
	if err != nil {
		return reply{}, refuseUnknown(name)
	}
	// First where it lasts: a centre that is killed in between forgets it later.
	if err := w.status.Forget(ctx, name); err != nil {
		return reply{}, refuse(CodeBusy, "%v", err)
	}
	w.mu.Lock()
	err = w.fleet.Forget(name)
	w.mu.Unlock()
	if err != nil {
		return reply{}, refuseUnknown(name) // somebody else was faster
	}
	w.log.Info("station forgotten", "station", name)
	return reply{OK: true, Changed: 1}, nil
}

func stationOf(data []byte) (string, *Refusal) {
	var q fleetStationRequest
	if refusal := decodeRequest(data, maxSmallRequest, "station", &q); refusal != nil {
		return "", refusal
	}
	if err := gateway.ValidStation(q.Station); err != nil {
		return "", refuse(CodeMalformed, "station: %v", err)
	}
	return q.Station, nil
}

func refuseUnknown(name string) *Refusal {
	return refuse(CodeNoStation, "station %s; gateline fleet lists those that have", name)
}

// Fleet returns all stations, in the order of their names.
func (c *Client) Fleet(ctx context.Context) (FleetPage, error) {
	var all FleetPage
	for q := (fleetListRequest{}); ; {
		r, err := c.request(ctx, SubjectFleetList, q)
		if err != nil {
			return FleetPage{}, err
		}
		if r.Fleet == nil {
			return FleetPage{}, fmt.Errorf("ask %s: the answer holds no stations; use the same version on both sides", SubjectFleetList)
		}
		stations := append(all.Stations, r.Fleet.Stations...)
		all, all.Stations = *r.Fleet, stations
		n := len(stations)
		if !r.Fleet.More || n == 0 {
			return all, nil
		}
		q.After = stations[n-1].Station
	}
}

// FleetStation returns one station with its hourly sums.
func (c *Client) FleetStation(ctx context.Context, station string) (*FleetStation, error) {
	r, err := c.request(ctx, SubjectFleetShow, fleetStationRequest{Station: station})
	if err == nil && r.Station == nil {
		err = fmt.Errorf("ask %s: the answer holds no station; use the same version on both sides", SubjectFleetShow)
	}
	return r.Station, err
}

// ForgetStation drops a station that is no more. It is there again with its next
// report.
func (c *Client) ForgetStation(ctx context.Context, station string) (Done, error) {
	return c.command(ctx, SubjectFleetForget, fleetStationRequest{Station: station})
}

// addDirect puts endpoints that answer by themselves on the service.
func addDirect(service micro.Service, conn *nats.Conn, endpoints []directEndpoint) error {
	for _, e := range endpoints {
		err := service.AddEndpoint(endpointName(e.subject), e.handler(conn),
			micro.WithEndpointSubject(e.subject), micro.WithEndpointPendingLimits(maxEndpointRequests, maxEndpointBytes))
		if err != nil {
			return fmt.Errorf("serve %s: %w", e.subject, err)
		}
	}
	return conn.FlushTimeout(openTimeout)
}
