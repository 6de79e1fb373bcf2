package facts

import "strings"

// optionScripts analyses the values of options that the program gives to a shell. An option of two characters that ends
// in = has its value attached only.
func (a *analyzer) optionScripts(c *Command, args []*Arg, sc scope, options ...string) {
	for i, g := range args {
		for _, option := range options {
			name, attached := strings.CutSuffix(option, "=")
			value, found := "", false
			switch {
			case strings.HasPrefix(name, "--"):
				value, found = strings.CutPrefix(g.approx, name+"=")
			case len(g.approx) > len(name):
				value, found = strings.CutPrefix(g.approx, name)
			}
			switch {
			case found:
				a.text(c, value, g.Literal, sc)
			case g.approx == name && !attached && i+1 < len(args):
				a.text(c, args[i+1].approx, args[i+1].Literal, sc)
			}
		}
	}
}

// subRunner is a program one of whose subcommands runs another program.
type subRunner struct {
	subs string // the subcommands, with blanks around each
	wrapper
}

var subRunners = map[string]subRunner{
	"asdf":       {subs: " exec "},
	"aws-vault":  {subs: " exec ", wrapper: wrapper{short: "d", long: []string{"--duration"}, skip: 1}},
	"conda":      {subs: " run ", wrapper: wrapper{short: "np", long: []string{"--name", "--prefix", "--cwd"}}},
	"direnv":     {subs: " exec ", wrapper: wrapper{skip: 1}},
	"doppler":    {subs: " run ", wrapper: wrapper{short: "pct", long: []string{"--project", "--config", "--token"}}},
	"mamba":      {subs: " run ", wrapper: wrapper{short: "np", long: []string{"--name", "--prefix", "--cwd"}}},
	"micromamba": {subs: " run ", wrapper: wrapper{short: "np", long: []string{"--name", "--prefix", "--cwd"}}},
	"mise":       {subs: " exec x ", wrapper: wrapper{short: "CEj", scripts: "c", long: []string{"--cd", "--env", "--jobs"}}},
	"nodenv":     {subs: " exec "},
	"npm":        {subs: " exec x ", wrapper: wrapper{short: "pw", scripts: "c", long: []string{"--package", "--call", "--workspace", "--prefix"}}},
	"op":         {subs: " run ", wrapper: wrapper{long: []string{"--env-file", "--account"}}},
	"perf": {subs: " stat record trace mem lock ", wrapper: wrapper{
		short: "eoCptFcrjIG", long: []string{"--event", "--output", "--cpu", "--pid", "--tid", "--freq", "--count", "--repeat"},
	}},
	"pnpm":  {subs: " exec dlx ", wrapper: wrapper{short: "C", long: []string{"--filter", "--dir"}}},
	"pyenv": {subs: " exec "},
	"rbenv": {subs: " exec "},
	"yarn":  {subs: " exec dlx ", wrapper: wrapper{short: "p", long: []string{"--cwd", "--package"}}},
}

// subRun analyses the program that c runs, if it was given the subcommand for it: what follows a lone --, or the
// operands after it.
func (a *analyzer) subRun(c *Command, r subRunner, sc scope) {
	at := 0
	for at < len(c.Args) && !strings.Contains(r.subs, " "+c.Args[at].approx+" ") {
		if at++; at > 3 {
			return // options of its own are few
		}
	}
	if at >= len(c.Args) {
		return
	}
	saved := a.bases
	defer func() { a.bases = saved }()
	a.bases = nil
	args := c.Args[at+1:]
	for i, g := range args {
		if g.Literal && *g.Value == "--" {
			a.command(c, args[i+1:], sc)
			return
		}
	}
	rest, scripts, _, doubtful := r.scan(args)
	if doubtful {
		c.opaque("where its own arguments end is not static")
	}
	for _, s := range scripts {
		a.text(c, s.approx, s.Literal, sc)
	}
	a.command(c, rest, sc)
}
