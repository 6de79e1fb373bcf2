//go:build !sandgate_failpoints

package failpoint

// Built tells whether points can be armed in this program.
const Built = false

// At is a place where the program may be killed or stalled. It may be called from
// many goroutines at once.
func At(Point) {}

// Err is a place where an operation may be made to fail as well: it returns the
// error instead of which the operation is to be done.
func Err(Point) error { return nil }

// Torn is a place before n bytes are written: an armed one has part write some of
// them and kills the program.
func Torn(_ Point, _ int, _ func(n int)) {}
