package facts

import "strings"

// fileRule tells what a program does to the files that its words name.
type fileRule struct {
	values string // letters of the options that take another value
	longs  string // long options that take another value in the next word
	reads  string // options whose value is a file that is read, each with blanks around it
	writes string
	below  string // letters of the options with which a directory stands for all below it; * for always
	// operands is read, write, delete or run for all of them; copy: the last is written; move: and the others go;
	// first X: only the first; rest X: all but the first; last X: only the last; empty: none is a file.
	operands string
	// given are the options after which rest X means all X: they bring what would be the first operand.
	given string
	// into are the options that name the directory to write to instead of the last operand.
	into string
}

var (
	reader   = fileRule{operands: "read"}
	deleter  = fileRule{operands: "delete", below: "rR", longs: " --interactive ", values: "ns"}
	packer   = fileRule{operands: "write", values: "S"}
	searcher = fileRule{
		operands: "rest read", values: "ABCmdD", reads: " -f --file --exclude-from --include-from --ignore-file ", below: "rR", given: " -e -f --regexp --file --files -l-never ",
		longs: " --regexp --context --after-context --before-context --max-count --glob --type --include --exclude --exclude-dir --color --colour --replace --threads --max-depth ",
	}
)

var fileRules = map[string]fileRule{
	"cat": reader, "tac": reader, "nl": reader, "od": {operands: "read", values: "AjNStw"}, "hexdump": {operands: "read", values: "efns"}, "strings": {operands: "read", values: "netTs"},
	"head": {operands: "read", values: "nc"}, "tail": {operands: "read", values: "ncs"}, "wc": {operands: "read", reads: " --files0-from "}, "less": reader, "more": reader, "bat": reader, "batcat": reader,
	"cut": {operands: "read", values: "dfcb"}, "paste": {operands: "read", values: "d"}, "rev": reader, "fold": {operands: "read", values: "w"}, "fmt": {operands: "read", values: "wgp"}, "pr": reader,
	"diff": {operands: "read", values: "UCIxWFSX", below: "rN"}, "cmp": {operands: "read", values: "in"}, "comm": reader, "join": {operands: "read", values: "12jtaevo"}, "md5sum": reader, "sha1sum": reader,
	"sha256sum": reader, "sha512sum": reader, "b2sum": reader, "cksum": reader, "base64": {operands: "read", values: "w"}, "base32": {operands: "read", values: "w"}, "zcat": reader, "bzcat": reader,
	"xzcat": reader, "zstdcat": reader, "file": {operands: "read", values: "mFP", reads: " -f -m "}, "xxd": {operands: "copy", values: "cglosn"}, "iconv": {operands: "read", values: "ft", writes: " -o --output "},
	"grep": searcher, "egrep": searcher, "fgrep": searcher, "zgrep": searcher, "rgrep": {operands: "rest read", below: "*"}, "ugrep": searcher,
	"rg": {operands: "rest read", below: "*", values: "ABCmgtTEjMrd", reads: " -f --file --ignore-file ", given: " -e -f --regexp --file --files ", longs: searcher.longs + " --pre --hostname-bin "},
	"ag": {operands: "rest read", below: "*", values: "ABCmGp"}, "ack": {operands: "rest read", below: "*", values: "ABCm"},
	"sort": {operands: "read", values: "ktST", writes: " -o --output ", reads: " --files0-from ", longs: " --key --field-separator --buffer-size --temporary-directory --parallel --compress-program "},
	"uniq": {operands: "copy2", values: "fsw"}, "tee": {operands: "write"}, "touch": {operands: "write", values: "dt", reads: " -r --reference ", longs: " --date --time "}, "mkdir": {operands: "write", values: "mZ", longs: " --mode "},
	"mkfifo": {operands: "write", values: "m"}, "mknod": {operands: "first write", values: "m"}, "truncate": {operands: "write", values: "s", reads: " -r --reference ", longs: " --size "},
	"rm": deleter, "unlink": deleter, "rmdir": deleter, "shred": deleter, "srm": deleter, "trash": deleter,
	"cp": {operands: "copy", values: "S", below: "rRa", into: " -t --target-directory "}, "mv": {operands: "move", values: "S", below: "*", into: " -t --target-directory "},
	"ln": {operands: "copy", values: "S", into: " -t --target-directory "}, "install": {operands: "copy", values: "gmoS", into: " -t --target-directory "}, "rsync": {operands: "copy", values: "efTMB@", below: "raR", longs: " --rsh --exclude --include --rsync-path --port --password-file "},
	"scp": {operands: "copy", values: "cFiJloPSDX", below: "r"}, "split": {operands: "split", values: "abClnt", longs: " --filter --bytes --lines --number --suffix-length "}, "csplit": {operands: "first read", values: "bfn"},
	"chmod": {operands: "rest write", below: "R", reads: " --reference "}, "chown": {operands: "rest write", below: "R", reads: " --reference "}, "chgrp": {operands: "rest write", below: "R"}, "chattr": {operands: "rest write", below: "R"}, "setfacl": {operands: "rest write", below: "R", values: "mxMX"},
	"patch": {operands: "first write", values: "dDFgprVYzB", reads: " -i --input ", writes: " -o --output "}, "ed": {operands: "write", values: "p"}, "vi": {operands: "write", values: "cStTuwWis"}, "vim": {operands: "write", values: "cStTuwWis", longs: " --cmd "}, "nvim": {operands: "write", values: "cStTuwWi", longs: " --cmd "}, "nano": {operands: "write"}, "ex": {operands: "write", values: "cS"}, "emacs": {operands: "write"},
	"gzip": packer, "gunzip": packer, "bzip2": packer, "bunzip2": packer, "xz": packer, "unxz": packer, "zstd": {operands: "write", writes: " -o "}, "zip": {operands: "zip", values: "bntixPsZ", below: "r", longs: " -TT --unzip-command "}, "unzip": {operands: "first read", values: "P", writes: " -d "},
	"curl": {
		values: "ACdDeEFHhmQrtuUwxXyYzbc", reads: " -K --config -T --upload-file --netrc-file --cacert --cert --key ", writes: " -o --output -D --dump-header -c --cookie-jar --trace --trace-ascii --stderr --etag-save --output-dir ",
		longs: " --data --header --user --request --form --url --proxy --max-time --data-raw --data-binary --data-urlencode --user-agent --referer --write-out --connect-timeout --retry ",
	},
	"wget":    {values: "aetTwQlADRIXUB", reads: " -i --input-file --post-file --body-file --config --load-cookies ", writes: " -O --output-document -o --output-file -a --append-output -P --directory-prefix --save-cookies ", longs: " --execute --header --user --password --post-data --use-askpass --tries --timeout --user-agent --referer "},
	"openssl": {reads: " -in -key -inkey -cert -CAfile -config -kfile -pass ", writes: " -out -keyout "}, "gcc": {operands: "read", writes: " -o ", values: "IDLlxUW", longs: " -include "}, "cc": {operands: "read", writes: " -o ", values: "IDLlxUW"},
	"jq": {operands: "rest read", reads: " -f --from-file --slurpfile --rawfile -L ", given: " -f --from-file "}, "sqlite3": {operands: "first write", longs: " -cmd -separator -init "}, "source": {operands: "first run"}, ".": {operands: "first run"}, "gpg": {reads: " --import ", writes: " -o --output "},
	"ssh-keygen": {writes: " -f "}, "envsubst": {}, "dos2unix": {operands: "write"}, "sponge": {operands: "write"}, "pandoc": {operands: "read", writes: " -o --output ", values: "ftrw"},
}

