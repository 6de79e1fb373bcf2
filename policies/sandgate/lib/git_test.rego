package sandgate.lib.git_test

import data.sandgate.lib.facts_test as facts
import data.sandgate.lib.git

_reads := [
	["git", "status"], ["git", "--version"], ["git", "--no-pager", "log", "--oneline", "-n", "20"],
	["/usr/bin/git", "log"],
	["git", "-C", "sub", "diff", "HEAD~1", "--", "a"], ["git", "log", "--format=%h"], ["git", "branch"],
	["git", "branch", "--contains", "HEAD"], ["git", "tag", "-l", "v*"], ["git", "remote", "-v"], ["git", "remote"],
	["git", "remote", "get-url", "origin"], ["git", "stash", "list"], ["git", "grep", "-n", "/x", "src"],
	["git", "reflog"],
]

test_reads[words] if {
	some words in _reads
	git.read_only(facts.command(words))
}

_each_subcommand := [
	["git", "blame", "-L", "1,2", "f"],
	["git", "cat-file", "-p", "HEAD"],
	["git", "cherry", "-v"],
	["git", "config", "--get", "user.name"],
	["git", "count-objects", "-v"],
	["git", "describe", "--tags"],
	["git", "diff-files"],
	["git", "diff-index", "HEAD"],
	["git", "diff-tree", "-r", "HEAD"],
	["git", "for-each-ref", "--sort=x"],
	["git", "ls-files", "-o"],
	["git", "ls-tree", "HEAD"],
	["git", "merge-base", "a", "b"],
	["git", "name-rev", "HEAD"],
	["git", "rev-list", "--count", "HEAD"],
	["git", "rev-parse", "HEAD"],
	["git", "shortlog", "-sn"],
	["git", "show", "HEAD"],
	["git", "show-branch"],
	["git", "show-ref"],
	["git", "whatchanged"],
	["git", "worktree", "list"],
]

test_reads_with_each_subcommand[words] if {
	some words in _each_subcommand
	git.read_only(facts.command(words))
	not git.read_only(facts.command(array.concat(words, ["--unknown"])))
	not git.read_only(facts.command(array.concat(words, ["/etc/passwd"])))
}

_does_not := [
	["git"], ["git", "x"], ["git", "branch", "new"], ["git", "branch", "-v", "new"], ["git", "tag", "v1"],
	["git", "diff", "--output=x"],
	["git", "diff", "a", "/etc/passwd"], ["git", "log", "--format=%G?"], ["git", "-c", "a=b", "status"],
	["git", "-p", "log"],
	["git", "-C", "/etc", "status"], ["git", "stash"], ["git", "stash", "pop"],
	["git", "remote", "add", "x", "y"], ["./git", "log"],
	["git", "grep", "-O", "x"], ["git", "grep", "-e", "x", "/etc"], ["git", "log", "-S", "--", "--output=x"],
	["git", "branch", "--"],
	["git", "worktree"], ["git", "config", "edit"], ["git", "config", "a.b", "c"],
]

test_does_not_only_read[words] if {
	some words in _does_not
	not git.read_only(facts.command(words))
}

test_dynamic_words if {
	not git.read_only(facts.with_args("git", [facts.word("log"), facts.unknown]))
	not git.read_only(facts.with_args("git", [facts.unknown]))
	not git.read_only(facts.with_args("git", [facts.word("diff"), facts.glob("*")]))
}

test_environment if {
	command := object.union(facts.command(["git", "log"]), {"env": [{"name": "GIT_DIR", "value": "x", "static": true}]})
	not git.read_only(command)
}

_network := [
	["git", "push"], ["git", "-C", "x", "fetch"], ["git", "remote", "show", "origin"],
	["git", "submodule", "update"],
	["git", "archive", "--remote=x"], ["/usr/lib/git-core/git-push"],
]

test_network[words] if {
	some words in _network
	git.network(facts.command(words))
}

test_not_network[words] if {
	some words in [
		["git", "log"], ["git", "remote", "-v"], ["git", "remote", "-v", "show"],
		["git", "archive", "HEAD"], ["ls", "push"], ["git-x"],
	]
	not git.network(facts.command(words))
}

_destructive := [
	["git", "clean", "-fd"], ["git", "reset", "--hard"], ["git", "checkout", "--", "."],
	["git", "checkout", "-fb", "x"],
	["git", "branch", "-D", "x"], ["git", "branch", "--delete", "x"], ["git", "restore", "f"],
	["git", "restore", "-S", "-W", "f"],
	["git", "rm", "f"], ["git", "gc", "--prune=now"], ["git", "update-ref", "-d", "x"], ["git", "prune"],
	["git", "tag", "-d", "x"],
]

test_destructive[words] if {
	some words in _destructive
	git.destructive(facts.command(words))
}

test_not_destructive[words] if {
	some words in [
		["git", "clean", "-n"], ["git", "reset"], ["git", "checkout", "x"], ["git", "branch", "-a"],
		["git", "restore", "--staged", "f"],
		["git", "rm", "--cached", "f"], ["git", "gc"], ["git", "log"], ["git", "tag"], ["rm", "x"],
	]
	not git.destructive(facts.command(words))
}

_harmless_formats := [
	["git", "log", "--date=format:%G-W%V"], ["git", "log", "--pretty=fuller"], ["git", "log", "--format="],
	["git", "log", "--format=tformat:x"], ["git", "reflog", "--format=%+h%- an"], ["git", "log", "--grep=%G"],
	["git", "shortlog", "--group=%an"],
	["git", "for-each-ref", "--format", "%(refname)", "--sort", "-committerdate"],
	["git", "tag", "--sort=-creatordate", "--format=%(creatordate:format:%G)"],
	["git", "ls-files", "--format=%(path)"],
]

