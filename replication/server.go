package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	// readyTimeout bounds the wait for a server that has been started, not the
	// recovery of its streams, which takes as long as the disk does.
	readyTimeout = 10 * time.Second
	// shutdownTimeout bounds the wait for a server to stop.
	shutdownTimeout = 30 * time.Second
	// pingInterval and maxPingsOut make a link that went silent count as dead
	// after some 30 seconds at most, at both ends (measured: 9 s to recover,
	// against minutes with the server's defaults).
	pingInterval = 10 * time.Second
	maxPingsOut  = 2
	// handshakeTimeout bounds each step by which a box connects, also on a slow
	// link.
	handshakeTimeout = 5 * time.Second
)

// serverLog passes what an embedded server logs on to slog: warnings and
// errors only. It keeps the first fatal message, because the server goes on
// after one and leaves it to its logger to stop.
type serverLog struct {
	log *slog.Logger
	// demote lowers everything to debug level; the owner then reports the
	// state of the link itself, with the cause that lastError keeps.
	demote bool

	mu        sync.Mutex // guards the following
	fatal     string
	lastError string
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, v ...any) {
	if strings.HasPrefix(format, "Plaintext passwords detected") {
		return // the only one is made at each start and never leaves the process
	}
	level := slog.LevelWarn
	if l.demote {
		level = slog.LevelDebug
	}
	l.log.Log(context.Background(), level, "nats-server", "message", fmt.Sprintf(format, v...))
}

func (l *serverLog) Errorf(format string, v ...any) {
	level, text := slog.LevelError, fmt.Sprintf(format, v...)
	if l.demote {
		level = slog.LevelDebug
	}
	l.mu.Lock()
	l.lastError = text
	l.mu.Unlock()
	l.log.Log(context.Background(), level, "nats-server", "message", text)
}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == "" {
		l.fatal = fmt.Sprintf(format, v...)
	}
}

// cause returns the last error the server logged since the last call.
func (l *serverLog) cause() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.lastError
	if text == "" {
		text = "the connection was closed"
	}
	l.lastError = ""
	return text
}

// startServer starts an embedded server. prepare, if not nil, is called before
// anybody can connect. Where anything fails, nothing is left running.
func startServer(opts *server.Options, log *serverLog, prepare func(*server.Server) error) (*server.Server, error) {
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, err
	}
	srv.SetLoggerV2(log, false, false, false)
	if prepare != nil {
		if err := prepare(srv); err != nil {
			return nil, errors.Join(err, stopServer(srv))
		}
	}
	srv.Start()
	log.mu.Lock()
	fatal := log.fatal
	log.mu.Unlock()
	switch {
	case fatal != "":
		err = errors.New(fatal)
	case !srv.ReadyForConnections(readyTimeout):
		err = fmt.Errorf("the embedded server was not ready within %v", readyTimeout)
	case opts.JetStream:
		// With more accounts than the global one, the server leaves it to us
		// which has it. This recovers the streams.
		if err = srv.GlobalAccount().EnableJetStream(nil, nil); err == nil {
			return srv, nil
		}
	default:
		return srv, nil
	}
	return nil, errors.Join(err, stopServer(srv))
}

// stopServer stops a server and waits for its goroutines.
func stopServer(srv *server.Server) error {
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		srv.Shutdown()
		srv.WaitForShutdown()
	}()
	timeout := time.NewTimer(shutdownTimeout)
	defer timeout.Stop()
	select {
	case <-stopped:
		return nil
	case <-timeout.C:
		return fmt.Errorf("the embedded server did not stop within %v", shutdownTimeout)
	}
}
