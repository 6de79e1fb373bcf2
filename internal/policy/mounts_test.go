package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMountsAreChecked(t *testing.T) {
	many := make([]string, 33)
	for i := range many {
		many[i] = fmt.Sprintf(`{"path": "/workspace/%d", "mode": "ro"}`, i)
	}
	for _, tt := range []struct {
		name, sandbox, rule, message string
		cfg                          Config
	}{
		{name: "relative", sandbox: `"mounts": [{"path": "a", "mode": "ro"}]`, message: "below /workspace"},
		{name: "outside", sandbox: `"mounts": [{"path": "/etc/passwd", "mode": "hidden"}]`, message: "below /workspace"},
		{name: "dots", sandbox: `"mounts": [{"path": "/workspace/a/../b", "mode": "ro"}]`, message: "clean"},
		{name: "climbing", sandbox: `"mounts": [{"path": "/workspace/../etc", "mode": "ro"}]`, message: "clean"},
		{name: "slash at the end", sandbox: `"mounts": [{"path": "/workspace/a/", "mode": "ro"}]`, message: "clean"},
		{name: "neighbour", sandbox: `"mounts": [{"path": "/workspace2/a", "mode": "ro"}]`, message: "below /workspace"},
		{name: "NUL", sandbox: `"mounts": [{"path": "/workspace/a\u0000b", "mode": "ro"}]`, message: "clean"},
		{name: "the whole", sandbox: `"mounts": [{"path": "/workspace", "mode": "ro"}]`, message: "obligations.sandbox.workspace instead"},
		{name: "deep", sandbox: `"mounts": [{"path": "/workspace` + strings.Repeat("/a", 17) + `", "mode": "ro"}]`, message: "at most 1024 and 16"},
		{name: "mode", sandbox: `"mounts": [{"path": "/workspace/a", "mode": "wo"}]`, message: `want one of ["hidden" "ro" "rw"]`},
		{name: "no mode", sandbox: `"mounts": [{"path": "/workspace/a"}]`, message: "want one of"},
		{name: "twice", sandbox: `"mounts": [{"path": "/workspace/a", "mode": "ro"}, {"path": "/workspace/a", "mode": "rw"}]`, message: "twice"},
		{name: "below hidden", sandbox: `"mounts": [{"path": "/workspace/a/b/c", "mode": "rw"}, {"path": "/workspace/a", "mode": "hidden"}]`, message: "below what is hidden"},
		{name: "unknown key", sandbox: `"mounts": [{"path": "/workspace/a", "mode": "ro", "from": "/etc"}]`, rule: RuleObligationUnknown, message: "mounts[0].from"},
		{name: "no boolean", sandbox: `"mounts": [{"path": "/workspace/a", "mode": "ro", "if_exists": 1}]`, message: "want a boolean"},
		{name: "no list", sandbox: `"mounts": {"/workspace/a": "ro"}`, message: "want a list"},
		{name: "many", sandbox: `"mounts": [` + strings.Join(many, ",") + `]`, message: "the most is 32"},
		{name: "above the ceiling", sandbox: `"workspace": "ro", "mounts": [{"path": "/workspace/a", "mode": "rw"}]`, rule: RuleObligationCeiling, message: "ceiling", cfg: Config{Ceiling: SandboxObligations{Workspace: "ro"}}},
		{name: "gVisor", sandbox: `"isolation": "gvisor", "mounts": [{"path": "/workspace/a", "mode": "ro"}]`, rule: RuleObligationUnsupported, message: "gvisor"},
		{name: "gVisor by the ceiling", sandbox: `"mounts": [{"path": "/workspace/a", "mode": "ro"}]`, rule: RuleObligationUnsupported, message: "gvisor", cfg: Config{Ceiling: SandboxObligations{Isolation: "gvisor"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tightened(t, `{"sandbox": {`+tt.sandbox+`}}`, `[]`, tt.cfg)
			if tt.rule == "" {
				tt.rule = RuleInvalidDecision
			}
			if d.Outcome != Deny || d.Reasons[0].Rule != tt.rule || !strings.Contains(d.Reasons[0].Message, tt.message) {
				t.Errorf("%+v, want a deny by %s with %q", d, tt.rule, tt.message)
			}
		})
	}
}

func TestMountsAreMerged(t *testing.T) {
	at := func(path, mode string) Mount { return Mount{Path: "/workspace/" + path, Mode: mode} }
	for _, tt := range []struct {
		name, profile, tenant string
		want                  []Mount // of the cage
		workspace             string
	}{
		{
			name: "a tenant hides and protects", profile: `"workspace": "rw"`, workspace: "rw",
			tenant: `"mounts": [{"path": "/workspace/.env", "mode": "hidden"}, {"path": "/workspace/b", "mode": "ro"}]`, want: []Mount{at(".env", "hidden"), at("b", "ro")},
		},
		{
			name: "a tenant's read-only workspace takes exceptions away", profile: `"workspace": "ro", "mounts": [{"path": "/workspace/build", "mode": "rw"}]`,
			tenant: `"workspace": "ro"`, workspace: "ro",
		},
		{
			name: "an exception that both grant", profile: `"workspace": "ro", "mounts": [{"path": "/workspace/build", "mode": "rw"}]`,
			tenant: `"workspace": "ro", "mounts": [{"path": "/workspace/build", "mode": "rw"}]`, workspace: "ro", want: []Mount{at("build", "rw")},
		},
		{
			name: "a tenant grants nothing", profile: `"workspace": "ro"`, tenant: `"mounts": [{"path": "/workspace/build", "mode": "rw"}]`, workspace: "ro",
		},
		{
			name: "a tenant's exception from its own does not loosen the default", profile: `"pids": 5`,
			tenant: `"mounts": [{"path": "/workspace/a", "mode": "ro"}, {"path": "/workspace/a/b", "mode": "rw"}]`, workspace: "rw", want: []Mount{at("a", "ro")},
		},
		{
			name: "the tighter mode of a path", profile: `"mounts": [{"path": "/workspace/a", "mode": "ro"}, {"path": "/workspace/b", "mode": "hidden"}]`,
			tenant: `"mounts": [{"path": "/workspace/a", "mode": "hidden"}, {"path": "/workspace/b", "mode": "rw"}]`, workspace: "rw", want: []Mount{at("a", "hidden"), at("b", "hidden")},
		},
		{
			name: "below what another hides", profile: `"mounts": [{"path": "/workspace/a/b", "mode": "rw"}]`,
			tenant: `"mounts": [{"path": "/workspace/a", "mode": "hidden"}]`, workspace: "rw", want: []Mount{at("a", "hidden")},
		},
		{
			name: "an exception above which another is stricter", profile: `"workspace": "ro", "mounts": [{"path": "/workspace/a/b", "mode": "rw"}]`,
			tenant: `"mounts": [{"path": "/workspace/a", "mode": "ro"}]`, workspace: "ro",
		},
		{
			name: "it has to exist unless all say otherwise", profile: `"mounts": [{"path": "/workspace/a", "mode": "ro", "if_exists": true}, {"path": "/workspace/b", "mode": "ro", "if_exists": true}]`,
			tenant: `"mounts": [{"path": "/workspace/a", "mode": "ro"}, {"path": "/workspace/b", "mode": "hidden", "if_exists": true}]`, workspace: "rw",
			want: []Mount{at("a", "ro"), {Path: "/workspace/b", Mode: "hidden", IfExists: true}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tightened(t, `{"sandbox": {`+tt.profile+`}}`, `[{"source": "tenants.t", "obligations": {"sandbox": {`+tt.tenant+`}}}]`, Config{Isolations: []string{"runc"}})
			if d.Outcome != Allow {
				t.Fatalf("%+v", d)
			}
			cage := d.Cage(SandboxObligations{Workspace: "rw"}, SandboxObligations{Workspace: "rw", Isolation: "runc"})
			if diff := cmp.Diff(tt.want, cage.Mounts); diff != "" || cage.Workspace != tt.workspace {
				t.Errorf("workspace %s, mounts (-want +got):\n%s", cage.Workspace, diff)
			}
		})
	}
	t.Run("isolation of a tenant", func(t *testing.T) {
		d := tightened(t, `{"sandbox": {"mounts": [{"path": "/workspace/a", "mode": "ro"}]}}`, `[{"source": "tenants.t", "obligations": {"sandbox": {"isolation": "gvisor"}}}]`, Config{Isolations: []string{"runc", "gvisor"}})
		if d.Outcome != Deny || d.Reasons[0].Rule != RuleObligationUnsupported {
			t.Errorf("%+v, want a deny", d)
		}
	})
}

// Whatever two parts say, no path is looser than by the first alone or, where the
// second says something, than by that.
func TestMountsAreNeverLooser(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4)) // #nosec G404 -- a test
	paths := []string{"/workspace/a", "/workspace/a/b", "/workspace/a/b/c", "/workspace/a-b", "/workspace/d"}
	some := func() SandboxObligations {
		ob := SandboxObligations{Workspace: []string{"", "ro", "rw"}[random.IntN(3)]}
		for _, p := range paths {
			if n := random.IntN(6); n < 3 {
				ob.Mounts = append(ob.Mounts, Mount{Path: p, Mode: mountModes[n]})
			}
		}
		return ob
	}
	looseness := func(ob SandboxObligations, p, unsaid string) int {
		mode := modeOf(modesOf(ob.Mounts), p, ob.Workspace)
		if mode == "" {
			mode = unsaid
		}
		return slices.Index(mountModes, mode)
	}
	for range 20000 {
		profile, extra, tenant, byDefault := some(), some(), some(), []string{"ro", "rw"}[random.IntN(2)]
		if slices.ContainsFunc([]SandboxObligations{profile, extra, tenant}, func(o SandboxObligations) bool { return checkMounts(o, SandboxObligations{}) != nil }) {
			continue
		}
		d := Decision{Obligations: Obligations{Sandbox: profile}}
		for _, more := range []Tightening{{Source: "extra.e", Obligations: Obligations{Sandbox: extra}}, {Source: "tenants.t", Obligations: Obligations{Sandbox: tenant}}} {
			if p := tighten(&d.Obligations, &d.Bounds, &more); p != nil {
				t.Fatal(p.message)
			}
		}
		cage := d.Cage(SandboxObligations{}, SandboxObligations{Workspace: byDefault})
		for _, p := range append(paths, "/workspace/e", "/workspace/a/e", "/workspace/a/b/c/e") {
			got := looseness(cage, p, "rw")
			most := min(looseness(profile, p, byDefault), looseness(extra, p, "rw"), looseness(tenant, p, "rw"))
			if got > most {
				t.Fatalf("%s is %s, want at most %s: %+v by %+v and %+v, by default %s: %+v", p, mountModes[got], mountModes[most], profile, extra, tenant, byDefault, cage)
			}
		}
	}
}

