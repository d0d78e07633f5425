package central

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"gateline/internal/logtest"
	"gateline/internal/powercut"
)

var (
	powerCuts = flag.Int("powercuts", 3, "how often TestPowerCut cuts the power")
	powerSeed = flag.Uint64("powerseed", 0, "the seed of TestPowerCut; 0 = another one each time")
)

// powerDir names the environment variable with the directory of the centre whose
// power is cut, powerFirst that with the number of its first card.
const (
	powerDir   = "GATELINE_CENTRAL_DIR"
	powerFirst = "GATELINE_CENTRAL_FIRST"
)

// powerChild is that centre: it binds one card after the other, as fast as it
// can, and says of each where in the feed its effect is complete.
func powerChild(dir string) error {
	var first int
	if _, err := fmt.Sscan(os.Getenv(powerFirst), &first); err != nil {
		return err
	}
	c, err := Open(testConfig(dir, &logtest.Buffer{}))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	conn, err := c.Connect()
	if err != nil {
		return err
	}
	client := NewClient(conn)
	for i := first; ; i++ {
		d, err := client.Bind(ctx, account(i), powerPerson(i))
		if err != nil {
			cancel()
			return errors.Join(err, <-ended)
		}
		fmt.Println(i, d.Number)
	}
}

func powerPerson(i int) string { return fmt.Sprintf("p%d", i/50) }

// powerLife runs a child that binds cards from first on, cuts its power a while
// after it bound one, and returns the last card that it had bound by then, the
// number of the feed, and the last card that it ever said it had bound.
func powerLife(t *testing.T, disk *powercut.Disk, dir string, first int, after time.Duration) (last int, number uint64, said int) {
	t.Helper()
	env := []string{powerDir + "=" + dir, fmt.Sprintf("%s=%d", powerFirst, first)}
	disk.CutUnder(env, after, func(line string, powered bool) (bound bool, err error) {
		var i int
		var n uint64
		if _, err := fmt.Sscan(line, &i, &n); err != nil {
			return false, errors.New(line)
		}
		said = i
		if powered {
			last, number = i, n
		}
		return true, nil
	})
	return last, number, said
}

// The power is cut amid commands: the centre starts again, ledger and feed hold
// all it acknowledged and nothing else, its copy holds the ledger, and it goes on.
func TestPowerCut(t *testing.T) {
	if !powercut.Alone(t) {
		return
	}
	seed := *powerSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	disk := powercut.New(t)
	dir := filepath.Join(disk.Dir(), "centre")
	next := 0
	for range *powerCuts {
		last, number, said := powerLife(t, disk, dir, next, time.Duration(r.IntN(500))*time.Millisecond)
		disk.Restart()
		c := start(t, testConfig(dir, &logtest.Buffer{}))
		if n := c.FeedNumber(); n < number {
			t.Fatalf("the feed ends at entry %d, after %d was acknowledged", n, number)
		}
		held := c.held()
		for i := range last + 1 {
			if _, known := held[tokenOf(t, account(i))]; !known {
				t.Fatalf("card %d is not bound, after %d was acknowledged", i, last)
			}
		}
		// The one under way when the power went may be there.
		if len(held) > said+2 {
			t.Fatalf("%d cards are bound, after %d were", len(held), said+1)
		}
		next = len(held)
		c.must(c.Bind(t.Context(), account(next), powerPerson(next)))
		next++
		c.checkFeed()
		c.stopInStep()
	}
	t.Logf("%d cards", next)
}
