package replication

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"gateline/gateway"
)

var (
	// ErrEntry is wrapped by every error about the form of an entry. Such an
	// error shows no token and no record.
	ErrEntry = errors.New("bad feed entry")
	// ErrVersion is wrapped, beside ErrEntry, where an entry has a version of
	// the format that this program does not read.
	ErrVersion = errors.New("unknown version")
)

// Entry is one message of the feed: a batch of record changes, a new schedule
// of policy documents, the next key of the feed, the checkpoint of a shard, any of
// these together, or none (a heartbeat); or the order to erase every record.
type Entry struct {
	// Epoch identifies one life of the feed, Number the entry's place in it,
	// from 1. Publisher.Publish assigns both.
	Epoch, Number uint64
	// Time is the centre's time in Unix microseconds, above zero. It grows
	// with every entry of an epoch; Publisher.Publish sees to that.
	Time int64
	// Source is the sequence of the last ledger message the entry covers; a
	// restarted publisher goes on from there. The feed gives it no meaning.
	Source uint64
	// Before is the hash of the entry before; zero for entry 1 and for no
	// other. Publisher.Publish assigns it.
	Before gateway.Hash
	// Changes has at most gateway.MaxChanges elements, at most one per token.
	Changes []gateway.Change
	// Schedule replaces the policy documents a box holds; nil = unchanged.
	Schedule *gateway.Schedule
	// NextKey signs every entry after this one, and the key that signs this one
	// none; zero = the key stays.
	NextKey gateway.FeedKey
	// Checkpoint is the sum of a shard right before this entry; nil = none.
	// Publisher.Publish assigns it.
	Checkpoint *gateway.Checkpoint
	// Purge ends the purpose of the records: every one is to be erased (IMP-10).
	// Then there are neither changes nor a checkpoint. Ordered is the instant of that
	// order, in Unix microseconds: it grows with every order, and stays the same where
	// the feed is written anew under another epoch. Publisher.Publish takes Time where
	// it is 0.
	Purge   bool
	Ordered int64
}

// Signed is an entry as it stands in the feed. Nothing but Verify says that it
// is genuine.
type Signed struct {
	Entry
	// Signer is the id of the key that the entry names as its signer's.
	Signer gateway.FeedKeyID
	// Hash is that of all the entry's bytes: what the next one has as Before.
	Hash gateway.Hash
	// bytes are those of the entry, the signature last.
	bytes []byte
}

// entryVersion is the first byte of an entry. Version 1 had neither hash nor
// signature.
const entryVersion = 2

// Sections an entry may have, one bit each in its second byte.
const (
	sectionChanges    = 1 << 0
	sectionSchedule   = 1 << 1
	sectionKey        = 1 << 2
	sectionCheckpoint = 1 << 3
	sectionPurge      = 1 << 4
	sectionsKnown     = sectionChanges | sectionSchedule | sectionKey | sectionCheckpoint | sectionPurge
)

const (
	headerSize = 2 + 4*8 + sha256.Size
	// trailerSize is that of the signer's id and the signature.
	trailerSize = 8 + ed25519.SignatureSize
	// checkpointSize is that of a shard's id, count and hash.
	checkpointSize = 2 + 4 + sha256.Size
	// orderedSize is that of the instant of a purge.
	orderedSize = 8
	// MaxEntrySize is the largest size of an encoded entry in bytes.
	MaxEntrySize = headerSize + maxChangesSize + 4 + gateway.MaxScheduleSize + ed25519.PublicKeySize + checkpointSize + trailerSize
)

// signatureDomain stands before an entry's bytes where they are signed, so that
// a signature over anything else the key may ever sign is none over an entry.
const signatureDomain = "gateline feed entry 2\x00"

// signer signs with one key.
type signer struct {
	public gateway.FeedKey
	id     gateway.FeedKeyID
	key    ed25519.PrivateKey
}

func newSigner(secret gateway.FeedSecret) signer {
	public := secret.Public()
	return signer{public: public, id: public.ID(), key: secret.Signer()}
}

// sign returns the encoded entry, signed (the format is in DESIGN.md). Changes
// may come in any order; they are written in the order of their tokens and e is
// left as it is. A second change of the same token, a field out of its range or
// a schedule that does not validate is refused with an error that wraps
// ErrEntry.
func (s *signer) sign(e *Entry) ([]byte, error) {
	b, err := appendSections([]byte(signatureDomain), e)
	if err != nil {
		return nil, err
	}
	return s.seal(b, len(signatureDomain)), nil
}

// seal appends the id of the key and the signature over all of b, whose first
// domain bytes only are signed, and returns what follows these.
func (s *signer) seal(b []byte, domain int) []byte {
	b = append(b, s.id[:]...)
	return append(b, ed25519.Sign(s.key, b)...)[domain:]
}