// fileUses fills in Files for the programs of the table, and those with a syntax of their own.
func (c *Command) fileUses() {
	if r, ok := fileRules[c.Base]; ok {
		c.ruleUses(r)
		if c.Base == "curl" {
			c.curlUses()
		}
		return
	}
	switch {
	case c.Base == "dd":
		for _, g := range c.Args {
			for _, o := range [...]struct{ name, op string }{{"if=", "read"}, {"of=", "write"}} {
				if name, ok := strings.CutPrefix(g.approx, o.name); ok && g.Literal {
					c.useText(o.op, name)
				} else if ok {
					c.Files = append(c.Files, Use{Op: o.op})
				}
			}
		}
	case c.Base == "tar" || c.Base == "gtar" || c.Base == "bsdtar":
		c.tarUses()
	case c.Base == "find":
		c.findUses()
	case c.Git != nil:
		c.gitUses()
	case posixShells[c.Base] || isPython(c.Base) || c.Base == "node" || c.Base == "perl" || c.Base == "ruby" || c.Base == "php":
		if len(c.Args) > 0 && !strings.HasPrefix(c.Args[0].approx, "-") && !stdinFiles[c.Args[0].approx] {
			c.use("run", c.Args[0])
		}
	}
}

// ruleUses reads the words as the rule says.
func (c *Command) ruleUses(r fileRule) {
	var operands []*Arg
	below, given, into := r.below == "*", false, false
	has := func(list, name string) bool { return name != "" && strings.Contains(list, " "+name+" ") }
	option := func(name string, value *Arg) {
		switch {
		case has(r.into, name):
			into = true
			c.use("write", value)
		case has(r.writes, name):
			c.use("write", value)
		case has(r.reads, name):
			c.use("read", value)
		}
	}
	for i := 0; i < len(c.Args); i++ {
		g := c.Args[i]
		v := g.approx
		switch {
		case v == "--" && g.Literal:
			operands = append(operands, c.Args[i+1:]...)
			i = len(c.Args)
		case strings.HasPrefix(v, "--"), len(v) > 2 && v[0] == '-' && (has(r.reads, v) || has(r.writes, v) || has(r.longs, v)):
			name, value, attached := strings.Cut(v, "=")
			given = given || has(r.given, name)
			below = below || name == "--recursive" || name == "--archive"
			switch {
			case attached && g.Literal:
				option(name, &Arg{Value: &value, Literal: true, approx: value})
			case attached:
				option(name, &Arg{approx: value})
			case (has(r.into, name) || has(r.writes, name) || has(r.reads, name) || has(r.longs, name)) && i+1 < len(c.Args):
				i++
				option(name, c.Args[i])
			}
		case len(v) > 1 && v[0] == '-' && (!g.Dynamic || g.Prefix != ""):
			for j := 1; j < len(v); j++ {
				name := "-" + v[j:j+1]
				given = given || has(r.given, name)
				below = below || strings.Contains(r.below, v[j:j+1])
				file := has(r.into, name) || has(r.writes, name) || has(r.reads, name)
				if !file && !strings.Contains(r.values, v[j:j+1]) && (name != "-e" || !has(r.given, name)) {
					continue
				}
				if rest := v[j+1:]; rest != "" {
					if g.Literal {
						option(name, &Arg{Value: &rest, Literal: true, approx: rest})
					} else {
						option(name, &Arg{approx: rest})
					}
				} else if i+1 < len(c.Args) {
					i++
					option(name, c.Args[i])
				}
				break
			}
		default:
			operands = append(operands, g)
		}
	}
	from := len(c.Files)
	c.operandUses(r.operands, operands, given, into)
	if below {
		for i := from; i < len(c.Files); i++ {
			c.Files[i].Below = true
		}
	}
}

