package gate

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sandgate/sandgate/internal/policy"
	"github.com/sandgate/sandgate/sandbox"
)

// setAll gives everything in a value that can be set a value of its own.
func setAll(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(-*n))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n) & 0x7f) //nolint:gosec // positive
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		setAll(t, v.Elem(), n)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 3, 3))
		for i := range v.Len() {
			setAll(t, v.Index(i), n)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 3 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			setAll(t, key, n)
			setAll(t, value, n)
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for _, f := range v.Fields() {
			setAll(t, f, n)
		}
	default:
		t.Fatalf("a result has a %v: let this test and the packer know it", v.Type())
	}
}

// TestPackedResultsAreWhole packs results in which everything is set, whatever a result
// may ever have.
func TestPackedResultsAreWhole(t *testing.T) {
	var n int
	var p packer
	type pair struct {
		want Result
		kept packed
	}
	var all []pair
	add := func(r Result) {
		t.Helper()
		kept, err := p.pack(&r)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, pair{r, kept})
	}
	for range 60 {
		var r Result
		setAll(t, reflect.ValueOf(&r).Elem(), &n)
		r.ResultSizeBytes = 12
		add(r)
		add(r)        // all of its texts are there already
		add(Result{}) // nothing is
		add(sampleResult(n))
		r.Message = strings.Repeat("long", mostBlock) // larger than a block
		add(r)
		r.ResultSizeBytes, r.Stdout.Head = looseBytes+1, []byte(strings.Repeat("x", looseBytes))
		add(r)
	}
	blocks := map[*block]bool{}
	for i, one := range all {
		got, err := one.kept.unpack()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(one.want, got); diff != "" {
			t.Fatalf("result %d (-want +got):\n%s", i, diff)
		}
		blocks[one.kept.in] = true
	}
	if len(blocks) < 3*60/2 {
		t.Errorf("%d blocks: want one for each result that is larger than one", len(blocks))
	}
}

// TestDamagedResultsAreErrors cuts what is packed and changes each of its bytes: what
// comes out may be another result or an error, and never a panic.
func TestDamagedResultsAreErrors(t *testing.T) {
	var p packer
	r := sampleResult(1)
	kept, err := p.pack(&r)
	if err != nil {
		t.Fatal(err)
	}
	whole := string(kept.in.b)
	for i := range whole {
		kept.in.b = []byte(whole[:i])
		if _, err := kept.unpack(); err == nil {
			t.Errorf("cut to %d of %d bytes: no error", i, len(whole))
		}
		for _, x := range []byte{0, 1, 0x7f, 0xff} {
			kept.in.b = []byte(whole)
			kept.in.b[i] = x
			_, _ = kept.unpack()
		}
	}
}

// TestPackedResultsAreSmall: what results have in common is kept once.
func TestPackedResultsAreSmall(t *testing.T) {
	var p packer
	blocks := map[*block]bool{}
	const results = 1000
	for i := range results {
		r := sampleResult(i)
		kept, err := p.pack(&r)
		if err != nil {
			t.Fatal(err)
		}
		blocks[kept.in] = true
	}
	bytes := 0
	for b := range blocks {
		bytes += cap(b.b)
	}
	t.Logf("%d bytes for each result, in %d blocks", bytes/results, len(blocks))
	if bytes > 450*results {
		t.Errorf("%d results take %d bytes", results, bytes)
	}
}

func BenchmarkPack(b *testing.B) {
	var p packer
	r := sampleResult(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.pack(&r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnpack(b *testing.B) {
	var p packer
	r := sampleResult(1)
	kept, err := p.pack(&r)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := kept.unpack(); err != nil {
			b.Fatal(err)
		}
	}
}

// sampleResult is like that of `true`.
func sampleResult(n int) Result {
	receipt := sandbox.Receipt{
		CellID: "c0123456789abcdef01234567", CellCalls: int64(n), Image: "host", ImageDigest: "sha256:" + strings.Repeat("ab", 32),
		Isolation: "runc", Runtime: "runc 1.5.2", CgroupVersion: 1, UID: 1000, HostUID: 100_000 + n, NoNewPrivs: true, SeccompMode: 2,
		SeccompSHA256: strings.Repeat("cd", 32), Network: "none", Workspace: "ephemeral",
		Enforced: map[string]int64{}, Namespaces: map[string]string{},
	}
	for _, name := range []string{"memory_bytes", "cpu_millis", "pids", "wall_time_ms", "output_bytes", "disk_bytes", "file_bytes", "open_files"} {
		receipt.Enforced[name] = 1 << 30
	}
	for i, name := range []string{"user", "net", "uts", "cgroup", "time", "pid", "mnt", "ipc"} {
		own := 0
		if i > 4 {
			own = n
		}
		receipt.Namespaces[name] = fmt.Sprintf("%s:[%d]", name, 4026531840+10*own+i)
	}
	return Result{
		Outcome: "EXITED", Stdout: sandbox.Output{Head: []byte("done\n"), TotalBytes: 5}, ResultSizeBytes: 5,
		Duration: Durations{Queue: 5 * time.Microsecond, Decide: 80 * time.Microsecond, Start: time.Millisecond, Run: 2 * time.Millisecond, Total: 3 * time.Millisecond},
		Usage:    sandbox.Usage{CPUUser: time.Millisecond, MemoryPeakBytes: 900_000, PidsPeak: 2, IOReadBytes: -1, IOWriteBytes: -1},
		Decision: policy.Decision{
			ID: fmt.Sprintf("01234567-89ab-cdef-0123-%012d", n), Outcome: "allow", Profile: "workspace", Revision: "sha256:" + strings.Repeat("ef", 32),
			Reasons: []policy.Reason{{Rule: "workspace:read", Message: "it only reads"}},
		},
		Receipt: &receipt, ChangesUnknown: ChangesNotWanted,
	}
}