// appendSections appends the entry without its trailer.
func appendSections(b []byte, e *Entry) ([]byte, error) {
	if err := e.checkHeader(); err != nil {
		return b, err
	}
	b = append(b, entryVersion, e.sections())
	b = binary.LittleEndian.AppendUint64(b, e.Epoch)
	b = binary.LittleEndian.AppendUint64(b, e.Number)
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Time))
	b = binary.LittleEndian.AppendUint64(b, e.Source)
	b = append(b, e.Before[:]...)
	b, err := appendChanges(b, e.Changes)
	if err == nil {
		b, err = appendSchedule(b, e.Schedule)
	}
	if err == nil && e.NextKey != (gateway.FeedKey{}) {
		b = append(b, e.NextKey[:]...)
	}
	if err == nil && e.Checkpoint != nil {
		b, err = appendCheckpoint(b, e.Checkpoint)
	}
	if err == nil && e.Purge {
		b = binary.LittleEndian.AppendUint64(b, uint64(e.Ordered))
	}
	return b, err
}

func appendCheckpoint(b []byte, c *gateway.Checkpoint) ([]byte, error) {
	if err := checkCheckpoint(c); err != nil {
		return b, err
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(c.Shard))
	b = binary.LittleEndian.AppendUint32(b, c.Sum.Records)
	return append(b, c.Sum.Hash[:]...), nil
}

func checkCheckpoint(c *gateway.Checkpoint) error {
	if c.Shard >= gateway.Shards || c.Sum.Records > gateway.MaxShardRecords {
		return fmt.Errorf("%w: checkpoint of shard %d with %d records, not below %d and at most %d", ErrEntry, c.Shard, c.Sum.Records, gateway.Shards, gateway.MaxShardRecords)
	}
	return nil
}

func (e *Entry) checkHeader() error {
	if e.Epoch == 0 || e.Number == 0 || e.Time <= 0 {
		return fmt.Errorf("%w: epoch, number or time is not above zero", ErrEntry)
	}
	if e.Purge && (len(e.Changes) > 0 || e.Checkpoint != nil) {
		return fmt.Errorf("%w: an entry that purges has neither changes nor a checkpoint", ErrEntry)
	}
	if e.Purge != (e.Ordered > 0) || e.Ordered < 0 {
		return fmt.Errorf("%w: an entry that purges, and no other, says when that was ordered", ErrEntry)
	}
	if (e.Number == 1) != (e.Before == gateway.Hash{}) {
		return fmt.Errorf("%w: every entry but the first has a hash of the one before", ErrEntry)
	}
	return nil
}

func (e *Entry) sections() byte {
	var sections byte
	if len(e.Changes) > 0 {
		sections |= sectionChanges
	}
	if e.Schedule != nil {
		sections |= sectionSchedule
	}
	if e.NextKey != (gateway.FeedKey{}) {
		sections |= sectionKey
	}
	if e.Checkpoint != nil {
		sections |= sectionCheckpoint
	}
	if e.Purge {
		sections |= sectionPurge
	}
	return sections
}

func appendSchedule(b []byte, s *gateway.Schedule) ([]byte, error) {
	if s == nil {
		return b, nil
	}
	text, err := gateway.EncodeSchedule(s)
	if err == nil {
		// What a box would refuse must not get into the feed, where it would
		// stop every box; so it is read back as a box reads it.
		_, err = decodeSchedule(text)
	}
	if err != nil {
		return b, fmt.Errorf("%w: schedule: %w", ErrEntry, err)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(text)))
	return append(b, text...), nil
}

// DecodeEntry reads an encoded entry and does not look at its signature: that is
// for Verify. It accepts nothing that is not written when an entry is signed:
// what it accepts encodes to the same bytes. The error wraps ErrEntry. The
// result holds on to b, which must not change.
func DecodeEntry(b []byte) (Signed, error) {
	if len(b) > 0 && b[0] != entryVersion {
		return Signed{}, fmt.Errorf("%w: %w %d of its format, this program reads version %d", ErrEntry, ErrVersion, b[0], entryVersion)
	}
	if len(b) < headerSize+trailerSize {
		return Signed{}, fmt.Errorf("%w: %d bytes, the shortest has %d", ErrEntry, len(b), headerSize+trailerSize)
	}
	s := Signed{
		Entry: Entry{
			Epoch:  binary.LittleEndian.Uint64(b[2:]),
			Number: binary.LittleEndian.Uint64(b[10:]),
			Time:   int64(binary.LittleEndian.Uint64(b[18:])),
			Source: binary.LittleEndian.Uint64(b[26:]),
			Before: gateway.Hash(b[34:headerSize]),
		},
		Signer: gateway.FeedKeyID(b[len(b)-trailerSize:]),
		Hash:   sha256.Sum256(b),
		bytes:  b,
	}
	err := s.checkHeader()
	if err == nil {
		err = s.readSections(b[1], b[headerSize:len(b)-trailerSize])
	}
	if err != nil {
		return Signed{}, err
	}
	return s, nil
}

