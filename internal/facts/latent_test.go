package facts

import "testing"

// TestCommandsBehindOtherPrograms looks at the last command only: the one that another program, or a builtin that
// expands a subscript once more, runs.
func TestCommandsBehindOtherPrograms(t *testing.T) {
	tests := []struct{ script, last string }{
		{`[[ -v 'a[$(rm x)]' ]]`, `rm x in cmdsubst via [[`},
		{`[ -v 'a[$(rm x)]' ]`, `rm x in cmdsubst via [`},
		{"test -v 'a[`rm x`]'", `rm x in cmdsubst via test`},
		{`let 'a[$(rm x)]=1'`, `rm x in cmdsubst via let`},
		{`command let 'a[$(rm x)]'`, `rm x in cmdsubst via command let`},
		{`printf -v 'a[$(rm x)]' x`, `rm x in cmdsubst via printf`},
		{`printf '-va[$(rm x)]' x`, `rm x in cmdsubst via printf`},
		{`[[ 'a[$(rm x)]' -eq 0 ]]`, `rm x in cmdsubst via [[`},
		{`(( 'a[$(rm x)]' ))`, `rm x in cmdsubst via ((`},
		{`read 'a[$(rm x)]'`, `rm x in cmdsubst via read`},
		{`unset 'a[$(rm x)]'`, `rm x in cmdsubst via unset`},
		{`declare 'a[$(rm x)]=1'`, `rm x in cmdsubst via declare`},
		{`typeset 'a[$(rm x)]'`, `rm x in cmdsubst via typeset`},
		{`export 'a[$(rm x)]'`, `rm x in cmdsubst via export`},
		{`f() { local 'a[$(rm x)]=1'; }`, `rm x in function:f {block} cmdsubst via local`},
		{`[[ x == 'a[$(rm x)]' ]]`, ``},
		{`printf 'a[$(rm x)]'`, `printf a[$(rm x)]`},
		{`unset 'a[$(rm'`, `unset a[$(rm`},
		{`source /dev/stdin <<< 'rm x'`, `rm x via source`},
		{`. /dev/fd/0 <<< 'rm x'`, `rm x via .`},
		{`numactl -N 0 rm x`, `rm x via numactl`},
		{`cpulimit -l 50 -- rm x`, `rm x via cpulimit`},
		{`perf stat -e a rm x`, `rm x via perf`},
		{`perf record -g -- rm x`, `rm x via perf`},
		{`dbus-run-session -- rm x`, `rm x via dbus-run-session`},
		{`dbus-launch rm x`, `rm x via dbus-launch`},
		{`gtimeout 3 rm x`, `rm x via gtimeout`},
		{`gnice -n 3 rm x`, `rm x via gnice`},
		{`watchexec -e js rm x`, `rm x via watchexec`},
		{`sshpass -p x rm x`, `rm x via sshpass`},
		{`bwrap --bind / / --dev /dev rm x`, `rm x via bwrap`},
		{`direnv exec . rm x`, `rm x via direnv`},
		{`conda run -n a rm x`, `rm x via conda`},
		{`conda install rm`, `conda install rm`},
		{`yarn exec rm x`, `rm x via yarn`},
		{`pnpm --dir a exec rm x`, `rm x via pnpm`},
		{`mise exec node@20 -- rm x`, `rm x via mise`},
		{`mise exec -c 'rm x'`, `rm x via mise`},
		{`asdf exec rm x`, `rm x via asdf`},
		{`op run --env-file=a -- rm x`, `rm x via op`},
		{`git difftool -x 'rm x'`, `rm x via git`},
		{`git difftool --extcmd='rm x' a`, `rm x via git`},
		{`git grep -O'rm x' a`, `rm x via git`},
		{`git grep -O rm`, `git grep -O rm`},
		{`git filter-branch --tree-filter 'rm x'`, `rm x via git`},
		{`tar --to-command='rm x' -xf a`, `rm x via tar`},
		{`tar --checkpoint-action=exec='rm x' -cf a b`, `rm x via tar`},
		{`tar -I 'rm x' -xf a`, `rm x via tar`},
		{`fd --exec=rm a`, `rm a ? via fd`},
		{`fd a -xrm`, `rm ? via fd`},
	}
	for _, tt := range tests {
		sh := AnalyzeShell(tt.script, Options{})
		got := ""
		if all := summary(sh); len(all) > 0 {
			got = all[len(all)-1]
		}
		if got != tt.last || !sh.Parsed {
			t.Errorf("%s: got %q, want %q; %s", tt.script, got, tt.last, sh.Error)
		}
	}
}
