//go:build cgo

package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/mattn/go-sqlite3"
)

func sqlitePeer() peer {
	return peer{
		name:  "SQLite",
		about: "INTEGER PRIMARY KEY, prepared statements on the driver's own connections, WAL, synchronous=FULL, mapped; loaded in order in one transaction",
		load:  loadSQLite,
		open:  openSQLite,
	}
}

// rowOf is a token as SQLite's signed integers have it, in the same order.
func rowOf(token uint64) int64 { return int64(token ^ 1<<63) }

// connectSQLite opens a connection of the driver's, without the pool of
// database/sql, which costs more than the lookup.
func connectSQLite(dir, journal, synchronous string) (*sqlite3.SQLiteConn, error) {
	c, err := new(sqlite3.SQLiteDriver).Open("file:" + filepath.Join(dir, "db") + "?_mutex=no&_busy_timeout=10000")
	if err != nil {
		return nil, err
	}
	conn, ours := c.(*sqlite3.SQLiteConn)
	if !ours {
		return nil, errors.Join(fmt.Errorf("the SQLite driver opened a %T; look for what changed in it", c), c.Close())
	}
	setup := "PRAGMA journal_mode=" + journal + "; PRAGMA synchronous=" + synchronous + "; PRAGMA mmap_size=1099511627776; PRAGMA cache_size=-65536"
	if _, err := conn.Exec(setup, nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// prepareSQLite returns a statement of the driver's own type, which has all its
// methods.
func prepareSQLite(c *sqlite3.SQLiteConn, text string) (*sqlite3.SQLiteStmt, error) {
	s, err := c.Prepare(text)
	if err != nil {
		return nil, err
	}
	stmt, ours := s.(*sqlite3.SQLiteStmt)
	if !ours {
		return nil, errors.Join(fmt.Errorf("the SQLite driver prepared a %T; look for what changed in it", s), s.Close())
	}
	return stmt, nil
}

// arguments is room for so many arguments of a statement.
func arguments(n int) []driver.NamedValue {
	args := make([]driver.NamedValue, n)
	for i := range args {
		args[i].Ordinal = i + 1
	}
	return args
}

// syncFile brings what was written to a file to the disk.
func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

const sqlitePut = "INSERT OR REPLACE INTO r VALUES (?, ?)"

func loadSQLite(dir string, _ int, s *source) (err error) {
	c, err := connectSQLite(dir, "OFF", "OFF")
	if err != nil {
		return err
	}
	if _, err := c.Exec("CREATE TABLE r (token INTEGER PRIMARY KEY, value INTEGER); BEGIN", nil); err != nil {
		return errors.Join(err, c.Close())
	}
	put, err := prepareSQLite(c, sqlitePut)
	if err != nil {
		return errors.Join(err, c.Close())
	}
	args := arguments(2)
	for it, ok := s.next(); ok && err == nil; it, ok = s.next() {
		args[0].Value, args[1].Value = rowOf(it.token), int64(it.value)
		_, err = put.ExecContext(context.Background(), args)
	}
	if err == nil {
		_, err = c.Exec("COMMIT", nil)
	}
	if err := errors.Join(err, put.Close(), c.Close()); err != nil {
		return err
	}
	return syncFile(filepath.Join(dir, "db")) // as the load was without
}

// sqliteStore reads and writes over a connection each, as WAL has it.
type sqliteStore struct {
	reader, writer *sqlite3.SQLiteConn
	get, put       *sqlite3.SQLiteStmt
	key            []driver.NamedValue // of the reader
	pair           []driver.NamedValue // of the writer
	row            []driver.Value      // of the reader
}

func openSQLite(dir string, _ int) (_ store, err error) {
	s := &sqliteStore{key: arguments(1), pair: arguments(2), row: make([]driver.Value, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	for _, c := range []**sqlite3.SQLiteConn{&s.reader, &s.writer} {
		if *c, err = connectSQLite(dir, "WAL", "FULL"); err != nil {
			return nil, err
		}
	}
	if s.get, err = prepareSQLite(s.reader, "SELECT value FROM r WHERE token = ?"); err != nil {
		return nil, err
	}
	if s.put, err = prepareSQLite(s.writer, sqlitePut); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *sqliteStore) lookup(token uint64) (value uint64, found bool, err error) {
	s.key[0].Value = rowOf(token)
	rows, err := s.get.QueryContext(context.Background(), s.key)
	if err != nil {
		return 0, false, err
	}
	switch err = rows.Next(s.row); {
	case errors.Is(err, io.EOF):
		err = nil
	case err == nil:
		var n int64
		if n, found = s.row[0].(int64); !found {
			err = fmt.Errorf("SQLite gave a %T for a value; look into its adapter", s.row[0])
		}
		value = uint64(n)
	}
	return value, found, errors.Join(err, rows.Close())
}

func (s *sqliteStore) update(items []item) error {
	if _, err := s.writer.Exec("BEGIN IMMEDIATE", nil); err != nil {
		return err
	}
	for _, it := range items {
		s.pair[0].Value, s.pair[1].Value = rowOf(it.token), int64(it.value)
		if _, err := s.put.ExecContext(context.Background(), s.pair); err != nil {
			return err
		}
	}
	_, err := s.writer.Exec("COMMIT", nil)
	return err
}

func (s *sqliteStore) close() error {
	var errs []error
	for _, stmt := range []*sqlite3.SQLiteStmt{s.get, s.put} {
		if stmt != nil {
			errs = append(errs, stmt.Close())
		}
	}
	for _, c := range []*sqlite3.SQLiteConn{s.reader, s.writer} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
