package facts

import "strings"

// commandOptions are the options by which programs take a command for a shell, or a program to run.
var commandOptions = map[string]string{
	"rsync": "-e --rsh --rsync-path", "sort": "--compress-program", "split": "--filter", "zip": "-TT --unzip-command", "rg": "--pre --hostname-bin",
	"man": "-P --pager -H --html", "wget": "--use-askpass", "go": "-exec -toolexec", "helm": "--post-renderer", "mail": "-S", "bat": "--pager", "batcat": "--pager", "delta": "--pager", "gpg": "--photo-viewer",
	"socat": "", "nc": "-e -c --exec --sh-exec", "ncat": "-e -c --exec --sh-exec", "netcat": "-e -c", "pg_dump": "", "psql": "", "mysql": "", "sqlite3": "", "sshfs": "-o", "svn": "",
	"cmp": "", "entr": "", "lftp": "-e -c", "tcpdump": "-z", "ip": "", "hg": "", "watchman": "", "logger": "", "nmap": "", "cpio": "--rsh-command", "mutt": "", "irb": "",
}

// optionCommands analyses the commands that options name.
func (a *analyzer) optionCommands(c *Command, sc scope) {
	options, ok := commandOptions[c.Base]
	if !ok {
		return
	}
	if options != "" {
		a.optionScripts(c, c.Args, sc, strings.Fields(options)...)
	}
	if c.Base == "go" && len(c.Args) > 0 && strings.Contains(" run test generate tool ", " "+c.Args[0].approx+" ") {
		c.opaque("it runs what files tell it to")
	}
	for i, g := range c.Args {
		v := g.approx
		switch c.Base {
		case "socat":
			for _, kind := range [...]string{"EXEC:", "SYSTEM:", "SHELL:"} {
				if len(v) > len(kind) && strings.EqualFold(v[:len(kind)], kind) {
					text, _, _ := strings.Cut(v[len(kind):], ",")
					a.text(c, text, g.Literal, sc)
				}
			}
		case "psql", "mysql", "sqlite3":
			for line := range strings.Lines(v) {
				for _, mark := range [...]string{`\!`, ".shell ", ".system ", "system "} {
					if _, text, found := strings.Cut(line, mark); found {
						c.opaque("it can run commands")
						a.seen(c, text, sc)
					}
				}
			}
		case "ip":
			if v == "exec" && i > 0 && i+2 < len(c.Args) && c.Args[i-1].approx == "netns" {
				a.command(c, c.Args[i+2:], sc)
			}
		case "hg":
			if strings.Contains(v, "alias.") || strings.Contains(v, "hooks.") || strings.HasPrefix(v, "--config") {
				c.opaque("its configuration can run commands")
				if _, text, found := strings.Cut(v, "!"); found {
					a.seen(c, text, sc)
				}
			}
		case "nmap":
			if strings.HasPrefix(v, "--script") {
				c.opaque("it runs scripts")
			}
		}
	}
}
