package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/gowebpki/jcs"
)

func mustNew(t *testing.T, opts Options) *Catalog {
	t.Helper()
	c, err := New(opts)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return c
}

func lookup(t *testing.T, c *Catalog, name string) Tool {
	t.Helper()
	tool, err := c.Lookup(name)
	if err != nil {
		t.Fatalf("Lookup(%q): %v", name, err)
	}
	return tool
}

func TestBuiltinTools(t *testing.T) {
	c := mustNew(t, Options{})
	var names []string
	for _, tool := range c.Tools() {
		names = append(names, tool.Name)
		if tool.Source != SourceBuiltin || len(tool.Description) < 100 {
			t.Errorf("%s: source %q, description of %d bytes", tool.Name, tool.Source, len(tool.Description))
		}
		if !json.Valid(tool.InputSchema) {
			t.Errorf("%s: input schema is not JSON", tool.Name)
		}
	}
	want := []string{"bash", "edit_file", "glob", "grep", "list_dir", "python", "read_file", "write_file"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("tools (-want +got):\n%s", diff)
	}
	if got := lookup(t, c, "bash").Facts.ShellArg; got != "command" {
		t.Errorf("bash: shell argument is %q, want command", got)
	}
}

func TestCommand(t *testing.T) {
	c := mustNew(t, Options{InitPath: "/cell/init"})
	tests := []struct {
		name, tool, args string
		want             Command
	}{
		{
			"bash is one argv item", "bash", `{"command":"echo \"$(id)\"; rm -rf /"}`,
			Command{Argv: []string{"/bin/bash", "--noprofile", "--norc", "-c", `echo "$(id)"; rm -rf /`}},
		},
		{
			"timeout", "bash", `{"command":"true","timeout_ms":1500}`,
			Command{Argv: []string{"/bin/bash", "--noprofile", "--norc", "-c", "true"}, Timeout: 1500 * time.Millisecond},
		},
		{
			"integer written as a float", "bash", `{"command":"true","timeout_ms":1.5e3}`,
			Command{Argv: []string{"/bin/bash", "--noprofile", "--norc", "-c", "true"}, Timeout: 1500 * time.Millisecond},
		},
		{"python", "python", `{"code":"print(1)"}`, Command{Argv: []string{"python3", "-u", "-c", "print(1)"}}},
		{
			"file tool gets its arguments on stdin", "read_file", `{"path":"a"}`,
			Command{Argv: []string{"/cell/init", "tool", "read_file"}, Stdin: []byte(`{"path":"a"}`), StdinIsArgs: true},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := lookup(t, c, tt.tool).Command(json.RawMessage(tt.args))
			if err != nil {
				t.Fatalf("Command: %v", err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
		})
	}
}

func TestValidateNamesTheField(t *testing.T) {
	c := mustNew(t, Options{})
	tests := []struct{ name, tool, args, want string }{
		{"missing", "bash", `{}`, `tool bash: argument "command" is missing: want a string`},
		{"type", "bash", `{"command":7}`, `tool bash: argument "command" is a number: want a string`},
		{"unknown", "read_file", `{"path":"a","lines":3}`, `tool read_file: argument "lines" is unknown: want only limit, offset, path`},
		{"enum", "grep", `{"pattern":"x","output_mode":"json"}`, `tool grep: argument "output_mode" is "json": want one of "content", "files_with_matches", "count"`},
		{"empty string", "bash", `{"command":""}`, `tool bash: argument "command" has 0 characters: want at least 1`},
		{"too small", "read_file", `{"path":"a","offset":0}`, `tool read_file: argument "offset" is not valid (minimum: got 0, want 1)`},
		{"NUL", "bash", `{"command":"a\u0000b"}`, `tool bash: argument "command" contains a NUL character: want text without NUL`},
		{"NUL in a key", "bash", `{"a\u0000":1}`, `tool bash: argument "a\\0" contains a NUL character: want text without NUL`},
		{"invalid UTF-8", "bash", "{\"command\":\"a\xff\"}", `tool bash: arguments are not valid UTF-8 at byte 13: want a JSON object in UTF-8`},
		{"duplicate key", "bash", `{"command":"ls","command":"rm -rf ."}`, `tool bash: argument "command" is given twice: want each argument once`},
		{"duplicate key by escape", "bash", `{"command":"ls","c\u006fmmand":"rm"}`, `tool bash: argument "command" is given twice: want each argument once`},
		{"lone surrogate", "bash", `{"command":"\ud800"}`, `tool bash: arguments hold half a surrogate pair at byte 12: want a whole pair such as "\ud83d\ude00"`},
		{"array", "bash", `["ls"]`, `tool bash: arguments are an array: want a JSON object`},
		{"null", "bash", `null`, `tool bash: arguments are null: want a JSON object`},
		{"empty", "bash", ` `, `tool bash: arguments are empty: want a JSON object, {} for none`},
		{"two documents", "bash", `{"command":"ls"} {}`, `tool bash: arguments go on after the end of the object: want one JSON object`},
		{"argv item too long", "bash", `{"command":"` + strings.Repeat("x", 128<<10) + `"}`, `tool bash: argument "command" is 131072 bytes: want at most 131071: put long content into a file first and name the file`},
		{"too much", "write_file", `{"path":"a","content":"` + strings.Repeat("x", 1<<20) + `"}`, `tool write_file: arguments are 1048601 bytes: want at most 1048576`},
		{"huge number", "bash", `{"command":"x","timeout_ms":1e999}`, `tool bash: argument "timeout_ms" is a number that is too large or too long: want a finite double`},
		{"tiny number", "bash", `{"command":"x","timeout_ms":1e-999999999}`, `is a number that is too large or too long: want a finite double`},
		{"number of many digits", "bash", `{"command":"x","timeout_ms":` + strings.Repeat("9", 65) + `}`, `is a number that is too large or too long: want a finite double`},
		{"too deep", "bash", `{"command":` + strings.Repeat("[", 70) + strings.Repeat("]", 70) + `}`, `is nested deeper than 64`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := lookup(t, c, tt.tool).Validate(json.RawMessage(tt.args))
			var ae *ArgumentError
			if !errors.As(err, &ae) || !errdefs.IsInvalidArgument(err) {
				t.Fatalf("got %v, want an *ArgumentError", err)
			}
			if !strings.HasSuffix(err.Error(), tt.want) {
				t.Errorf("got  %s\nwant %s", err, tt.want)
			}
		})
	}
}

