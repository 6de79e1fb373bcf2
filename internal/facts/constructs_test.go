package facts

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// short is the form of the facts in testdata/constructs.tsv: the commands with " | " between them, each with the
// commands that run it before >, its words, !opaque, and what it does to files.
func short(sh *Shell) string {
	var out []string
	for _, c := range sh.Commands {
		words := []string{}
		switch {
		case c.Kind == "assign" || c.Kind == "redirect":
			words = append(words, c.Kind)
		case !c.NameStatic:
			words = append(words, "?")
		default:
			words = append(words, c.Name)
		}
		for _, g := range c.Args {
			words = append(words, strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(argText(g)))
		}
		for _, e := range c.Env {
			words = append(words, e.Name+"=")
		}
		line := strings.Join(words, " ")
		if len(c.Via) > 0 {
			line = strings.Join(c.Via, ">") + ">" + line
		}
		for _, u := range c.Files {
			name := "?"
			if u.Value != nil {
				name = *u.Value
			}
			if u.Below {
				name += "/**"
			}
			line += " {" + u.Op + " " + name + "}"
		}
		if c.Function {
			line += " !function"
		}
		if c.Opaque {
			line += " !opaque"
		}
		out = append(out, line)
	}
	text := strings.Join(out, " | ")
	if len(sh.Variables) > 0 {
		text += " $" + strings.Join(sh.Variables, ",")
	}
	if !sh.Parsed {
		text += " unparsed"
	}
	if sh.Overflow {
		text += " overflow"
	}
	return text
}

// TestConstructs holds the facts of every construct of bash and of the programs that run others against a table:
// script, facts in short form, where the construct is described. \n, \t and \\ are escapes in the script.
func TestConstructs(t *testing.T) {
	f, err := os.Open("testdata/constructs.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	lines, n := bufio.NewScanner(f), 0
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		fields := strings.Split(lines.Text(), "\t")
		if len(fields) != 3 || fields[2] == "" {
			t.Fatalf("%q: want three fields", lines.Text())
		}
		n++
		script := strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t").Replace(fields[0])
		got := short(AnalyzeShell(script, Options{Root: testFS}))
		if out := os.Getenv("CONSTRUCTS_OUT"); out != "" {
			t.Logf("%s\t%s\t%s", fields[0], got, fields[2])
			continue
		}
		if got != fields[1] {
			t.Errorf("%s\n got %s\nwant %s", fields[0], got, fields[1])
		}
	}
	if err := lines.Err(); err != nil || n < 150 {
		t.Errorf("%d scripts, %v", n, err)
	}
}