// operandUses records the operands as the rule says.
func (c *Command) operandUses(rule string, operands []*Arg, given, into bool) {
	which, op, two := strings.Cut(rule, " ")
	if !two {
		which, op = "all", rule
	}
	n := len(operands)
	for i, g := range operands {
		switch {
		case g.approx == "-", strings.HasPrefix(g.approx, "+") && startCommands[c.Base], remotePath(c.Base, g.approx):
		case op == "copy2":
			c.use([...]string{"read", "write"}[min(i, 1)], g)
		case op == "split":
			c.use([...]string{"read", "write"}[min(i, 1)], g)
		case op == "zip":
			c.use([...]string{"write", "read"}[min(i, 1)], g)
		case op == "copy" || op == "move":
			switch {
			case !into && i == n-1 && (n > 1 || op == "move"):
				c.use("write", g)
			case op == "move":
				c.use("delete", g)
			default:
				c.use("read", g)
			}
		case op == "", which == "first" && i > 0, which == "rest" && i == 0 && !given, which == "last" && i < n-1:
		default:
			c.use(op, g)
		}
	}
}

// startCommands take an operand with + for what to do at the start.
var startCommands = set("less", "more", "vi", "vim", "nvim", "ex", "view", "emacs", "nano")

// remotePath reports whether a word is a path on another host.
func remotePath(base, word string) bool {
	if base != "scp" && base != "rsync" {
		return false
	}
	host, _, ok := strings.Cut(word, ":")
	return ok && !strings.Contains(host, "/")
}

