package station

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"gateline/gateway"
)

// switchRequest is the body of PUT /switch on the control socket.
type switchRequest struct {
	// Gate is a gate's name; empty = the whole station.
	Gate string `json:"gate,omitempty"`
	// Switch must be there: a request that forgot it does not mean auto.
	Switch *gateway.Switch `json:"switch"`
}

const (
	switchPath      = "/switch"
	linesPath       = "/lines"
	maxControlBytes = 4 << 10 // of a request
	controlLimit    = 5 * time.Second
	// maxStateBytes holds the state of MaxLines × MaxGatesPerLine gates.
	maxStateBytes = 256 << 10
	// maxLinesBytes holds the LinesStatus of as many gates.
	maxLinesBytes = 4 << 20
)

// controlHandler serves the local switch and the state of the lines on the
// control socket. Whoever may open the socket may work the switch: the socket's
// owner and group decide.
func (s *Station) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+switchPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.switches.State()) // the client is gone where this fails
	})
	mux.HandleFunc("PUT "+switchPath, func(w http.ResponseWriter, r *http.Request) {
		var request switchRequest
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxControlBytes))
		d.DisallowUnknownFields()
		if err := d.Decode(&request); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if request.Switch == nil {
			http.Error(w, "switch is missing: give auto, manual or open", http.StatusBadRequest)
			return
		}
		if err := s.switches.Set(request.Gate, *request.Switch); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET "+linesPath, s.serveLines)
	return mux
}

// Control works the local switch of a running box, and asks how its lines are,
// over its control socket.
type Control struct{ client *http.Client }

// NewControl returns a Control for the box whose control socket is at path.
func NewControl(path string) *Control {
	return &Control{&http.Client{
		Timeout: controlLimit,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, "unix", path)
			},
		},
	}}
}

// Set works the station's switch, or a gate's where gate is not empty.
func (c *Control) Set(ctx context.Context, gate string, to gateway.Switch) error {
	body, err := json.Marshal(switchRequest{Gate: gate, Switch: &to})
	if err != nil {
		return err
	}
	_, err = c.call(ctx, http.MethodPut, switchPath, body, maxStateBytes)
	return err
}

// State returns what the switches stand at.
func (c *Control) State(ctx context.Context) (state SwitchState, err error) {
	err = c.get(ctx, switchPath, maxStateBytes, &state)
	return state, err
}

// Lines returns how the lines and gates of the box are.
func (c *Control) Lines(ctx context.Context) (status LinesStatus, err error) {
	err = c.get(ctx, linesPath, maxLinesBytes, &status)
	return status, err
}

// get reads an answer of at most most bytes.
func (c *Control) get(ctx context.Context, path string, most int64, into any) error {
	body, err := c.call(ctx, http.MethodGet, path, nil, most)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("the box's answer about %s cannot be read: %w: are box and command of one version?", path, err)
	}
	return nil
}

func (c *Control) call(ctx context.Context, method, path string, body []byte, most int64) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://box"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("reach the box over its control socket: %w: is it running, and are you in its group?", err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, most))
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("the box answers: %s", bytes.TrimSpace(answer))
	}
	return answer, err
}
