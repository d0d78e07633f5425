// Package httpserve runs an HTTP server for as long as a context lasts.
package httpserve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Bounds of a server.
const (
	readLimit  = 5 * time.Second
	writeLimit = 30 * time.Second
	headerSize = 16 << 10
	stopLimit  = 2 * time.Second
)

// Serve serves l until ctx is done, closes it, and returns ctx's error then, or
// what ended it before.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler: h, ReadTimeout: readLimit, WriteTimeout: writeLimit, MaxHeaderBytes: headerSize,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		stopped <- srv.Shutdown(limit)
	})
	err := srv.Serve(l)
	if stop() {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	if err := <-stopped; err != nil {
		_ = srv.Close() // a slow client had its chance
	}
	return ctx.Err()
}

// Close closes a listener that Serve may have closed already.
func Close(l net.Listener) error {
	if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