// TestDeniedCallsKeepTheirShape: a call of which only the shape is to be recorded is
// denied, by a rule or since its demands cannot be met, and its shape still counts.
func TestDeniedCallsKeepTheirShape(t *testing.T) {
	for _, tt := range []struct{ name, decision, want string }{
		{"denied", `"outcome": "deny", "obligations": {"audit": {"level": "shape"}}`, "shape"},
		{"denied, by another part", `"outcome": "deny", "tighten": [{"source": "extra.e", "obligations": {"audit": {"level": "shape"}}}]`, "shape"},
		{"a tenant hides nothing", `"outcome": "deny", "tighten": [{"source": "tenants.e", "obligations": {"audit": {"level": "shape"}}}]`, ""},
		{"above the ceiling", `"outcome": "allow", "obligations": {"sandbox": {"pids": 9}, "audit": {"level": "shape"}}`, "shape"},
		{"nonsense", `"outcome": "deny", "obligations": {"sandbox": {"pids": 9}, "audit": {"level": "none"}}`, ""},
	} {
		e := engineOf(t, `{"reasons": [{"rule": "r", "message": "m"}], `+tt.decision+`}`, Config{Ceiling: SandboxObligations{Pids: 1}})
		d := e.Decide(t.Context(), input("test"))
		if want := (Obligations{Audit: AuditObligations{Level: tt.want}}); d.Outcome != Deny || !cmp.Equal(d.Obligations, want) {
			t.Errorf("%s: %s %+v, want a deny with %+v", tt.name, d.Outcome, d.Obligations, want)
		}
	}
}

// TestBothApprovalsHold: two approvals with different terms cannot be one.
func TestBothApprovalsHold(t *testing.T) {
	ask := func(quorum int, level string) Decision {
		return Decision{
			Outcome: Ask, Reasons: []Reason{{Rule: "r", Message: "m"}}, Ask: &AskTerms{Quorum: quorum},
			Obligations: Obligations{Audit: AuditObligations{Level: level}},
		}
	}
	if d := Both(ask(2, ""), ask(2, ""), Transform{}); d.Outcome != Ask || d.Ask.Quorum != 2 {
		t.Errorf("alike: %+v", d)
	}
	if d := Both(ask(2, "shape"), ask(1, ""), Transform{}); d.Outcome != Deny || d.Obligations.Audit.Level != "shape" {
		t.Errorf("a lesser one: %+v, want a deny that is recorded by its shape", d)
	}
	denied := Decision{Outcome: Deny, Reasons: []Reason{{Rule: "r", Message: "m"}}}
	if d := Both(ask(1, "shape"), denied, Transform{}); d.Outcome != Deny || d.Obligations.Audit.Level != "shape" {
		t.Errorf("denied: %+v, want it recorded by its shape", d)
	}
}
