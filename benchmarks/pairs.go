package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// pairSize is a token and a value in a file of pairs.
const pairSize = 16

// pairs writes tokens and values to a file.
type pairs struct {
	f *os.File
	w *bufio.Writer
}

func createPairs(path string) (*pairs, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write the records: %w; choose another folder with --dir", err)
	}
	return &pairs{f: f, w: bufio.NewWriterSize(f, 1<<20)}, nil
}

func (p *pairs) add(it item) error {
	var b [pairSize]byte
	binary.LittleEndian.PutUint64(b[:], it.token)
	binary.LittleEndian.PutUint64(b[8:], it.value)
	if _, err := p.w.Write(b[:]); err != nil {
		return fmt.Errorf("write the records: %w; choose another folder with --dir", err)
	}
	return nil
}

func (p *pairs) close() error {
	if err := errors.Join(p.w.Flush(), p.f.Sync(), p.f.Close()); err != nil {
		return fmt.Errorf("write the records: %w; choose another folder with --dir", err)
	}
	return nil
}
