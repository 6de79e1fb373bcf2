package main

import (
	"strings"
	"testing"
	"time"
	"unicode"

	"google.golang.org/protobuf/types/known/timestamppb"

	sandgatev1 "github.com/sandgate/sandgate/proto/sandgate/v1"
)

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain text, 'quoted' \\n \\u202e": "plain text, 'quoted' \\n \\u202e",
		"übung 漢字 → ok":                    "übung 漢字 → ok",
		"a\x1b[2Jb":                        "a⟨U+001B⟩[2Jb",
		"a\rb\x00\x7f":                     "a⟨U+000D⟩b⟨U+0000⟩⟨U+007F⟩",
		"a\u202eb\u2066c":                  "a⟨U+202E⟩b⟨U+2066⟩c",
		"a\\b\u200bc":                      "a\\b⟨U+200B⟩c",
		"\xff\xfe":                         "⟨byte FF⟩⟨byte FE⟩",
		"שלום":                             "⟨U+05E9⟩⟨U+05DC⟩⟨U+05D5⟩⟨U+05DD⟩",
		"e\u0301":                          "e⟨U+0301⟩",
		"x\u3164y\U000e0041z\ufe0fq":       "x⟨U+3164⟩y⟨U+E0041⟩z⟨U+FE0F⟩q",
		"a\u00a0b\u2003c":                  "a⟨U+00A0⟩b⟨U+2003⟩c",
		"\u009b31m":                        "⟨U+009B⟩31m",
		"⟨U+202E⟩":                         "⟨U+27E8⟩U+202E⟨U+27E9⟩",
	} {
		if got := visible(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// FuzzVisible: nothing that comes out acts on a terminal or is not seen, and different
// texts look different.
func FuzzVisible(f *testing.F) {
	for _, seed := range []string{"ls -la", "a\x1b]0;x\x07", "\u202e", "\\u202e", "א", "\xc3"} {
		f.Add(seed, "\\"+seed)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, r := range visible(a) {
			if r < ' ' || r == 0x7f || !unicode.IsPrint(r) || unicode.In(r, unicode.M, unicode.Cf, unicode.Hebrew, unicode.Arabic) {
				t.Fatalf("%q comes out with %q", a, r)
			}
		}
		if a != b && visible(a) == visible(b) {
			t.Fatalf("%q and %q look alike", a, b)
		}
	})
}

func asked() *sandgatev1.Approval {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	none := int64(0)
	return &sandgatev1.Approval{
		ApprovalId: "ap-1", State: sandgatev1.ApprovalState_APPROVAL_STATE_PENDING, CallerId: "unix:uid:1000", BindingDigest: "sha256:00",
		ExpireTime: timestamppb.New(now.Add(10 * time.Minute)), Quorum: 2, StdinBytes: &none,
		Call: &sandgatev1.Call{
			CallId: "c1", SessionId: "s", Tool: "bash", Cwd: "/workspace", Env: map[string]string{"TOKEN": ""},
			ArgsJson: `{"command":"sh s.sh\n  │ Let it run? Type yes: yes\n\u001b[1Adone"}`,
		},
		Files:     []*sandgatev1.ApprovalFile{{Path: "/workspace/s.sh", RealPath: "/workspace/t.sh", Op: "run", Sha256: "ab", SizeBytes: 3}},
		NotFrozen: []string{"what is in the directory /workspace/\u202esub"}, Changes: []string{"/workspace/s.sh has another content"},
		Decision: &sandgatev1.Decision{Reasons: []*sandgatev1.Reason{{Rule: "r", Message: "it is not known"}}},
		SuggestedGrant: &sandgatev1.SuggestedGrant{
			Summary: "`git commit`", Terms: &sandgatev1.GrantTerms{Scope: "session", Uses: 20},
		},
	}
}

func TestWhatAPersonReads(t *testing.T) {
	var b strings.Builder
	if err := writeApproval(&b, asked(), time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ap-1  pending, expires in 10m0s\n", "  │ sh s.sh\n  │   │ Let it run? Type yes: yes\n  │ ⟨U+001B⟩[1Adone\n",
		"variables   TOKEN (their values are not shown; they are part of what is approved)\n", "file        run /workspace/s.sh → /workspace/t.sh, 3 bytes, sha256 ab\n",
		"NOT FROZEN  what is in the directory /workspace/⟨U+202E⟩sub\n", "CHANGED     /workspace/s.sh has another content",
		"asked       it is not known [r]\n", "approvals   0 of 2\n", "(--grant): `git commit`; this session, 20 uses", "digest      sha256:00\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in:\n%s", want, b.String())
		}
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e\r") {
		t.Error("the text can act on a terminal")
	}
}

