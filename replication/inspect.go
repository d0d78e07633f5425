package replication

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrCentreRuns: a centre, or what else holds its lock, uses the directory.
	ErrCentreRuns = errors.New("a centre runs on this directory")
	// ErrNoStreams: the directory holds no feed, or no shards, of a centre.
	ErrNoStreams = errors.New("not the streams of a centre")
	// ErrStored: a file of a stream holds something that is no message.
	ErrStored = errors.New("a file of a stream is damaged")
	// ErrNoSnapshot: there is no snapshot of a shard, or no head.
	ErrNoSnapshot = errors.New("not written yet")
)

// Streams reads the feed and the shards of a centre that is stopped, from the
// files themselves and without a server: one that opens them cuts off what is
// damaged and lets entries expire, before anybody has seen either. Nothing is
// written. While Streams is open no centre starts. It is not safe for concurrent
// use.
type Streams struct {
	dir  string // that of the streams' folders
	lock *os.File
}

// OpenStreams takes the directory that HubConfig.Dir names. The error wraps
// ErrCentreRuns or ErrNoStreams where one of them is the reason.
func OpenStreams(dir string) (*Streams, error) {
	lock, err := os.Open(filepath.Join(dir, "lock"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w: no centre has ever run there; give the directory that the centre's configuration names as dir", dir, ErrNoStreams)
	case err != nil:
		return nil, fmt.Errorf("take the directory of the streams: %w; run this as the centre's user", err)
	}
	// Shared: several may look at once, and the centre's own lock keeps them out.
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, errors.Join(fmt.Errorf("%s: %w; stop it first", dir, ErrCentreRuns), lock.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("lock the directory of the streams %s: %w; use a local file system", dir, err), lock.Close())
	}
	return &Streams{dir: filepath.Join(dir, "jetstream", "$G", "streams"), lock: lock}, nil
}

// Close lets a centre start again. It is idempotent.
func (s *Streams) Close() error {
	if err := s.lock.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// FeedInfo is what is known of the feed before one reads it.
type FeedInfo struct {
	Epoch uint64
	// Keep is how long entries are kept; 0 = for ever.
	Keep time.Duration
	// Bytes is the size of its files.
	Bytes int64
}

// FeedInfo reads how the stream of the feed is configured. The error wraps
// ErrNoStreams where there is none.
func (s *Streams) FeedInfo() (FeedInfo, error) {
	c, err := s.config(StreamFeed)
	if err != nil {
		return FeedInfo{}, err
	}
	epoch, err := checkStream(&c)
	if err != nil {
		return FeedInfo{}, err
	}
	info := FeedInfo{Epoch: epoch, Keep: c.MaxAge}
	blocks, err := s.blocks(StreamFeed)
	for _, b := range blocks {
		info.Bytes += b.size
	}
	return info, err
}

// config reads the configuration that the server keeps beside a stream.
func (s *Streams) config(stream string) (jetstream.StreamConfig, error) {
	path := filepath.Join(s.dir, stream, "meta.inf")
	text, err := os.ReadFile(path)
	var c jetstream.StreamConfig
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return c, fmt.Errorf("%w: there is no stream %s", ErrNoStreams, stream)
	case err != nil:
		return c, fmt.Errorf("read how stream %s is configured: %w; run this as the centre's user", stream, err)
	}
	if err := json.Unmarshal(text, &c); err != nil {
		return c, fmt.Errorf("%w: %s: %w", ErrStored, path, err)
	}
	if c.Name != stream || c.Compression != jetstream.NoCompression {
		return c, fmt.Errorf("%w: %s describes stream %q, or one that is compressed", ErrNoStreams, path, c.Name)
	}
	return c, nil
}

// Feed calls fn for the stored messages of the feed, which are its entries, from
// number from on as far as files allow (fn may get earlier ones), in the order in
// which they are stored. message is the number at which the server has it, read
// the bytes of the files up to there. Whether data is an entry is for
// DecodeEntry to say; who keeps it keeps the contents of its file. Entries that have expired are among
// them as long as a file holds them. The first error of fn ends it and is
// returned.
func (s *Streams) Feed(from uint64, fn func(message uint64, data []byte, read int64) error) error {
	return s.walk(StreamFeed, from, func(r *record, at place) error {
		if r.subject != SubjectFeed {
			return fmt.Errorf("%w: %s at byte %d: subject %q is not the feed's", ErrStored, at.path, at.offset, r.subject)
		}
		return fn(r.sequence, r.data, at.read)
	})
}

// block is one file of a stream. The server fills them in the order of their
// numbers, up to 8 MiB each.
type block struct {
	number int
	path   string
	size   int64
	// first is the sequence of its first message, 0 where that is not known.
	first uint64
}

// maxBlock bounds what is read at once.
const maxBlock = 64 << 20

