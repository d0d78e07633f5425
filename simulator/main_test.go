package simulator

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what ought to happen soon.
const patience = 60 * time.Second

// soon returns a deadline that is far enough on any machine.
func soon() time.Time { return time.Now().Add(patience) }
