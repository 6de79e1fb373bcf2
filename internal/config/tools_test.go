package config

import "testing"

func TestGitIdentity(t *testing.T) {
	for text, want := range map[string][2]string{
		defaultGitIdentity:      {"sandgate agent", "agent@sandgate.invalid"},
		"Zoë Bär  <zoe@ex.org>": {"Zoë Bär", "zoe@ex.org"},
	} {
		tools := Tools{GitIdentity: text}
		if name, email := tools.Committer(); [2]string{name, email} != want || len(tools.problems()) > 0 {
			t.Errorf("%s: got %q and %q, %v", text, name, email, tools.problems())
		}
	}
	for _, text := range []string{"", "x", "<a@b>", " <a@b>", "x <>", "x <a b>", "x\n[core] <a@b>", `x" <a@b>`, `x\ <a@b>`, "x <a@b> ", "x\xff <a@b>"} {
		if bad := (Tools{GitIdentity: text}).problems(); len(bad) != 1 {
			t.Errorf("%q: got %q", text, bad)
		}
	}
}
