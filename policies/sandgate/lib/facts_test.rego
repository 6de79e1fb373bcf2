# METADATA
# title: facts for tests
# description: Builders of the facts that internal/facts would give, for the tests of the library and the profiles.
package sandgate.lib.facts_test

# METADATA
# title: word
# description: A literal word; a path outside when it is absolute or begins with two dots.
word(value) := {
	"value": value, "literal": true, "quoted": false, "glob": false, "tilde": false, "brace": false,
	"dynamic": false, "splits": false, "in_workspace": inside(value),
}

# METADATA
# title: unknown
# description: A word that is made while the script runs.
unknown := {
	"literal": false, "quoted": false, "glob": false, "tilde": false, "brace": false, "dynamic": true,
	"splits": true,
}

# METADATA
# title: glob
# description: A pattern all of whose matches are inside.
glob(value) := object.union(word(value), {"literal": false, "glob": true})

# METADATA
# title: inside
# description: Whether the builders take a path to be inside the workspace.
inside(value) if startswith(value, "/workspace/")

inside(value) := false if {
	startswith(value, "/")
	not startswith(value, "/workspace/")
}

inside(value) := false if startswith(value, "..")

inside(value) if not regex.match(`^(/|\.\.)`, value)

# METADATA
# title: command
# description: A simple command from its words, the name first.
command(words) := with_args(words[0], [word(w) | some w in array.slice(words, 1, count(words))])

# METADATA
# title: with args
# description: A simple command from a name and arguments that are facts already.
with_args(name, args) := object.union(_base(name, args), _git(name, args))

_base(name, args) := {
	"index": 0, "kind": "simple", "name": name, "name_static": true, "base": regex.replace(name, `.*/`, ""),
	"dir": regex.replace(regex.replace(name, `^[^/]*$`, ""), `/[^/]*$`, ""), "static": literal(args),
	"args": args, "env": [],
	"redirects": [], "context": [], "via": [], "depth": 0, "opaque": false,
}

# METADATA
# title: literal
# description: All arguments are.
default literal(_) := false

literal(args) if {
	every arg in args {
		arg.literal
	}
}

# Global options of git in these tests: -C and -c take a value.
_git(name, args) := {"git": object.union({"at": at, "options": options}, _sub(args, at))} if {
	regex.match(`(^|/)git$`, name)
	at := min({i |
		some i, arg in args
		not startswith(object.get(arg, "value", "?"), "-")
		not _value(args, i)
	} | {count(args)})
	options := [option |
		some i, arg in args
		i < at
		startswith(arg.value, "-")
		option := _option(args, i, arg)
	]
}

_git(name, _) := {} if not regex.match(`(^|/)git$`, name)

_value(args, i) if {
	i > 0
	args[i - 1].value in {"-C", "-c"}
}

_sub(args, at) := {"sub": args[at].value}

_sub(args, at) := {} if not args[at].value

_option(args, i, arg) := {
	"name": arg.value,
	"value": args[i + 1].value,
	"in_workspace": args[i + 1].in_workspace,
} if {
	arg.value in {"-C", "-c"}
}

_option(_, _, arg) := {"name": arg.value} if not arg.value in {"-C", "-c"}

# METADATA
# title: script
# description: The facts of a script of these commands.
script(commands) := {
	"dialect": "bash", "parsed": true, "bytes": 10, "truncated": false, "too_long": false,
	"too_many_commands": false,
	"overflow": false, "opaque": false, "changes_directory": false, "features": [], "commands": commands,
	"programs": sort({lower(command.base) | some command in commands}),
	"functions": [], "aliases": [], "cwd": {"path": "/workspace", "in_workspace": true},
}

# METADATA
# title: document
# description: The policy input for a bash call with that script.
document(facts) := {
	"schema": "sandgate.input/v1",
	"session": {"profile": "readonly"},
	"tool": {"name": "bash"},
	"call": {"tool": "bash", "args": {"command": "x"}, "cwd": "/workspace", "shell": facts},
}
