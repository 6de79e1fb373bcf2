package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
)

// own is data that encodes itself, or cannot.
type own struct {
	text string
	err  error
}

func (o own) AppendJSON(b []byte) ([]byte, error) {
	return append(b, `{"own":"`+o.text+`"}`...), o.err
}

func TestDataThatEncodesItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, nil)
	token := "ghp_" + strings.Repeat("a1B2", 9)
	add(t, j, "a", own{text: "x " + token})
	if _, err := j.Append(t.Context(), Entry{Kind: KindIntent, Data: own{err: errors.New("no")}}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("data that cannot be encoded: got %v, want an invalid argument", err)
	}
	if _, err := j.Append(t.Context(), Entry{Kind: KindIntent, Data: own{text: strings.Repeat("x", maxRecordBytes)}}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("data that is too large: got %v, want an invalid argument", err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(raw), `"data":{"own":"x [masked]"}`) || strings.Contains(string(raw), token) {
		t.Errorf("the journal holds %s", raw)
	}
}

// Memory that is used again never changes a record that waits for the disk.
func TestMemoryOfRecordsThatWait(t *testing.T) {
	path := filepath.Join(t.TempDir(), "j")
	j := open(t, path, nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				text := fmt.Sprintf("%d-%d ", i, n) + strings.Repeat("abcdefgh"[i:i+1], n*7)
				if _, err := j.Append(t.Context(), Entry{Kind: KindIntent, CallID: fmt.Sprintf("%d-%d", i, n), Data: own{text: text}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	seen := 0
	again, err := Open(path, Options{}, func(r Record) error {
		var i, n int
		if _, err := fmt.Sscanf(r.CallID, "%d-%d", &i, &n); err != nil {
			return err
		}
		seen++
		want := `{"own":"` + fmt.Sprintf("%d-%d ", i, n) + strings.Repeat("abcdefgh"[i:i+1], n*7) + `"}`
		if string(r.Data) != want {
			t.Errorf("record %s: got %s, want %s", r.CallID, r.Data, want)
		}
		return nil
	})
	if err != nil || seen != 400 {
		t.Fatalf("%d records, %v", seen, err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
