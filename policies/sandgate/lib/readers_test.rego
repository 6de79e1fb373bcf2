package sandgate.lib.readers_test

import data.sandgate.lib.facts_test as facts
import data.sandgate.lib.readers

_reads := [
	["grep", "-e", "-rf", "f"], ["grep", "-ne", "--force", "-r", "."], ["grep", "-e", "-e", "f"],
	["grep", "-r", "--include", "*.go", "foo", "."], ["grep", "--exclude-dir", ".git", "-r", "/foo"],
	["grep", "--max-count", "1", "foo", "f"], ["grep", "-f", "patterns.txt", "f"], ["grep", "-e", "x", "--", "-f"],
	["grep", "--regexp", "-x", "f"], ["grep", "x", "-"], ["ls", "-I", "*.o"],
	["ls", "-lI", "/x", "src"], ["ls", "-w80"],
	["ls", "--ignore", "/x"], ["ls", "--sort=size"],
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
	["./cat", "x"], ["grep", "x", "/etc/passwd"], ["grep", "-f", "/etc/x", "f"], ["grep", "-e", "x", "/etc/passwd"],
	["grep", "-e", "-e", "/etc/passwd"], ["grep", "-ne", "x", "/etc/passwd"], ["grep", "-R", "x", "."],
	["grep", "-e", "-e", "--", "-e", "/etc/passwd"], ["grep", "--include", "--include", "x", "/etc/passwd"],
	["grep", "-A", "x", "f"], ["grep", "--max-count", "/etc/x", "x", "f"], ["grep", "--file", "../x", "f"],
	["grep", "-e", "--", "-e", "/etc/passwd", "-f", "/etc/passwd"], ["grep", "-f/etc/x", "f"],
	["grep", "--fil=x", "f"],
	["grep", "x", "--exclude-from=y"], ["ls", "-I", "-I", "/etc"], ["ls", "--", "-I", "/etc"], ["ls", "-wL"],
	["ls", "-I", "x", "-L"], ["grep", "--file=/etc/x", "f"], ["grep", "-x", "/etc", "/etc"],
	["grep", "-I", "x", "/etc/passwd"], ["grep", "-e", "--", "-f/etc/shadow"],
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

test_a_pattern_that_matches_nothing if {
	unmatched := object.union(facts.glob("[a-z]"), {"no_match": true})
	readers.read_only(facts.with_args("grep", [unmatched, facts.word("f")]))
	readers.read_only(facts.with_args("grep", [facts.word("--include"), unmatched, facts.word("x")]))
	outside := object.remove(facts.glob("[a-z]"), {"in_workspace"})
	not readers.read_only(facts.with_args("grep", [outside, facts.word("f")]))
	not readers.read_only(facts.with_args("grep", [facts.word("--include"), outside, facts.word("x")]))
}

test_a_file_of_patterns if {
	arg := object.union(facts.word("--file=p"), {"eq": {"name": "--file", "value": "p", "in_workspace": true}})
	readers.read_only(facts.with_args("grep", [arg, facts.word("f")]))
	not readers.read_only(facts.with_args("grep", [arg, facts.word("/etc/passwd")]))
	outside := object.union(arg, {"eq": {"name": "--file", "value": "p", "in_workspace": false}})
	not readers.read_only(facts.with_args("grep", [outside, facts.word("f")]))
}

# The facts of words here are only about how they begin, so these are made to lead outside.
test_what_looks_like_an_option_after_dashes[name] if {
	some name, word in {"ls": "-Ia/../l", "cat": "-n", "grep": "-ea/../l"}
	outside := object.union(facts.word(word), {"in_workspace": false})
	words := array.concat([facts.word("x") | name == "grep"], [facts.word("--"), outside])
	not readers.read_only(facts.with_args(name, words))
	inside := array.concat([facts.word("x") | name == "grep"], [facts.word("--"), facts.word(word)])
	readers.read_only(facts.with_args(name, inside))
}
