package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func redisPeer() peer {
	return peer{
		name:    "Redis",
		about:   "a server of its own over a unix socket; append-only file, appendfsync always; GET and MSET; memory is the server's",
		missing: missingRedis,
		load:    loadRedis,
		open:    openRedis,
	}
}

const redisServer = "redis-server"

func missingRedis() string {
	if _, err := exec.LookPath(redisServer); err != nil {
		return redisServer + " is not installed; Debian has it in a package of that name"
	}
	return ""
}

const (
	// redisStart bounds the start of a server, redisReply the wait for a reply,
	// which may be a whole file to be written.
	redisStart = 15 * time.Minute
	redisReply = 15 * time.Minute
	// redisPoll is how often a server that starts is asked whether it has.
	redisPoll = 500 * time.Microsecond
	// redisRoom is the longest command or reply.
	redisRoom = 64 << 10
	// redisSocket is the longest name that the kernel takes for a socket.
	redisSocket = 107
)

// redisProcess is a server that ends with us.
type redisProcess struct {
	socket string
	server *os.Process
	ended  chan error // takes what became of it
}

// startRedis starts a server in the folder. It does not wait until it serves.
func startRedis(dir string, args ...string) (*redisProcess, error) {
	p := &redisProcess{socket: filepath.Join(dir, "s"), ended: make(chan error, 1)}
	if len(p.socket) > redisSocket {
		return nil, fmt.Errorf("start Redis: %s is too long a name for a socket; choose a shorter folder with --dir", p.socket)
	}
	cmd := exec.Command(redisServer, append([]string{
		"--port", "0", "--unixsocket", p.socket, "--dir", dir, "--daemonize", "no", "--save", "", "--logfile", filepath.Join(dir, "log"),
	}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error, 1)
	go func() {
		// The kernel ends the server with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start Redis: %w; see that %s can be run", err, redisServer)
	}
	p.server = cmd.Process
	return p, nil
}

// stop ends the server, and waits for that.
func (p *redisProcess) stop() error {
	err := p.server.Signal(syscall.SIGTERM)
	if ended := <-p.ended; ended != nil {
		err = errors.Join(err, fmt.Errorf("the Redis server ended: %w; see its log", ended))
	}
	return err
}

// connect returns a connection to a server that has all its records.
func (p *redisProcess) connect() (*redisConn, error) {
	ctx, stop := context.WithTimeout(context.Background(), redisStart)
	defer stop()
	for {
		c, err := p.dial(ctx)
		if err == nil {
			return c, nil
		}
		select {
		case ended := <-p.ended:
			p.ended <- ended
			return nil, fmt.Errorf("the Redis server ended while it started: %w; see its log", errors.Join(ended, err))
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for Redis: %w; see its log", err)
		case <-time.After(redisPoll):
		}
	}
}

func (p *redisProcess) dial(ctx context.Context) (*redisConn, error) {
	plain, err := new(net.Dialer).DialContext(ctx, "unix", p.socket)
	if err != nil {
		return nil, err
	}
	c := &redisConn{Conn: plain, r: bufio.NewReaderSize(plain, redisRoom)}
	if _, err := c.ask("PING"); err != nil { // an error while records are read
		return nil, errors.Join(err, plain.Close())
	}
	return c, nil
}

// redisConn speaks RESP 2 and allocates nothing for it.
type redisConn struct {
	net.Conn
	r    *bufio.Reader
	out  []byte
	body [redisRoom]byte
}

// begin starts a command of so many words.
func (c *redisConn) begin(words int) {
	c.out = append(c.out, '*')
	c.out = strconv.AppendInt(c.out, int64(words), 10)
	c.out = append(c.out, "\r\n"...)
}

func (c *redisConn) word(b []byte) {
	c.out = append(c.out, '$')
	c.out = strconv.AppendInt(c.out, int64(len(b)), 10)
	c.out = append(c.out, "\r\n"...)
	c.out = append(c.out, b...)
	c.out = append(c.out, "\r\n"...)
}

// send sends what was begun.
func (c *redisConn) send() error {
	_, err := c.Write(c.out)
	c.out = c.out[:0]
	return err
}

// reply reads one reply, which is valid until the next; nil = no such key.
func (c *redisConn) reply() ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	line = line[:max(0, len(line)-2)]
	if len(line) == 0 {
		return nil, errors.New("the Redis server sent an empty line; see its log")
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '-':
		return nil, fmt.Errorf("the Redis server refused: %s", line[1:])
	case '$':
		n := 0
		if string(line) == "$-1" {
			return nil, nil
		}
		for _, d := range line[1:] {
			n = n*10 + int(d-'0')
		}
		if n < 0 || n+2 > len(c.body) {
			return nil, fmt.Errorf("the Redis server sent %d bytes; look into its adapter", n)
		}
		_, err := io.ReadFull(c.r, c.body[:n+2])
		return c.body[:n], err
	}
	return nil, fmt.Errorf("the Redis server sent a reply of kind %q; look into its adapter", line[0])
}

