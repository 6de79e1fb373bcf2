package sandboxtest

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/sandbox"
)

// finish fills what the function left out and tells the observer of the output.
func finish(call sandbox.Call, res sandbox.Result, ran time.Duration) sandbox.Result {
	if res.Outcome != sandbox.OutcomeExited {
		res.ExitCode = -1
	}
	if res.RunTime == 0 {
		res.RunTime = ran
	}
	if res.Receipt.CellID == "" {
		res.Receipt = receiptOf(call)
	}
	res.Stdout = keep(res.Stdout, call.Limits.OutputBytes)
	res.Stderr = keep(res.Stderr, call.Limits.OutputBytes)
	if call.Observer != nil {
		observe(call.Observer, sandbox.Stdout, res.Stdout)
		observe(call.Observer, sandbox.Stderr, res.Stderr)
	}
	return res
}

// keep cuts an output to limit bytes, half head and half tail.
func keep(o sandbox.Output, limit int64) sandbox.Output {
	all := append(append([]byte(nil), o.Head...), o.Tail...)
	if o.TotalBytes < int64(len(all)) {
		o.TotalBytes = int64(len(all))
	}
	if int64(len(all)) <= limit {
		return o
	}
	half := limit / 2
	return sandbox.Output{
		Head: all[:limit-half], Tail: all[int64(len(all))-half:], TotalBytes: o.TotalBytes,
	}
}

func observe(obs sandbox.Observer, stream sandbox.Stream, o sandbox.Output) {
	if len(o.Head) > 0 {
		obs.Output(stream, 0, o.Head)
	}
	if len(o.Tail) > 0 {
		obs.Output(stream, o.TotalBytes-int64(len(o.Tail)), o.Tail)
	}
}

func receiptOf(call sandbox.Call) sandbox.Receipt {
	workspace := "ephemeral"
	switch {
	case call.Workspace.HostDir != "" && call.Workspace.KeepOwner:
		workspace = "directory:idmapped"
	case call.Workspace.HostDir != "":
		workspace = "directory"
	}
	image := call.Image
	if image == "" {
		image = sandbox.HostImage
	}
	isolation := call.Isolation
	if isolation == "" {
		isolation = sandbox.IsolationRunc
	}
	return sandbox.Receipt{
		CellID: "fake-" + call.ID, Image: image, Isolation: isolation, Runtime: "fake",
		Enforced: map[string]int64{
			"wall_time_ms": call.Limits.WallTime.Milliseconds(),
			"output_bytes": call.Limits.OutputBytes,
		},
		Unverified: []string{"memory_bytes", "cpu_millis", "pids", "disk_bytes"},
		Network:    "none", Workspace: workspace,
	}
}

func fakeImage(archive io.Reader, name string) (sandbox.Image, error) {
	if name == "" {
		return sandbox.Image{}, fmt.Errorf("image needs a name: %w", errdefs.ErrInvalidArgument)
	}
	sum := sha256.New()
	n, err := io.Copy(sum, archive)
	if err != nil {
		return sandbox.Image{}, fmt.Errorf("read archive: %w", err)
	}
	return sandbox.Image{
		Name: name, Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil)), SizeBytes: n, CreatedAt: time.Now(),
	}, nil
}

func without(images []sandbox.Image, name string) []sandbox.Image {
	return slices.DeleteFunc(slices.Clone(images), func(i sandbox.Image) bool { return i.Name == name })
}

func sorted(images []sandbox.Image) []sandbox.Image {
	out := slices.Clone(images)
	slices.SortFunc(out, func(a, b sandbox.Image) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
