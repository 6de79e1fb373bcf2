package gate

import (
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
)

// FieldError says which field of a call is wrong, how, and what would be right.
// It is errdefs.ErrInvalidArgument. Wrong arguments of the tool are
// *catalog.ArgumentError.
type FieldError struct {
	Field   string // as in the API: "cwd", "env"
	Problem string
	Want    string // may be empty
}

// Error implements error.
func (e *FieldError) Error() string {
	if e.Want == "" {
		return fmt.Sprintf("%s %s", e.Field, e.Problem)
	}
	return fmt.Sprintf("%s %s: want %s", e.Field, e.Problem, e.Want)
}

// Unwrap makes it an errdefs.ErrInvalidArgument.
func (e *FieldError) Unwrap() error { return errdefs.ErrInvalidArgument }

// Causes with which a running call's context is cancelled.
var (
	// ErrCancelRequested: the caller asked for it with Cancel.
	ErrCancelRequested = errors.New("the caller cancelled the call")
	errRecordTimeout   = fmt.Errorf("the journal took longer than %s: %w", recordTimeout, errdefs.ErrUnavailable)
	errSessionEnded    = errors.New("the session of the call was ended")
)

// BusyError says that a call could not run for what other calls do at the moment: an
// errdefs.ErrUnavailable whose text is for the host, too.
type BusyError struct{ Message string }

// Error implements error.
func (e *BusyError) Error() string { return e.Message }

// Unwrap returns errdefs.ErrUnavailable.
func (*BusyError) Unwrap() error { return errdefs.ErrUnavailable }
