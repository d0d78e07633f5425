package replication

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"gateline/gateway"
)

// ErrShard is wrapped by every error about the form of a snapshot or a head.
// Such an error shows no token and no record.
var ErrShard = errors.New("bad shard message")

// Snapshot is one shard as the stream of shards keeps it. Nothing but Verify
// says that it is genuine.
type Snapshot struct {
	// Shard is all records of the shard, and the place in the feed they are
	// from.
	Shard gateway.Shard
	// ScheduleAt is the number of the last entry up to that place that had a
	// schedule; 0 = none had.
	ScheduleAt uint64
	// Sum is that of the records. Decoding has compared it.
	Sum gateway.ShardSum
	// Signer is the id of the key that the snapshot names as its signer's.
	Signer gateway.FeedKeyID
	// bytes are those of the snapshot, the signature last.
	bytes []byte
}

// Head is what a box that starts from shards needs besides them. Nothing but
// Verify says that it is genuine.
type Head struct {
	// At is the place in the feed the head is from.
	At gateway.Position
	// Schedule is the one in force there, set by entry ScheduleAt; nil and 0 =
	// none was set yet.
	Schedule   *gateway.Schedule
	ScheduleAt uint64
	// Complete says that every shard has a snapshot signed with the head's key.
	Complete bool
	// Purge is the last order to erase every record up to At, so that a box which
	// loads shards from after it knows that it has missed it.
	Purge Order
	// Signer and bytes are as in Snapshot.
	Signer gateway.FeedKeyID
	bytes  []byte
}

// Order is an order to erase every record: the entry that purges, and when that was
// ordered (Entry.Ordered). The zero Order is none.
type Order struct {
	Number  uint64
	Ordered int64
}

// orderSize is that of an encoded Order.
const orderSize = 8 + 8

// check refuses an order that is not one of up to entry at.
func (o Order) check(at uint64) error {
	if (o.Number == 0) != (o.Ordered == 0) || o.Number > at || o.Ordered < 0 {
		return fmt.Errorf("%w: its last purge cannot be", ErrShard)
	}
	return nil
}

// Bits of a head's flags.
const (
	headComplete = 1 << 0
	headPurge    = 1 << 1
)

const (
	// shardVersion is the first byte of a snapshot and of a head.
	shardVersion = 1
	// shardDomain is what signatureDomain is for entries.
	shardDomain = "gateline shard message 1\x00"

	// What a message is, its second byte.
	kindSnapshot = 1
	kindHead     = 2

	// standingSize is that of all before what kinds differ in.
	standingSize = 2 + 3*8 + sha256.Size + 8
	// shardTokenBits is the part of a token that its shard does not tell.
	shardTokenBits = tokenBits - 12
	// MaxSnapshotSize is the largest size of an encoded snapshot in bytes: an
	// outcome of its own and 55 bits for each record, see distanceBits.
	MaxSnapshotSize = standingSize + 2 + 4 + 4 + gateway.MaxShardRecords*(1+gateway.RecordSize) +
		gateway.MaxShardRecords*(shardTokenBits+3)/8 + sha256.Size + trailerSize
)

// standing is where in the feed a snapshot or a head was made.
type standing struct {
	at         gateway.Position
	scheduleAt uint64
}

func (s *standing) check() error {
	first := s.at.Number == 0
	if s.at.Epoch == 0 || s.at.Watermark < 0 || first != (s.at.Watermark == 0) || first != (s.at.Hash == gateway.Hash{}) || s.scheduleAt > s.at.Number {
		return fmt.Errorf("%w: its place in the feed cannot be", ErrShard)
	}
	return nil
}

func (s *standing) append(b []byte, kind byte) []byte {
	b = append(b, shardVersion, kind)
	b = binary.LittleEndian.AppendUint64(b, s.at.Epoch)
	b = binary.LittleEndian.AppendUint64(b, s.at.Number)
	b = binary.LittleEndian.AppendUint64(b, uint64(s.at.Watermark))
	b = append(b, s.at.Hash[:]...)
	return binary.LittleEndian.AppendUint64(b, s.scheduleAt)
}

