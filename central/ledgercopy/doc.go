// Package ledgercopy is the centre's second copy of the ledger: every message of
// the stream LEDGER under its number, in a Badger store on the centre's own
// disk, which has nothing of JetStream in it. A start reads the state from it, and
// a ledger that was lost or damaged is written anew from it.
//
// The writer appends to it what the stream has acknowledged, so it never holds
// more than the ledger. A chain of hashes over all messages shows what was
// changed or lost in it: chain(n) is SHA-256 over chain(n-1) and message n, and the
// chain before the first message is 32 zero bytes. The first has number 1, or, in a
// ledger that was compacted, the number after the last that it had before.
//
// Keys and values, numbers big-endian:
//
//	h                    format (1 byte), key check (8), first and last number (8 each), chain(last) (32)
//	m <number, 8 bytes>  the message
//	c <number, 8 bytes>  chain(number), for each hundredth
//
// One transaction writes messages, chain and head, synced, so that a kill or a
// power cut leaves the copy at one of its earlier ends.
package ledgercopy
