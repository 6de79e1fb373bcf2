package sandgate.lib.readers_test

import data.sandgate.lib.facts_test as facts
import data.sandgate.lib.readers

_reads := [
	["ls"], ["ls", "-la", "src"], ["ls", "--color=auto", "--", "-x"], ["ls", "--all"], ["cat", "a", "-n", "-"],
	["cat", "--number", "--", "-x"], ["grep", "-rn", "/etc/x", "src"], ["grep", "-A", "3", "x", "f"],
	["grep", "-e", "/x", "f"],
	["grep", "-A3", "--color", "--include=*.go", "--max-count=3", "x"], ["egrep", "x", "f"],
	["grep", "--", "-x", "f"],
	["grep", "-m", "1", "--", "/x", "f"],
]

test_reads[words] if {
	some words in _reads
	readers.read_only(facts.command(words))
}

_does_not := [
	["ls", "/"], ["ls", "-L"], ["ls", "--unknown"], ["ls", "--", "/"], ["cat", "/etc/passwd"], ["cat", "-x"],
	["cat", "../x"],
	["./cat", "x"], ["grep", "x", "/etc/passwd"], ["grep", "-f", "x"], ["grep", "-e", "x", "/etc/passwd"],
	["grep", "-e", "-e", "/etc/passwd"], ["grep", "-ne", "x", "/etc/passwd"], ["grep", "-R", "x", "."],
	["grep", "--file=x", "f"], ["grep", "-I", "x", "/etc/passwd"], ["grep", "-e", "--", "-f/etc/shadow"],
	["grep", "--regexp", "x", "/etc/passwd"], ["sed", "p", "x"], ["grep", "-A", "3", "x", "/etc/passwd"],
]

test_does_not_only_read[words] if {
	some words in _does_not
	not readers.read_only(facts.command(words))
}

test_globs if {
	readers.read_only(facts.with_args("cat", [facts.glob("*.go")]))
	readers.read_only(facts.with_args("grep", [facts.word("x"), facts.glob("*.go")]))
	not readers.read_only(facts.with_args("grep", [facts.glob("*.go"), facts.word("/etc/passwd")]))
	not readers.read_only(facts.with_args("cat", [object.remove(facts.glob("*.go"), {"in_workspace"})]))
}

test_a_glob_in_an_option_must_match_nothing if {
	unmatched := object.union(facts.glob("--include=*.go"), {"no_match": true})
	readers.read_only(facts.with_args("grep", [facts.word("x"), unmatched]))
	matched := object.remove(unmatched, {"no_match", "in_workspace"})
	not readers.read_only(facts.with_args("grep", [facts.word("x"), matched]))
	not readers.read_only(facts.with_args("grep", [facts.word("x"), object.union(unmatched, {"value": "--file=*"})]))
}

test_dynamic_words[name] if {
	some name in {"ls", "cat", "grep"}
	not readers.read_only(facts.with_args(name, [facts.unknown]))
	not readers.read_only(facts.with_args(name, [facts.word("x"), facts.unknown]))
}
