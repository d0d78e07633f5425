package station

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gateline/cache"
	"gateline/internal/httpserve"
)

// maxScrapes bounds how many ask for the metrics at once.
const maxScrapes = 4

// openListeners opens the status page's TCP port and the control socket.
func (s *Station) openListeners(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if s.cfg.StatusListen != "" {
		if s.status, err = lc.Listen(ctx, "tcp", s.cfg.StatusListen); err != nil {
			return fmt.Errorf("status page: %w: free the address or set [status] listen to another", err)
		}
		s.closers = append(s.closers, func() error { return httpserve.Close(s.status) })
	}
	if s.cfg.ControlSocket != "" {
		if s.control, err = listenControl(ctx, s.cfg.ControlSocket); err != nil {
			return err
		}
		s.closers = append(s.closers, func() error { return httpserve.Close(s.control) })
	}
	return nil
}

// listenControl opens the control socket: owner and group may use it. A socket
// left by a killed box is replaced, a living one is not.
func listenControl(ctx context.Context, path string) (net.Listener, error) {
	var lc net.ListenConfig
	listen := func() (net.Listener, error) {
		l, err := lc.Listen(ctx, "unix", path)
		if err != nil {
			return nil, fmt.Errorf("control socket: %w: set [control] socket to a path this user may create, or to \"\" for none", err)
		}
		if err := os.Chmod(path, 0o660); err != nil {
			return nil, errors.Join(fmt.Errorf("control socket: %w", err), l.Close())
		}
		return l, nil
	}
	l, err := listen()
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	conn, dialErr := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path)
	if dialErr == nil {
		return nil, errors.Join(fmt.Errorf("control socket %s is in use by a running box: stop it first", path), conn.Close())
	}
	if !errors.Is(dialErr, syscall.ECONNREFUSED) { // nobody listens only where the kernel says so
		return nil, fmt.Errorf("control socket %s exists and cannot be tried: %w: stop the box that uses it, or remove it", path, dialErr)
	}
	info, statErr := os.Lstat(path)
	if statErr != nil || info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("control socket: %s exists and is no socket: remove it or set [control] socket to another path", filepath.Clean(path))
	}
	if err := os.Remove(path); err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return listen()
}

// statusHandler serves metrics, health and the status page. It tells counts
// and states of the box and nothing about any rider (PRV-03, PRV-05).
func (s *Station) statusHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes}))
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { writeChecks(w, s.liveChecks()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { writeChecks(w, s.readyChecks()) })
	mux.HandleFunc("GET /{$}", s.servePage)
	return mux
}

// What a check may say is wrong.
const (
	whyLookup   = "a lookup fails"
	whySnapshot = "not complete yet: riders get R24"
	whyPolicy   = "none in force: riders get R24"
	whyLines    = "no port is open"
	whyFailed   = "the disk failed, nothing is applied any more: mend it, then restart the box"
)

// check is one line of a health answer; why is empty where it is well.
type check struct{ name, why string }

func (s *Station) liveChecks() []check {
	why := ""
	if s.storeFault() != nil {
		why = whyLookup
	}
	return []check{{"store", why}}
}

// storeFault returns why the store does not answer lookups, nil while it does.
// That a shard is not loaded yet is an answer.
func (s *Station) storeFault() error {
	_, _, err := s.cache.Lookup(0)
	if errors.Is(err, cache.ErrNotLoaded) {
		return nil
	}
	return err
}

// readyChecks says whether the box can serve gates by itself; the link to the
// centre is no part of that.
func (s *Station) readyChecks() []check {
	checks := s.liveChecks()
	add := func(name string, well bool, why string) {
		if well {
			why = ""
		}
		checks = append(checks, check{name, why})
	}
	up := 0
	for _, l := range s.lines {
		if l.Up() {
			up++
		}
	}
	clock := s.clock.state.Load()
	add("updates", s.cache.Failed() == nil, whyFailed)
	add("snapshot", s.cache.Usable(), whySnapshot)
	policy := s.schedule.Load().At(s.now())
	add("policy", policy != nil && (policy.Expires.IsZero() || s.now().Before(policy.Expires)), whyPolicy)
	add("lines", up > 0, whyLines)
	add("clock", clock.Trusted, clock.Why)
	return checks
}

func writeChecks(w http.ResponseWriter, checks []check) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	for _, c := range checks {
		if c.why != "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			break
		}
	}
	for _, c := range checks {
		if c.why == "" {
			fmt.Fprintf(w, "[+] %s ok\n", c.name)
		} else {
			fmt.Fprintf(w, "[-] %s: %s\n", c.name, c.why)
		}
	}
}
