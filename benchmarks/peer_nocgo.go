//go:build !cgo

package main

// noCgo is why what is written in C is left out.
func noCgo() string {
	return "this program was built without cgo; install a C compiler and set CGO_ENABLED=1"
}

func lmdbPeer() peer { return peer{name: "LMDB", missing: noCgo} }

func sqlitePeer() peer { return peer{name: "SQLite", missing: noCgo} }
