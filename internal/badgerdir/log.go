package badgerdir

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Logger passes Badger's warnings and errors on to log. Some of them show keys
// or values, so an argument that is not known to be harmless is hidden.
func Logger(log *slog.Logger) badger.Logger { return logger{log} }

type logger struct{ log *slog.Logger }

func (l logger) Errorf(format string, args ...any) {
	l.log.Error("badger: " + message(format, args))
}

func (l logger) Warningf(format string, args ...any) {
	l.log.Warn("badger: " + message(format, args))
}

func (logger) Infof(string, ...any)  {}
func (logger) Debugf(string, ...any) {}

// hidden stands for an argument that is not shown, whatever the verb.
type hidden struct{}

func (hidden) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("hidden")) }

func message(format string, args []any) string {
	shown := make([]any, len(args))
	for i, a := range args {
		switch a.(type) {
		case error, string, int, int64, uint32, uint64, time.Duration:
			shown[i] = a
		default:
			shown[i] = hidden{}
		}
	}
	return strings.TrimSpace(fmt.Sprintf(format, shown...))
}