// readStanding reads what all kinds begin with and returns what is between that
// and the trailer.
func readStanding(b []byte, kind byte) (standing, []byte, error) {
	if len(b) > 0 && b[0] != shardVersion {
		return standing{}, nil, fmt.Errorf("%w: %w %d of its format, this program reads version %d", ErrShard, ErrVersion, b[0], shardVersion)
	}
	if len(b) < standingSize+trailerSize || b[1] != kind {
		return standing{}, nil, fmt.Errorf("%w: %d bytes, not a message of kind %d", ErrShard, len(b), kind)
	}
	s := standing{
		at: gateway.Position{
			Epoch:     binary.LittleEndian.Uint64(b[2:]),
			Number:    binary.LittleEndian.Uint64(b[10:]),
			Watermark: int64(binary.LittleEndian.Uint64(b[18:])),
			Hash:      gateway.Hash(b[26:58]),
		},
		scheduleAt: binary.LittleEndian.Uint64(b[58:]),
	}
	return s, b[standingSize : len(b)-trailerSize], s.check()
}

// signSnapshot returns the encoded snapshot, signed (the format is in DESIGN.md),
// and the sum of its records. What breaks a rule of gateway.Shard is refused
// with an error that wraps ErrShard.
func (s *signer) signSnapshot(shard *gateway.Shard, scheduleAt uint64) ([]byte, gateway.ShardSum, error) {
	b, sum, err := appendSnapshot([]byte(shardDomain), shard, scheduleAt)
	if err != nil {
		return nil, sum, err
	}
	return s.seal(b, len(shardDomain)), sum, nil
}

// appendSnapshot appends the snapshot without its trailer.
func appendSnapshot(b []byte, shard *gateway.Shard, scheduleAt uint64) ([]byte, gateway.ShardSum, error) {
	stands := standing{at: shard.At, scheduleAt: scheduleAt}
	if err := stands.check(); err != nil {
		return b, gateway.ShardSum{}, err
	}
	if err := checkShard(shard); err != nil {
		return b, gateway.ShardSum{}, err
	}
	all, distinct, err := outcomesOf(shard.Records)
	if err != nil {
		return b, gateway.ShardSum{}, fmt.Errorf("%w: shard %v: %w", ErrShard, shard.ID, err)
	}
	b = stands.append(b, kindSnapshot)
	b = binary.LittleEndian.AppendUint16(b, uint16(shard.ID))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(shard.Records)))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(distinct)))
	if len(shard.Records) > 0 {
		b = pack(b, shard.Records, all, distinct, shardTokenBits)
	}
	sum := sumOf(shard)
	return append(b, sum.Hash[:]...), sum, nil
}

// checkShard refuses records that are not of the shard, not in order, too many,
// or no records, and numbers that are no shard's.
func checkShard(shard *gateway.Shard) error {
	if shard.ID >= gateway.Shards || len(shard.Records) > gateway.MaxShardRecords {
		return fmt.Errorf("%w: shard %v with %d records, not below %d and at most %d", ErrShard, shard.ID, len(shard.Records), gateway.Shards, gateway.MaxShardRecords)
	}
	if shard.At.Number == 0 && len(shard.Records) > 0 {
		return fmt.Errorf("%w: shard %v has records before the first entry", ErrShard, shard.ID)
	}
	for i := range shard.Records {
		c := &shard.Records[i]
		if c.Delete || gateway.ShardOf(c.Token) != shard.ID || i > 0 && c.Token <= shard.Records[i-1].Token {
			return fmt.Errorf("%w: record %d of shard %v is a deletion, not of this shard, or out of order", ErrShard, i+1, shard.ID)
		}
	}
	return nil
}

func sumOf(shard *gateway.Shard) gateway.ShardSum {
	summer := gateway.NewShardSummer(shard.ID)
	for i := range shard.Records {
		summer.Add(shard.Records[i].Token, shard.Records[i].Record)
	}
	return summer.Sum()
}