test_harmless_formats[words] if {
	some words in _harmless_formats
	git.read_only(facts.command(words))
}

_verifying_formats := [
	["git", "log", "--format=%+GK"], ["git", "log", "--format=%-G?"], ["git", "log", "--format=% GS"],
	["git", "log", "--pretty=foo"], ["git", "log", "--pretty=o"], ["git", "log", "--format=tformat:%G?"],
	["git", "stash", "list", "--format=%+GK"], ["git", "reflog", "--format=foo"],
	["git", "shortlog", "--group=%GK"], ["git", "for-each-ref", "--format=%(signature)"],
	["git", "for-each-ref", "--format", "%(signature:key)"], ["git", "branch", "--sort=-signature"],
	["git", "tag", "--sort", "signature"],
]

test_formats_that_verify[words] if {
	some words in _verifying_formats
	not git.read_only(facts.command(words))
}

_values := [
	["git", "grep", "-e", "-rf"], ["git", "grep", "-ne", "-rf"], ["git", "grep", "-A", "3", "/x"],
	["git", "diff", "-G", "/foo"], ["git", "reflog", "-n", "5"], ["git", "blame", "-L", "/foo/,+5", "a"],
	["git", "log", "-S", "/etc", "-n", "3"], ["git", "log", "-S", "-S", "--", "a"], ["git", "branch", "--sort", "x"],
	["git", "tag", "--contains", "/x", "--format", "-%(refname)"],
]

test_values[words] if {
	some words in _values
	git.read_only(facts.command(words))
}

_no_values := [
	["git", "grep", "-e", "-e", "-f"], ["git", "grep", "-e", "x", "-f"], ["git", "diff", "-G", "-G", "/etc/passwd"],
	["git", "diff", "--", "-G", "/etc/passwd"], ["git", "log", "-S", "--output=x"],
	["git", "branch", "--format", "--list", "new"], ["git", "branch", "--sort", "x", "new"],
	["git", "reflog", "-n", "expire"], ["git", "grep", "-efoo", "/etc/passwd"], ["git", "grep", "--", "/x"],
	["git", "tag", "--", "--list"], ["git", "branch", "--sort", "-d", "new"],
]

test_no_values[words] if {
	some words in _no_values
	not git.read_only(facts.command(words))
}

_listings := [
	["git", "config", "--list"], ["git", "config", "-l", "--show-origin"], ["git", "config", "user.name"],
	["git", "config", "--get-regexp", "^user"], ["git", "config", "get", "user.name"], ["git", "config", "list"],
	["git", "symbolic-ref", "HEAD"], ["git", "symbolic-ref", "--short", "-q", "HEAD"], ["git", "bisect", "log"],
	["git", "notes"], ["git", "notes", "list"], ["git", "check-ignore", "-v", "a.o"],
	["git", "check-attr", "-a", "f"],
	["git", "range-diff", "a", "b", "c"], ["git", "diff", "--relative"],
]

test_listings[words] if {
	some words in _listings
	git.read_only(facts.command(words))
}

_no_listings := [
	["git", "config"], ["git", "config", "--global", "-l"], ["git", "config", "-l", "--file=/etc/passwd"],
	["git", "config", "--", "a.b"], ["git", "config", "remove-section", "a.b"], ["git", "symbolic-ref", "HEAD", "x"],
	["git", "symbolic-ref", "-d", "x"], ["git", "bisect", "run", "x"], ["git", "notes", "add"],
	["git", "check-ignore", "--stdin"], ["git", "submodule", "status"],
]

test_no_listings[words] if {
	some words in _no_listings
	not git.read_only(facts.command(words))
}

_abbreviated := [
	["git", "branch", "--de", "x"], ["git", "branch", "--d", "x"], ["git", "tag", "--de", "x"],
	["git", "checkout", "--for", "x"], ["git", "switch", "-qf", "x"], ["git", "switch", "--discard", "x"],
	["git", "checkout-index", "-f", "-a"], ["git", "checkout-index", "-af"], ["git", "reset", "--ha"],
	["git", "read-tree", "--reset", "-u", "HEAD"], ["git", "branch", "-qD", "x"], ["git", "update-ref", "--del", "x"],
]

test_abbreviated_options_destroy[words] if {
	some words in _abbreviated
	git.destructive(facts.command(words))
}

_not_abbreviated := [
	["git", "tag", "-madded", "v1"], ["git", "reset", "--mixed"], ["git", "checkout", "--detach", "x"],
	["git", "switch", "-cfeature"], ["git", "branch", "--contains", "x"], ["git", "symbolic-ref", "HEAD"],
]

test_other_options_do_not_destroy[words] if {
	some words in _not_abbreviated
	not git.destructive(facts.command(words))
}

test_fetching_in_the_background_is_network if {
	git.network(facts.command(["git", "maintenance", "run", "--task=prefetch"]))
	git.network(facts.command(["git", "maintenance", "run", "--task", "prefetch"]))
	git.network(facts.command(["git", "backfill"]))
	not git.network(facts.command(["git", "maintenance", "run"]))
}

test_what_looks_like_an_option_after_dashes if {
	outside := object.union(facts.word("-Ga/../../x"), {"in_workspace": false})
	not git.read_only(facts.with_args("git", [facts.word("diff"), facts.word("--"), outside]))
	git.read_only(facts.with_args("git", [facts.word("diff"), facts.word("--"), facts.word("-Ga")]))
	not git.read_only(facts.command(["git", "stash", "list", "--", "--output=x"]))
	not git.read_only(facts.command(["git", "stash", "list", "--", "-p"]))
}