func TestValidateAcceptsSurrogatePairsAndBackslashes(t *testing.T) {
	c := mustNew(t, Options{})
	for _, args := range []string{`{"command":"\ud83d\ude00"}`, `{"command":"\\ud800"}`, `{"command":"\"\\"}`} {
		if err := lookup(t, c, "bash").Validate(json.RawMessage(args)); err != nil {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestLookupUnknownNamesNearTools(t *testing.T) {
	c := mustNew(t, Options{})
	for name, want := range map[string]string{
		"Bash": "bash", "readfile": "read_file", "ReadFile": "read_file", "read": "read_file", "Grep": "grep", "ls_dir": "list_dir",
	} {
		_, err := c.Lookup(name)
		var ue *UnknownToolError
		if !errors.As(err, &ue) || !errdefs.IsNotFound(err) {
			t.Fatalf("%s: got %v, want an *UnknownToolError", name, err)
		}
		if len(ue.Near) == 0 || ue.Near[0] != want {
			t.Errorf("%s: near %v, want %s first", name, ue.Near, want)
		}
	}
	_, err := c.Lookup("launch_missiles")
	if want := "want one of bash, edit_file"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want it to contain %q", err, want)
	}
}

const ping = `
name: ping
description: Pings a host.
effects: [network]
risk: medium
image: net:1
input_schema:
  type: object
  additionalProperties: false
  required: [hosts]
  properties:
    hosts: {type: array, items: {type: string}}
    count: {type: integer}
    quiet: {type: boolean}
exec:
  argv: [ping, {arg: count, flag: -c}, {arg: quiet, flag: -q}, --, {arg: hosts, spread: true}]
  env: [LANG=C]
`

func TestOperatorTool(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "ping.yaml", ping)
	write(t, dir, "README.txt", "not a tool")
	c := mustNew(t, Options{Dir: dir, Disable: []string{"python"}})
	tool := lookup(t, c, "ping")
	if tool.Source != SourceOperator || tool.Image != "net:1" {
		t.Errorf("got source %q image %q, want operator net:1", tool.Source, tool.Image)
	}
	cmd, err := tool.Command(json.RawMessage(`{"hosts":["a b","$(id)"],"count":3,"quiet":true}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Command{Argv: []string{"ping", "-c", "3", "-q", "--", "a b", "$(id)"}, Env: []string{"LANG=C"}}
	if diff := cmp.Diff(want, cmd); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
	if _, err := c.Lookup("python"); !errdefs.IsNotFound(err) {
		t.Errorf("disabled tool: got %v, want not found", err)
	}
}

func TestBrokenDeclarationsAreRefused(t *testing.T) {
	tests := []struct{ name, old, new, want string }{
		{"unknown key", "risk: medium", "risk: medium\nrisky: true", `unknown field "risky"`},
		{"name", "name: ping", "name: Ping Tool", `name "Ping Tool"`},
		{"built-in name", "name: ping", "name: bash", `tool "bash" is already declared (builtin)`},
		{"open schema", "additionalProperties: false", "additionalProperties: true", `want "additionalProperties": false`},
		{"no such property", "{arg: hosts, spread: true}", "{arg: host}", `exec.argv[4]: input_schema has no property "host"`},
		{"program chosen by the model", "argv: [ping,", "argv: [{arg: hosts},", "exec.argv[0]: want a literal"},
		{"risk", "risk: medium", "risk: none", `risk "none"`},
		{"bad schema", "type: integer", "type: whole", "input_schema:"},
		{"remote schema", "{type: integer}", "{$ref: 'http://localhost/x'}", "cannot refer to other documents"},
		{"env", "LANG=C", "LANG", "exec.env[0]"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			text := strings.Replace(ping, tt.old, tt.new, 1)
			if text == ping {
				t.Fatalf("%q is not in the declaration", tt.old)
			}
			write(t, dir, "ping.yaml", text)
			_, err := New(Options{Dir: dir})
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "ping.yaml") {
				t.Errorf("got %v, want it to name ping.yaml and contain %q", err, tt.want)
			}
		})
	}
	if _, err := New(Options{Dir: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("missing directory: got no error")
	}
	if _, err := New(Options{Disable: []string{"nosuch"}}); err == nil {
		t.Error("disabling an unknown tool: got no error")
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzCommand(f *testing.F) {
	for _, s := range []string{`{"command":"ls"}`, `{"command":"\ud800"}`, `{"a":[{}],"a":1}`, `[`, `{"command":"x","timeout_ms":1e99}`} {
		f.Add([]byte(s))
	}
	c, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	bash, err := c.Lookup("bash")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, args []byte) {
		cmd, err := bash.Command(args)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) {
				t.Fatalf("got %v, want an invalid argument", err)
			}
			return
		}
		var doc struct{ Command string }
		if err := json.Unmarshal(args, &doc); err != nil {
			t.Fatalf("accepted what is not JSON: %v", err)
		}
		if len(cmd.Argv) != 5 || cmd.Argv[4] != doc.Command || strings.ContainsRune(cmd.Argv[4], 0) {
			t.Fatalf("argv %q for command %q", cmd.Argv, doc.Command)
		}
	})
}

// acceptSteps is what Accept stands for, step by step.
func acceptSteps(tool Tool, args json.RawMessage) (json.RawMessage, Command, error) {
	if err := tool.Validate(args); err != nil {
		return nil, Command{}, err
	}
	canonical, err := jcs.Transform(args)
	if err != nil {
		return nil, Command{}, err
	}
	cmd, err := tool.Command(canonical)
	return canonical, cmd, err
}

// FuzzAccept: it is what its steps are, for every tool.
func FuzzAccept(f *testing.F) {
	c, err := New(Options{})
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{
		`{"command": "true"}`, `{"timeout_ms": 1e3, "command": "ls \u00e9"}`, `{"command": "x", "timeout_ms": 1000.0}`, `{"command": ""}`,
		`{"command":"x","timeout_ms":9007199254740993}`, `{"path": "a", "limit": 10, "offset": -0}`, `{"code": "print(1)"}`,
		`{"pattern": "x", "path": "src", "max_results": 1.5}`, `{"path": "a", "old_string": "x", "new_string": "y<>\u2028"}`, `{}`, `[]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, args []byte) {
		for _, tool := range c.Tools() {
			canonical, cmd, err := tool.Accept(args)
			wantCanonical, wantCmd, wantErr := acceptSteps(tool, args)
			if (err == nil) != (wantErr == nil) || (err != nil && wantErr != nil && err.Error() != wantErr.Error() && !strings.Contains(err.Error(), "canonical")) {
				t.Fatalf("%s: %q: got the error %v, want %v", tool.Name, args, err, wantErr)
			}
			if err != nil {
				continue
			}
			if diff := cmp.Diff(wantCmd, cmd); diff != "" || string(canonical) != string(wantCanonical) {
				t.Fatalf("%s: %q: got %s, want %s; command (-want +got):\n%s", tool.Name, args, canonical, wantCanonical, diff)
			}
		}
	})
}

// FuzzParse: what is taken is JSON, and means what encoding/json says it means.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		`{"command": "true"}`, `{"a": [1, -2.5e3, null, true, {"b": {}}], "c": "\u00e9<"}`, `[1,]`, `{"a":1,}`, `{,}`, `{"a" 1}`, `[}`,
		`{"a":1}{}`, ` {} `, `"\ud800"`, `{"a":1,"a":2}`, `01`, `nul`, `[[[[`, `{"a":}`, `1 2`, `{1:2}`, `-`, `"\x"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := (Tool{Name: "t"}).parse(text)
		if err != nil {
			if got != nil {
				t.Fatalf("%q: got %v with the error %v", text, got, err)
			}
			return
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber()
		var want any
		if err := dec.Decode(&want); err != nil || !json.Valid(text) {
			t.Fatalf("%q: taken, but encoding/json says %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-encoding/json +parse):\n%s", text, diff)
		}
	})
}

// TestDigestOfADeclaration: it changes with whatever decides what runs, and with nothing else.
func TestDigestOfADeclaration(t *testing.T) {
	const text = "name: x\ndescription: d\ninput_schema: {type: object, additionalProperties: false, properties: {a: {type: string}}}\n" +
		"effects: [read]\nrisk: low\nexec: {argv: [echo, {arg: a}]}\n"
	of := func(text string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "x.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return lookup(t, mustNew(t, Options{Dir: dir}), "x").Digest
	}
	base := of(text)
	if !strings.HasPrefix(base, "sha256:") || of("# a note\n"+text) != base {
		t.Errorf("the digest is %q, with a comment %q", base, of("# a note\n"+text))
	}
	for old, with := range map[string]string{
		"[echo,": "[rm,", "{arg: a}]": "{arg: a, flag: --x}]", "{type: string}": "{type: string, maxLength: 9}",
		"risk: low": "risk: high", "exec: {": "image: tools\nexec: {env: [A=b], ", "[read]": "[write]",
	} {
		if got := of(strings.Replace(text, old, with, 1)); got == base {
			t.Errorf("with %q for %q the digest is the same", with, old)
		}
	}
}