// DecodeSnapshot reads an encoded snapshot, compares its sum, and does not look
// at its signature: that is for Verify. What it accepts encodes to the same
// bytes. The error wraps ErrShard. The result holds on to b, which must not
// change.
func DecodeSnapshot(b []byte) (Snapshot, error) {
	stands, body, err := readStanding(b, kindSnapshot)
	if err != nil {
		return Snapshot{}, err
	}
	const fixed = 2 + 4 + 4
	if len(body) < fixed+sha256.Size {
		return Snapshot{}, fmt.Errorf("%w: cut short before the records", ErrShard)
	}
	s := Snapshot{
		Shard:      gateway.Shard{ID: gateway.ShardID(binary.LittleEndian.Uint16(body)), At: stands.at},
		ScheduleAt: stands.scheduleAt,
		Signer:     gateway.FeedKeyID(b[len(b)-trailerSize:]),
		bytes:      b,
	}
	n, m := binary.LittleEndian.Uint32(body[2:]), binary.LittleEndian.Uint32(body[6:])
	if n > gateway.MaxShardRecords || m > n || (n == 0) != (m == 0) {
		return Snapshot{}, fmt.Errorf("%w: %d records with %d outcomes, at most %d and no more outcomes than records", ErrShard, n, m, gateway.MaxShardRecords)
	}
	packed, hash := body[fixed:len(body)-sha256.Size], body[len(body)-sha256.Size:]
	if n > 0 {
		first, _ := s.Shard.ID.Range()
		if s.Shard.Records, packed, err = unpack(packed, int(n), int(m), first, shardTokenBits); err != nil {
			return Snapshot{}, fmt.Errorf("%w: %w", ErrShard, err)
		}
	}
	if len(packed) != 0 {
		return Snapshot{}, fmt.Errorf("%w: %d bytes after the records", ErrShard, len(packed))
	}
	if err := checkShard(&s.Shard); err != nil {
		return Snapshot{}, err
	}
	if s.Sum = sumOf(&s.Shard); s.Sum.Hash != gateway.Hash(hash) {
		return Snapshot{}, fmt.Errorf("%w: shard %v has not the sum it says", ErrShard, s.Shard.ID)
	}
	return s, nil
}

// Verify reports whether the snapshot was signed, byte for byte, with the
// secret that belongs to key.
func (s *Snapshot) Verify(key gateway.FeedKey) bool { return sealed(s.bytes, shardDomain, key) }

// signHead returns the encoded head, signed. The error wraps ErrShard.
func (s *signer) signHead(h *Head) ([]byte, error) {
	b, err := appendHead([]byte(shardDomain), h)
	if err != nil {
		return nil, err
	}
	return s.seal(b, len(shardDomain)), nil
}

// appendHead appends the head without its trailer.
func appendHead(b []byte, h *Head) ([]byte, error) {
	stands := standing{at: h.At, scheduleAt: h.ScheduleAt}
	if err := stands.check(); err != nil {
		return b, err
	}
	if (h.Schedule == nil) != (h.ScheduleAt == 0) {
		return b, fmt.Errorf("%w: a schedule without its place in the feed, or the other way round", ErrShard)
	}
	if err := h.Purge.check(h.At.Number); err != nil {
		return b, err
	}
	b = stands.append(b, kindHead)
	var flags byte
	if h.Complete {
		flags |= headComplete
	}
	if h.Purge != (Order{}) {
		flags |= headPurge
	}
	b, err := appendSchedule(append(b, flags), h.Schedule)
	if err != nil {
		return b, fmt.Errorf("%w: %w", ErrShard, err)
	}
	if h.Purge != (Order{}) {
		b = binary.LittleEndian.AppendUint64(b, h.Purge.Number)
		b = binary.LittleEndian.AppendUint64(b, uint64(h.Purge.Ordered))
	}
	return b, nil
}

// DecodeHead is DecodeSnapshot for a head.
func DecodeHead(b []byte) (Head, error) {
	stands, body, err := readStanding(b, kindHead)
	if err != nil {
		return Head{}, err
	}
	if len(body) == 0 || body[0]&^(headComplete|headPurge) != 0 {
		return Head{}, fmt.Errorf("%w: a head does not say whether all shards have a snapshot", ErrShard)
	}
	flags := body[0]
	h := Head{At: stands.at, ScheduleAt: stands.scheduleAt, Complete: flags&headComplete != 0, Signer: gateway.FeedKeyID(b[len(b)-trailerSize:]), bytes: b}
	if body = body[1:]; h.ScheduleAt != 0 {
		if h.Schedule, body, err = readSchedule(body); err != nil {
			return Head{}, fmt.Errorf("%w: %w", ErrShard, err)
		}
	}
	if flags&headPurge != 0 {
		if len(body) < orderSize {
			return Head{}, fmt.Errorf("%w: cut short before the last purge", ErrShard)
		}
		h.Purge = Order{Number: binary.LittleEndian.Uint64(body), Ordered: int64(binary.LittleEndian.Uint64(body[8:]))}
		if body = body[orderSize:]; h.Purge == (Order{}) {
			return Head{}, fmt.Errorf("%w: a last purge that is none", ErrShard)
		}
		if err := h.Purge.check(h.At.Number); err != nil {
			return Head{}, err
		}
	}
	if len(body) != 0 {
		return Head{}, fmt.Errorf("%w: %d bytes after the head", ErrShard, len(body))
	}
	return h, nil
}

// Verify reports whether the head was signed, byte for byte, with the secret
// that belongs to key.
func (h *Head) Verify(key gateway.FeedKey) bool { return sealed(h.bytes, shardDomain, key) }
