//go:build cgo

package main

/*
#cgo linux LDFLAGS: -ldl
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// The few functions of LMDB 0.9 that are needed, found when the program runs, so
// that it builds where LMDB is not installed and says so in words. Names, types
// and numbers are those of lmdb.h.
typedef struct { size_t size; void *data; } val;
typedef struct { uint64_t token, value; } item;
typedef struct { uint64_t value; int rc; } answer;

enum { NOSYNC = 0x10000, RDONLY = 0x20000, NOTLS = 0x200000, NORDAHEAD = 0x800000 };
enum { INTEGERKEY = 0x08, CREATE = 0x40000, APPEND = 0x20000, NOTFOUND = -30798 };

typedef struct {
	void *library, *env, *reader;
	unsigned dbi;
	int (*env_create)(void **);
	int (*env_set_mapsize)(void *, size_t);
	int (*env_open)(void *, const char *, unsigned, unsigned);
	int (*env_sync)(void *, int);
	void (*env_close)(void *);
	int (*txn_begin)(void *, void *, unsigned, void **);
	int (*txn_commit)(void *);
	void (*txn_abort)(void *);
	void (*txn_reset)(void *);
	int (*txn_renew)(void *);
	int (*dbi_open)(void *, const char *, unsigned, unsigned *);
	int (*get)(void *, unsigned, val *, val *);
	int (*put)(void *, unsigned, val *, val *, unsigned);
	char *(*explain)(int);
} lmdb;

// lmdb_find returns 0 if the library or one of the functions is not there.
static int lmdb_find(lmdb *l) {
	l->library = dlopen("liblmdb.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!l->library) return 0;
	struct { const char *name; void *place; } want[] = {
		{"mdb_env_create", &l->env_create}, {"mdb_env_set_mapsize", &l->env_set_mapsize},
		{"mdb_env_open", &l->env_open}, {"mdb_env_sync", &l->env_sync}, {"mdb_env_close", &l->env_close},
		{"mdb_txn_begin", &l->txn_begin}, {"mdb_txn_commit", &l->txn_commit}, {"mdb_txn_abort", &l->txn_abort},
		{"mdb_txn_reset", &l->txn_reset}, {"mdb_txn_renew", &l->txn_renew}, {"mdb_dbi_open", &l->dbi_open},
		{"mdb_get", &l->get}, {"mdb_put", &l->put}, {"mdb_strerror", &l->explain},
	};
	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		void *f = dlsym(l->library, want[i].name);
		if (!f) { dlclose(l->library); return 0; }
		*(void **)want[i].place = f;
	}
	return 1;
}

// lmdb_open opens or makes the database in a folder, without syncs for a load.
static int lmdb_open(lmdb *l, const char *dir, size_t most, int load) {
	void *txn;
	int rc = l->env_create(&l->env);
	if (rc) return rc;
	rc = l->env_set_mapsize(l->env, most);
	if (!rc) rc = l->env_open(l->env, dir, NOTLS | NORDAHEAD | (load ? NOSYNC : 0), 0600);
	if (!rc) rc = l->txn_begin(l->env, NULL, 0, &txn);
	if (!rc) {
		rc = l->dbi_open(txn, NULL, CREATE | INTEGERKEY, &l->dbi);
		if (rc) l->txn_abort(txn); else rc = l->txn_commit(txn);
	}
	if (!rc) rc = l->txn_begin(l->env, NULL, RDONLY, &l->reader);
	if (!rc) l->txn_reset(l->reader);
	if (rc) l->env_close(l->env);
	return rc;
}

// lmdb_put writes a batch in one transaction.
static int lmdb_put(lmdb *l, const item *items, int n, int append) {
	void *txn;
	int rc = l->txn_begin(l->env, NULL, 0, &txn);
	for (int i = 0; !rc && i < n; i++) {
		val k = {8, (void *)&items[i].token}, v = {8, (void *)&items[i].value};
		rc = l->put(txn, l->dbi, &k, &v, append ? APPEND : 0);
		if (rc) l->txn_abort(txn);
	}
	return rc ? rc : l->txn_commit(txn);
}

// lmdb_get reads the newest value. A reader that is renewed takes no lock and
// allocates nothing.
static answer lmdb_get(lmdb *l, uint64_t token) {
	answer a = {0, l->txn_renew(l->reader)};
	if (a.rc) return a;
	val k = {8, &token}, v;
	a.rc = l->get(l->reader, l->dbi, &k, &v);
	if (!a.rc) a.value = *(uint64_t *)v.data;
	l->txn_reset(l->reader);
	return a;
}

static int lmdb_sync(lmdb *l) { return l->env_sync(l->env, 1); }
static const char *lmdb_explain(lmdb *l, int rc) { return l->explain(rc); }
static void lmdb_close(lmdb *l) {
	l->txn_abort(l->reader);
	l->env_close(l->env);
}
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

func lmdbPeer() peer {
	return peer{
		name:    "LMDB",
		about:   "integer keys, a reader renewed for each lookup, no read-ahead, synced; all of a lookup or a batch in one call of C; loaded by appending",
		missing: missingLMDB,
		load:    loadLMDB,
		open:    openLMDB,
	}
}

func missingLMDB() string {
	if _, err := findLMDB(); err != nil {
		return err.Error()
	}
	return ""
}

// lmdbStore's memory is C's, because LMDB keeps pointers to it.
type lmdbStore struct{ l *C.lmdb }

func findLMDB() (*C.lmdb, error) {
	l := (*C.lmdb)(C.calloc(1, C.sizeof_lmdb))
	if C.lmdb_find(l) == 0 {
		C.free(unsafe.Pointer(l))
		return nil, errors.New("liblmdb.so.0 is not installed; Debian has it in liblmdb0 and liblmdb-dev")
	}
	return l, nil
}

// lmdbRoom is the most that the map may grow to; only what is used takes space.
func lmdbRoom(records int) C.size_t { return C.size_t(records)*128 + 1<<30 }

func openLMDBFor(dir string, records int, load C.int) (*lmdbStore, error) {
	l, err := findLMDB()
	if err != nil {
		return nil, err
	}
	path := C.CString(dir)
	defer C.free(unsafe.Pointer(path))
	s := &lmdbStore{l}
	if err := s.fault("open", C.lmdb_open(l, path, lmdbRoom(records), load)); err != nil {
		return nil, err
	}
	return s, nil
}

func openLMDB(dir string, records int) (store, error) { return openLMDBFor(dir, records, 0) }

// lmdbLoad is how many records a transaction of the load has.
const lmdbLoad = 100_000

func loadLMDB(dir string, records int, s *source) (err error) {
	l, err := openLMDBFor(dir, records, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	items := make([]item, 0, lmdbLoad)
	for more := true; more; {
		items = items[:0]
		for len(items) < lmdbLoad {
			var it item
			if it, more = s.next(); !more {
				break
			}
			items = append(items, it)
		}
		if err := l.put(items, 1); err != nil {
			return err
		}
	}
	return l.fault("sync", C.lmdb_sync(l.l))
}

func (s *lmdbStore) lookup(token uint64) (uint64, bool, error) {
	switch a := C.lmdb_get(s.l, C.uint64_t(token)); a.rc {
	case 0:
		return uint64(a.value), true, nil
	case C.NOTFOUND:
		return 0, false, nil
	default:
		return 0, false, s.fault("get", a.rc)
	}
}

func (s *lmdbStore) put(items []item, appended C.int) error {
	first := (*C.item)(unsafe.Pointer(unsafe.SliceData(items)))
	return s.fault("put", C.lmdb_put(s.l, first, C.int(len(items)), appended))
}

func (s *lmdbStore) update(items []item) error { return s.put(items, 0) }

func (s *lmdbStore) close() error {
	C.lmdb_close(s.l)
	return nil
}

// fault returns the error that LMDB's number means, nil for none.
func (s *lmdbStore) fault(what string, rc C.int) error {
	if rc == 0 {
		return nil
	}
	return fmt.Errorf("LMDB %s: %s", what, C.GoString(C.lmdb_explain(s.l, rc)))
}
