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
	["git", "worktree"], ["git", "config", "-l"],
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
	some words in [["git", "log"], ["git", "remote", "-v"], ["git", "archive", "HEAD"], ["ls", "push"], ["git-x"]]
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