// blocks lists the files of a stream in their order.
func (s *Streams) blocks(stream string) ([]block, error) {
	dir := filepath.Join(s.dir, stream, "msgs")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read the files of stream %s: %w; run this as the centre's user", stream, err)
	}
	var all []block
	for _, e := range entries {
		digits, isBlock := strings.CutSuffix(e.Name(), ".blk")
		number, err := strconv.Atoi(digits)
		if !isBlock || err != nil {
			continue
		}
		b := block{number: number, path: filepath.Join(dir, e.Name())}
		if err := b.look(); err != nil {
			return nil, err
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(x, y block) int { return x.number - y.number })
	return all, nil
}

// look fills size and first.
func (b *block) look() error {
	f, err := os.Open(b.path)
	if err != nil {
		return fmt.Errorf("read a file of a stream: %w; run this as the centre's user", err)
	}
	defer f.Close() // nothing was written
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read a file of a stream: %w; check the disk", err)
	}
	b.size = info.Size()
	var head [recordHead]byte
	if n, err := f.ReadAt(head[:], 0); err == nil && n == recordHead {
		if sequence := binary.LittleEndian.Uint64(head[4:]); sequence&recordGone == 0 {
			b.first = sequence
		}
	}
	return nil
}

// place says where a message lies.
type place struct {
	path   string
	offset int64
	size   int
	read   int64 // bytes of the stream up to its end
}

// walk calls fn for each message of a stream, from the file that holds sequence
// from on, and for none that the server has marked as gone.
func (s *Streams) walk(stream string, from uint64, fn func(*record, place) error) error {
	blocks, err := s.blocks(stream)
	if err != nil {
		return err
	}
	var before int64
	for i, b := range blocks {
		if i+1 < len(blocks) && blocks[i+1].first != 0 && blocks[i+1].first <= from {
			before += b.size
			continue
		}
		if b.size > maxBlock {
			return fmt.Errorf("%w: %s has %d bytes, more than a server writes", ErrStored, b.path, b.size)
		}
		data, err := os.ReadFile(b.path)
		if err != nil {
			return fmt.Errorf("read a file of stream %s: %w; check the disk", stream, err)
		}
		if err := walkBlock(b.path, data, before, fn); err != nil {
			return err
		}
		before += b.size
	}
	return nil
}

func walkBlock(path string, data []byte, before int64, fn func(*record, place) error) error {
	last := uint64(0)
	for offset := 0; offset < len(data); {
		r, size, err := readRecord(data[offset:])
		if err != nil {
			return fmt.Errorf("%w: %s at byte %d, after message %d: %w; a centre that was killed may leave that at the end of its last file, and drops it when it starts", ErrStored, path, offset, last, err)
		}
		at := place{path: path, offset: int64(offset), size: size, read: before + int64(offset+size)}
		offset += size
		if r.gone {
			continue
		}
		last = r.sequence
		if err := fn(&r, at); err != nil {
			return err
		}
	}
	return nil
}

// record is one message as the server stores it.
type record struct {
	sequence uint64
	subject  string
	data     []byte
	// gone: it is the mark of a message that was deleted.
	gone bool
}

// How nats-server writes a message (filestore.go, writeMsgRecordLocked; version
// 2.15), little-endian: length of all in 4 bytes, whose first bit says that there
// are headers; sequence in 8, whose first two bits mark deleted messages; time in
// 8; length of the subject in 2; the subject; with headers their length in 4 and
// they; the data; a checksum in 8, which is not looked at, because what the data
// are signed with says more.
const (
	recordHead     = 4 + 8 + 8 + 2
	recordChecksum = 8
	recordHeaders  = 1 << 31
	recordGone     = 3 << 62
)

// readRecord reads the message at the start of b and returns its size.
func readRecord(b []byte) (record, int, error) {
	if len(b) < recordHead+recordChecksum {
		return record{}, 0, fmt.Errorf("%d bytes, too few for a message", len(b))
	}
	length, sequence := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint64(b[4:])
	size := int(length &^ recordHeaders)
	if size < recordHead+recordChecksum || size > len(b) {
		return record{}, 0, fmt.Errorf("a message of %d bytes, %d are there", size, len(b))
	}
	body := b[recordHead : size-recordChecksum]
	subject := int(binary.LittleEndian.Uint16(b[20:]))
	if subject > len(body) {
		return record{}, 0, errors.New("a message that is shorter than its subject")
	}
	r := record{sequence: sequence &^ recordGone, subject: string(body[:subject]), gone: sequence&recordGone != 0}
	body = body[subject:]
	if length&recordHeaders != 0 {
		if len(body) < 4 || uint64(binary.LittleEndian.Uint32(body)) > uint64(len(body)-4) {
			return record{}, 0, errors.New("a message that is shorter than its headers")
		}
		body = body[4+binary.LittleEndian.Uint32(body):]
	}
	r.data = body
	return r, size, nil
}