// curlUses are the files that curl sends: @file.
func (c *Command) curlUses() {
	for _, g := range c.Args {
		if at := strings.IndexByte(g.approx, '@'); at >= 0 && g.Literal {
			before := g.approx[:at]
			if before == "" || strings.HasPrefix(before, "-") && len(before) == 2 || strings.HasSuffix(before, "=") {
				name, _, _ := strings.Cut(g.approx[at+1:], ";")
				c.useText("read", name)
			}
		}
	}
}

// tarUses reads the old and the new way of writing tar's options.
func (c *Command) tarUses() {
	op, expects := "read", false
	for i, g := range c.Args {
		v := g.approx
		switch {
		case expects:
			expects = false
			c.use(op, g)
			continue
		case strings.HasPrefix(v, "--file="):
			if g.Literal {
				c.useText(op, v[len("--file="):])
			}
			continue
		case v == "--file":
			expects = true
			continue
		case v == "--create" || v == "--append" || v == "--update" || v == "--delete":
			op = "write"
			continue
		case v == "-C" || v == "--directory":
			if i+1 < len(c.Args) {
				c.use("write", c.Args[i+1])
			}
			continue
		case strings.HasPrefix(v, "--"), i > 0 && !strings.HasPrefix(v, "-"):
			continue
		}
		if strings.ContainsAny(v, "cruA") && (i == 0 || v[0] == '-') {
			op = "write"
		}
		if at := strings.IndexByte(v, 'f'); at >= 0 {
			if expects = at == len(v)-1 || i == 0 && v[0] != '-'; !expects && g.Literal {
				c.useText(op, v[at+1:])
			}
		}
	}
}

// gitUses are the files that git is told to write its output to.
func (c *Command) gitUses() {
	for i := min(c.Git.At+1, len(c.Args)); i < len(c.Args); i++ {
		v := c.Args[i].approx
		name, value, attached := strings.Cut(v, "=")
		short := c.Git.Sub == "archive" || c.Git.Sub == "format-patch"
		switch {
		case v == "--":
			return
		case attached && (name == "--output" || name == "--output-directory"):
			c.useText("write", value)
		case v == "--output" || v == "--output-directory", short && v == "-o":
			if i+1 < len(c.Args) {
				i++
				c.use("write", c.Args[i])
			}
		case short && strings.HasPrefix(v, "-o"):
			c.useText("write", v[2:])
		}
	}
}

// findUses are the actions of find that name a file, or delete what was found.
func (c *Command) findUses() {
	deletes := false
	for i, g := range c.Args {
		switch g.approx {
		case "-fprint", "-fprint0", "-fls", "-fprintf":
			if i+1 < len(c.Args) {
				c.use("write", c.Args[i+1])
			}
		case "-delete":
			deletes = true
		}
	}
	if !deletes {
		return
	}
	for _, g := range c.Args {
		if strings.HasPrefix(g.approx, "-") || g.approx == "(" || g.approx == "!" {
			break
		}
		c.use("delete", g)
		c.Files[len(c.Files)-1].Below = true
	}
}

// use records what the command does to the file that a word names.
func (c *Command) use(op string, g *Arg) {
	u := Use{Op: op, arg: g}
	if g.Literal {
		u.Value = g.Value
	}
	c.Files = append(c.Files, u)
}

// useText records a file that is named in the middle of a word.
func (c *Command) useText(op, name string) {
	if name != "" {
		c.Files = append(c.Files, Use{Op: op, Value: &name})
	}
}

// locateUses fills in the path facts of Files.
func (a *analyzer) locateUses(c *Command) {
	for i := range c.Files {
		u := &c.Files[i]
		switch {
		case u.Value != nil:
			u.PathFacts = a.pathFacts(*u.Value, c.bases)
		case u.arg != nil:
			u.PathFacts = u.arg.PathFacts
		}
	}
}
