package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A status is for programs: people get its text, also where an error wraps it.
func TestExplainShowsNoStatus(t *testing.T) {
	st := status.Error(codes.PermissionDenied, "caller x is no administrator")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{st, "caller x is no administrator"},
		{fmt.Errorf("query: %w", st), "query: caller x is no administrator"},
		{errors.Join(st, nil), "caller x is no administrator"},
		{errors.New("plain"), "plain"},
	} {
		if got := explain(tt.err); got != tt.want {
			t.Errorf("%v: got %q, want %q", tt.err, got, tt.want)
		}
	}
}

// A file that holds no key is told of before the journal is looked at, which would
// be called damaged otherwise.
func TestKeyOfRefusesWhatIsNoKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("no key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, given := range []string{path, "a+b+c"} {
		if _, err := keyOf(given); err == nil || !strings.Contains(err.Error(), "sandgate audit key") {
			t.Errorf("%s: got %v", given, err)
		}
	}
	const key = "sandgate/51eb121a6970+1efdb2f9+AXqMvM+neLnvAAiMVyMqUS5IM0/Z5FkwMPMD+U/+57Oe"
	if got, err := keyOf(key); err != nil || got != key {
		t.Errorf("a key: got %q, %v", got, err)
	}
}