func (e *Entry) readSections(sections byte, b []byte) (err error) {
	if sections&^sectionsKnown != 0 {
		return fmt.Errorf("%w: unknown sections %#02x", ErrEntry, sections)
	}
	if e.Purge = sections&sectionPurge != 0; e.Purge && sections&(sectionChanges|sectionCheckpoint) != 0 {
		return fmt.Errorf("%w: it purges and has changes or a checkpoint", ErrEntry)
	}
	if sections&sectionChanges != 0 {
		e.Changes, b, err = readChanges(b)
	}
	if err == nil && sections&sectionSchedule != 0 {
		e.Schedule, b, err = readSchedule(b)
	}
	if err == nil && sections&sectionKey != 0 {
		e.NextKey, b, err = readKey(b)
	}
	if err == nil && sections&sectionCheckpoint != 0 {
		e.Checkpoint, b, err = readCheckpoint(b)
	}
	if err == nil && e.Purge {
		e.Ordered, b, err = readOrdered(b)
	}
	if err == nil && len(b) != 0 {
		err = fmt.Errorf("%w: %d bytes after the last section", ErrEntry, len(b))
	}
	return err
}

func readSchedule(b []byte) (*gateway.Schedule, []byte, error) {
	if len(b) < 4 {
		return nil, nil, fmt.Errorf("%w: cut short before the schedule", ErrEntry)
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	b = b[4:]
	if n > gateway.MaxScheduleSize || n > uint64(len(b)) {
		return nil, nil, fmt.Errorf("%w: schedule of %d bytes, %d left, at most %d allowed", ErrEntry, n, len(b), gateway.MaxScheduleSize)
	}
	s, err := decodeSchedule(b[:n])
	if err != nil {
		return nil, nil, fmt.Errorf("%w: schedule: %w", ErrEntry, err)
	}
	return s, b[n:], nil
}

// decodeSchedule reads the one form that EncodeSchedule writes.
func decodeSchedule(text []byte) (*gateway.Schedule, error) {
	s, err := gateway.DecodeSchedule(text)
	if err != nil {
		return nil, err
	}
	again, err := gateway.EncodeSchedule(s)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, text) {
		return nil, errors.New("not in its canonical form")
	}
	return s, nil
}

func readKey(b []byte) (key gateway.FeedKey, rest []byte, err error) {
	if len(b) < len(key) {
		return key, nil, fmt.Errorf("%w: cut short before the next key", ErrEntry)
	}
	if key = gateway.FeedKey(b[:len(key)]); key == (gateway.FeedKey{}) {
		return key, nil, fmt.Errorf("%w: the next key is all zero", ErrEntry)
	}
	return key, b[len(key):], nil
}

func readCheckpoint(b []byte) (*gateway.Checkpoint, []byte, error) {
	if len(b) < checkpointSize {
		return nil, nil, fmt.Errorf("%w: cut short before the checkpoint", ErrEntry)
	}
	c := &gateway.Checkpoint{Shard: gateway.ShardID(binary.LittleEndian.Uint16(b))}
	c.Sum = gateway.ShardSum{Records: binary.LittleEndian.Uint32(b[2:]), Hash: gateway.Hash(b[6:checkpointSize])}
	return c, b[checkpointSize:], checkCheckpoint(c)
}

func readOrdered(b []byte) (int64, []byte, error) {
	if len(b) < orderedSize {
		return 0, nil, fmt.Errorf("%w: cut short before the instant of the purge", ErrEntry)
	}
	at := int64(binary.LittleEndian.Uint64(b))
	if at <= 0 {
		return 0, nil, fmt.Errorf("%w: the instant of the purge is not above zero", ErrEntry)
	}
	return at, b[orderedSize:], nil
}

// Verify reports whether the entry was signed, byte for byte, with the secret
// that belongs to key.
func (s *Signed) Verify(key gateway.FeedKey) bool { return sealed(s.bytes, signatureDomain, key) }

// sealed reports whether b ends with the signature of its other bytes, after
// domain, made with the secret that belongs to key.
func sealed(b []byte, domain string, key gateway.FeedKey) bool {
	end := len(b) - ed25519.SignatureSize
	message := make([]byte, 0, len(domain)+end)
	message = append(append(message, domain...), b[:end]...)
	return key.Verify(message, b[end:])
}