// ask sends a command and returns the reply.
func (c *redisConn) ask(words ...string) (string, error) {
	if err := c.SetDeadline(time.Now().Add(redisReply)); err != nil {
		return "", err
	}
	c.begin(len(words))
	for _, w := range words {
		c.word([]byte(w))
	}
	if err := c.send(); err != nil {
		return "", err
	}
	b, err := c.reply()
	return string(b), err
}

// set sends items with one MSET.
func (c *redisConn) set(items []item) error {
	c.begin(1 + 2*len(items))
	c.word([]byte("MSET"))
	for _, it := range items {
		key, value := keyOf(it.token), bytesOf(it.value)
		c.word(key[:])
		c.word(value[:])
	}
	if err := c.send(); err != nil {
		return err
	}
	_, err := c.reply()
	return err
}

func loadRedis(dir string, _ int, s *source) (err error) {
	p, err := startRedis(dir, "--appendonly", "no")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	c, err := p.connect()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	items := make([]item, 0, batchSize)
	for more := true; more; {
		items = items[:0]
		for len(items) < batchSize {
			var it item
			if it, more = s.next(); !more {
				break
			}
			items = append(items, it)
		}
		if len(items) > 0 {
			if err := c.set(items); err != nil {
				return err
			}
		}
	}
	return c.writeAll()
}

// writeAll has the server write an append-only file, which begins with all its
// records packed, and waits for that.
func (c *redisConn) writeAll() error {
	if _, err := c.ask("CONFIG", "SET", "appendonly", "yes"); err != nil {
		return err
	}
	for deadline := time.Now().Add(redisReply); ; time.Sleep(10 * time.Millisecond) {
		info, err := c.ask("INFO", "persistence")
		if err != nil {
			return err
		}
		if strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0") {
			if !strings.Contains(info, "aof_last_bgrewrite_status:ok") {
				return errors.New("the Redis server could not write its file; see its log")
			}
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("the Redis server did not finish its file; see its log")
		}
	}
}

type redisStore struct {
	p              *redisProcess
	reader, writer *redisConn
	get            []byte
}

func openRedis(dir string, _ int) (_ store, err error) {
	p, err := startRedis(dir, "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
	if err != nil {
		return nil, err
	}
	s := &redisStore{p: p, get: []byte("GET")}
	for _, c := range []**redisConn{&s.reader, &s.writer} {
		if *c, err = p.connect(); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *redisStore) lookup(token uint64) (uint64, bool, error) {
	key := keyOf(token)
	s.reader.begin(2)
	s.reader.word(s.get)
	s.reader.word(key[:])
	if err := s.reader.send(); err != nil {
		return 0, false, err
	}
	b, err := s.reader.reply()
	if err != nil || b == nil {
		return 0, false, err
	}
	value, err := valueFrom(b)
	return value, err == nil, err
}

func (s *redisStore) update(items []item) error { return s.writer.set(items) }

func (s *redisStore) pid() int { return s.p.server.Pid }

func (s *redisStore) close() error {
	var errs []error
	for _, c := range []*redisConn{s.reader, s.writer} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(append(errs, s.p.stop())...)
}
