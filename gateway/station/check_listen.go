package station

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// reachLimit bounds each attempt of a check to reach somebody.
const reachLimit = 3 * time.Second

func (c *checker) checkStatus(ctx context.Context) Finding {
	const thing = "status page"
	address := c.cfg.StatusListen
	if address == "" {
		return ok(thing, "switched off")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err == nil {
		err = l.Close()
	}
	switch {
	case err == nil:
		return ok(thing, "%s is free", address)
	case errors.Is(err, syscall.EADDRINUSE) && boxAnswers(ctx, address):
		c.running = true
		return note(thing, "%s is in use by a running box", address)
	}
	return fault(thing, "%v: free the address or set [status] listen to another", err)
}

// boxAnswers reports whether the one who listens on address is a box.
func boxAnswers(ctx context.Context, address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/livez", nil)
	if err != nil {
		return false
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	line, _ := bufio.NewReaderSize(response.Body, 256).ReadSlice('\n') // what is there is enough
	return strings.HasPrefix(string(line), "[+] store") || strings.HasPrefix(string(line), "[-] store")
}

func (c *checker) checkControl(ctx context.Context) Finding {
	const thing = "control socket"
	path := c.cfg.ControlSocket
	if path == "" {
		return ok(thing, "switched off")
	}
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return checkFreeSocket(ctx, path)
	case err != nil:
		return fault(thing, "%v: set [control] socket to a path this user may create, or to \"\" for none", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fault(thing, "%s exists and is no socket: remove it or set [control] socket to another path", path)
	}
	conn, err := (&net.Dialer{Timeout: reachLimit}).DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return ok(thing, "%s was left behind; the box replaces it", path)
	case err != nil:
		return note(thing, "%s exists and cannot be tried: %v; run this check as the box's user", path, err)
	}
	_ = conn.Close() // it was only to see whether somebody listens
	if _, err := NewControl(path).State(ctx); err != nil {
		return fault(thing, "%s is in use by another program: set [control] socket to another path", path)
	}
	c.running = true
	return note(thing, "%s is in use by a running box", path)
}

// checkFreeSocket makes the socket and takes it away again.
func checkFreeSocket(ctx context.Context, path string) Finding {
	const thing = "control socket"
	folder := filepath.Dir(path)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) && path == DefaultConfig().ControlSocket {
		return note(thing, "%s does not exist now; systemd makes it when it starts the box (RuntimeDirectory=)", folder)
	}
	l, err := listenControl(ctx, path)
	if err == nil {
		err = l.Close() // removes the socket
	}
	if err != nil {
		return fault(thing, "%v", err)
	}
	return ok(thing, "%s is free", path)
}
