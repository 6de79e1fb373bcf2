//go:build sandgate_failpoints

package failpoint

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Built tells whether points can be armed in this program.
const Built = true

// armed is what the environment asks for, read at the first point.
var armed = sync.OnceValue(func() map[Point]*action {
	actions, err := parse(os.Getenv("SANDGATE_FAILPOINTS"))
	if err != nil {
		panic("SANDGATE_FAILPOINTS: " + err.Error()) // a test that arms nothing would assert nothing
	}
	return actions
})

// action is what is done at a point.
type action struct {
	kill  bool
	stall time.Duration
	err   error
	at    int64 // the hit at which it is done; 0: each
	hits  atomic.Int64
}

func parse(text string) (map[Point]*action, error) {
	actions := map[Point]*action{}
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item == "" {
			continue
		}
		name, what, ok := strings.Cut(item, "=")
		if !ok || !slices.Contains(All(), Point(name)) {
			return nil, fmt.Errorf("%q: want POINT=ACTION[@HIT], and a point that there is", item)
		}
		a := &action{at: 1}
		what, hit, ok := strings.Cut(what, "@")
		if hit == "*" {
			a.at = 0
		} else if ok {
			n, err := strconv.ParseInt(hit, 10, 64)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("%q: want a hit of 1 or more, or *", item)
			}
			a.at = n
		}
		verb, value, _ := strings.Cut(what, ":")
		var err error
		switch {
		case what == "kill":
			a.kill = true
		case verb == "stall":
			a.stall, err = time.ParseDuration(value)
		case what == "error:eio":
			a.err = unix.EIO
		case what == "error:enospc":
			a.err = unix.ENOSPC
		default:
			err = fmt.Errorf("no action %q", what)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w", item, err)
		}
		actions[Point(name)] = a
	}
	return actions, nil
}

// due counts a hit and returns the action if it is its turn.
func due(p Point) *action {
	a := armed()[p]
	if a == nil {
		return nil
	}
	if n := a.hits.Add(1); a.at != 0 && n != a.at {
		return nil
	}
	return a
}

// At is a place where the program may be killed or stalled. It may be called from
// many goroutines at once.
func At(p Point) {
	if a := due(p); a != nil {
		a.do(p)
	}
}

// Err is a place where an operation may be made to fail as well: it returns the
// error instead of which the operation is to be done.
func Err(p Point) error {
	a := due(p)
	if a == nil {
		return nil
	}
	a.do(p)
	return a.err
}

// Torn is a place before n bytes are written: an armed one has part write some of
// them and kills the program.
func Torn(p Point, n int, part func(n int)) {
	a := due(p)
	if a == nil {
		return
	}
	if a.kill {
		part(rand.IntN(n + 1))
	}
	a.do(p)
}

func (a *action) do(p Point) {
	if a.stall > 0 {
		time.Sleep(a.stall)
	}
	if !a.kill {
		return
	}
	_, _ = unix.Write(unix.Stderr, []byte(KilledAt(p)))
	_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	select {} // nothing after the point is done, also while the signal is on its way
}
