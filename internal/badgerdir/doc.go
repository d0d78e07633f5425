// Package badgerdir opens a Badger store in a directory that may have been
// damaged, or left by a kill or a power cut, and tells what is wrong with it
// where Badger would panic on a goroutine of its own or not notice.
//
// Before Badger touches anything, Open guarantees that
//
//   - no log of no length is left, which a kill may leave and beside which Badger
//     refuses to open;
//   - tables and no manifest is an error, where Badger would take all of them for
//     leftovers and delete them;
//   - every checksum of every table that the manifest names has been read and is
//     right, so that a damaged block is found now and not by a later reader;
//   - a panic on the calling goroutine comes back as an error that shows nothing of
//     what is stored.
//
// Nothing is wiped and nothing is mended. Whoever opens a directory sees to the
// lock, the owner and the free space himself, and says in the error which of his
// stores it is and what to do next.
package badgerdir