// TestHowItWouldRunIsShown: what an approver says yes to is the cage, too.
func TestHowItWouldRunIsShown(t *testing.T) {
	show := func(a *sandgatev1.Approval) string {
		t.Helper()
		var b strings.Builder
		if err := writeApproval(&b, a, time.Now()); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	a := asked()
	a.Run = &sandgatev1.ApprovalRun{Terminal: true, Detached: true, Image: "host", Cage: &sandgatev1.SandboxObligations{
		Isolation: "runc", Reuse: "session", Network: "none", Workspace: "ro", WallTimeMillis: 30_000, CpuMillis: 1500, MemoryBytes: 512 << 20, Pids: 128,
		Mounts: []*sandgatev1.Mount{{Path: "/workspace/.git\u202e", Mode: "hidden"}},
	}}
	text := show(a)
	for _, want := range []string{
		"files       the workspace is read-only: approved or not, the call cannot change anything in it\n",
		"/workspace/.git⟨U+202E⟩ in it is hidden\n", "network     none\n", "cell        isolation runc, image host, other calls of the session may have used it\n",
		"limits      30s to run, 1.5 processors, 512MiB of memory, 128 processes\n", "terminal    yes: whoever is at it can type anything",
		"background  it goes on without its host\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	a.CallerPrincipal, a.WaitsFor = "eve\u202e", "call c0, which works in the same workspace"
	a.SuggestedGrant.Files = []*sandgatev1.ApprovalFile{{Path: "/workspace/m", RealPath: "/workspace/m", Op: "dir"}}
	a.SuggestedGrant.NotFrozen = []string{"what it fetches"}
	a.Votes = []*sandgatev1.ApprovalVote{{Approver: "token:bob", Principal: "bob"}}
	text = show(a)
	for _, want := range []string{
		"caller      unix:uid:1000, who is eve⟨U+202E⟩\n", "waits for   call c0", "as long as it stays: dir /workspace/m\n", "NOT FROZEN: what it fetches\n",
		"approved by token:bob, who is bob at ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
	a.Run = &sandgatev1.ApprovalRun{Cage: &sandgatev1.SandboxObligations{Workspace: "rw"}}
	if text = show(a); !strings.Contains(text, "it can read and change the workspace\n") || !strings.Contains(text, "terminal    none\n") {
		t.Errorf("a plain call:\n%s", text)
	}
	// Of a daemon that did not tell, what policy demands is all that is known.
	a.Run = nil
	a.Decision.Obligations = &sandgatev1.Obligations{Sandbox: &sandgatev1.SandboxObligations{Workspace: "transaction"}}
	if text = show(a); !strings.Contains(text, "policy looks at the changes") || strings.Contains(text, "terminal ") || strings.Contains(text, "network ") {
		t.Errorf("what policy demands:\n%s", text)
	}
}

func TestNoGrantIsOfferedOnceItIsAnswered(t *testing.T) {
	a := asked()
	a.State = sandgatev1.ApprovalState_APPROVAL_STATE_DENIED
	var b strings.Builder
	if err := writeApproval(&b, a, time.Now()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "--grant") {
		t.Errorf("a denied one offers a grant:\n%s", b.String())
	}
}

func TestLongLinesAreBrokenHere(t *testing.T) {
	a := asked()
	a.Call.ArgsJson = `{"command":"` + strings.Repeat("x", 250) + `"}`
	var b strings.Builder
	if err := writeApproval(&b, a, time.Now()); err != nil {
		t.Fatal(err)
	}
	want := "  │ " + strings.Repeat("x", 100) + "\n  ↳ " + strings.Repeat("x", 100) + "\n  ↳ " + strings.Repeat("x", 50) + "\n"
	if !strings.Contains(b.String(), want) {
		t.Errorf("got:\n%s", b.String())
	}
}
