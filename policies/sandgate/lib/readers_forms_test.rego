# METADATA
# title: readers forms
# description: >-
#   Every option with which ls, cat and grep only read, after the manuals of GNU coreutils 9 and grep 3, one a line, and
#   what looks like one of them and is not.
package sandgate.lib.readers_forms_test

import data.sandgate.lib.facts_test as facts
import data.sandgate.lib.readers

_lines(table) := {line | some line in split(table, "\n"); line != ""}

_fact(line) := facts.command(split(line, " "))

_reads := `
ls
ls -
ls src
ls -aAbBcCdfFgGhiklmnNopqQrRsStuUvxX1Z
ls -laT 4
ls -laT4
ls -I /x
ls -lI /x src
ls -I/x
ls -w 80
ls -w80
ls --
ls -- -x
ls src -l
ls --all
ls --almost-all
ls --author
ls --classify
ls --color
ls --directory
ls --escape
ls --file-type
ls --full-time
ls --group-directories-first
ls --human-readable
ls --inode
ls --literal
ls --no-group
ls --numeric-uid-gid
ls --quote-name
ls --recursive
ls --reverse
ls --si
ls --size
ls --version
ls --help
ls --zero
ls --block-size=1K
ls --classify=always
ls --color=always
ls --format=long
ls --hyperlink=auto
ls --ignore=x
ls --indicator-style=slash
ls --quoting-style=c
ls --sort=size
ls --tabsize=4
ls --time=atime
ls --time-style=iso
ls --width=80
ls --block-size /1
ls --format /x
ls --ignore /x
ls --indicator-style /x
ls --quoting-style /x
ls --sort /x
ls --tabsize /4
ls --time /x
ls --time-style /x
ls --width /80
cat
cat -
cat a -
cat -- -
cat -AbeEnstTuv a
cat -- -x
cat --
cat --number a
cat --number-nonblank a
cat --show-all a
cat --show-ends a
cat --show-nonprinting a
cat --show-tabs a
cat --squeeze-blank a
cat --version
cat --help
grep x a
grep /x a
grep x -
grep - a
grep -EFGPivwxycLloqsbHhnTuUZzarI0 /x a
grep -A3 /x a
grep -B3 /x a
grep -C3 /x a
grep -m3 /x a
grep -5 /x a
grep -nA 3 /x a
grep -B 3 /x a
grep -C 3 /x a
grep -m 3 /x a
grep -e /x a
grep -e -x a
grep -ne /x a
grep -e/x a
grep -e /x -e /y a
grep -e -e -e -e a
grep -f a b
grep -nf a b
grep -e x -- -f
grep -- /x a
grep -- -x -f
grep x -- a
grep -e x --
grep --file a b
grep --regexp /x a
grep --regexp -x a
grep --regexp=/x a
grep --after-context 3 /x a
grep --before-context 3 /x a
grep --context 3 /x a
grep --max-count 3 /x a
grep --binary-files /x /y a
grep --exclude /x /y a
grep --exclude-dir /x /y a
grep --group-separator /x /y a
grep --include /x /y a
grep --label /x /y a
grep --after-context=3 /x a
grep --before-context=3 /x a
grep --binary-files=text /x a
grep --color=always /x a
grep --colour=always /x a
grep --context=3 /x a
grep --exclude=x /x a
grep --exclude-dir=x /x a
grep --group-separator=x /x a
grep --include=x /x a
grep --label=x /x a
grep --max-count=3 /x a
grep --basic-regexp /x a
grep --byte-offset /x a
grep --color /x a
grep --colour /x a
grep --count /x a
grep --extended-regexp /x a
grep --files-with-matches /x a
grep --files-without-match /x a
grep --fixed-strings /x a
grep --help
grep --ignore-case /x a
grep --initial-tab /x a
grep --invert-match /x a
grep --line-buffered /x a
grep --line-number /x a
grep --line-regexp /x a
grep --no-filename /x a
grep --no-group-separator /x a
grep --no-ignore-case /x a
grep --no-messages /x a
grep --null /x a
grep --null-data /x a
grep --only-matching /x a
grep --perl-regexp /x a
grep --quiet /x a
grep --recursive /x a
grep --silent /x a
grep --text /x a
grep --version
grep --with-filename /x a
grep --word-regexp /x a
egrep /x a
fgrep /x a
/bin/ls src
/usr/bin/cat a
`

test_reads[line] if {
	some line in _lines(_reads)
	readers.read_only(_fact(line))
}

_does_more := `
ls /
ls ../x
ls -L
ls -H
ls -lL
ls -I x -L
ls -wL
ls -T x /
ls -I -I /
ls -- -I /
ls -- /x
ls --ignore x /
ls --sort x /
ls --format x -L
ls --dereference
ls --dereference-command-line
ls --dired -L
ls --col
ls --hide=x
ls --no-such=x
ls x --width 80 /
ls - /
cat /etc/passwd
cat a /etc/passwd
cat -- /etc/passwd
cat -x a
cat -n /etc/passwd
cat --numb a
cat --no-such
grep x /etc/passwd
grep x a /etc/passwd
grep -e x /etc/passwd
grep -ne x /etc/passwd
grep -ex /etc/passwd
grep -e -e /etc/passwd
grep -e x -e y /etc/passwd
grep -e -e -e -e /etc/passwd
grep -x /x /etc/passwd
grep -f /etc/passwd a
grep -f a /etc/passwd
grep -nf /etc/passwd a
grep -f/etc/passwd a
grep -R x a
grep --dereference-recursive x a
grep --exclude-from=a x
grep --exclude-from a x
grep --file=/etc/passwd a
grep --file /etc/passwd a
grep --file a /etc/passwd
grep --file=a /etc/passwd
grep --regexp x /etc/passwd
grep --regexp=x /etc/passwd
grep --reg=x /etc/passwd
grep -A x /y a
grep -A 3 x /etc/passwd
grep -A /etc/passwd x a
grep -m x /y a
grep --after-context x /y a
grep --before-context x /y a
grep --context x /y a
grep --max-count x /y a
grep --label x y /etc/passwd
grep --include x y /etc/passwd
grep --include --include x /etc/passwd
grep -- x /etc/passwd
grep -- -e /etc/passwd
grep -e x -- /etc/passwd
grep x -- /etc/passwd
grep --no-such x a
grep --devices=read x a
grep --unix-byte-offsets x a
grep -d recurse x a
grep -D read x a
grep -X x a
grep --regexpx a
grep - /etc/passwd
./ls
./cat a
/tmp/grep x a
zgrep x a
rgrep x a
head a
LS
`

test_does_more[line] if {
	some line in _lines(_does_more)
	not readers.read_only(_fact(line))
}

_spoiled := {
	"kind": {"kind": "declaration"}, "name": {"name_static": false}, "dir": {"dir": "/tmp"}, "opaque": {"opaque": true},
	"env": {"env": [{"name": "LD_PRELOAD"}]}, "base": {"base": "x"},
}

test_only_when_all_is_known[case] if {
	some what, change in _spoiled
	some line in ["ls a", "cat a", "grep x a", "egrep x a", "fgrep x a"]
	case := concat(" ", [what, line])
	readers.read_only(_fact(line))
	not readers.read_only(object.union(_fact(line), change))
}

# A word that is not known may be anything: an option, a file, a second one.
test_unknown_words[line] if {
	some line in ["ls", "cat", "grep x", "grep", "grep -e", "grep -f", "grep -A", "ls -I", "grep x --", "cat --", "ls --"]
	words := split(line, " ")
	args := array.concat([facts.word(word) | some word in array.slice(words, 1, count(words))], [facts.unknown])
	not readers.read_only(facts.with_args(words[0], args))
	not readers.read_only(facts.with_args(words[0], array.concat(args, [facts.word("a")])))
}

# An expansion whose result is known to be inside is still no literal word.
_expanded := {
	"value": "a", "literal": false, "quoted": false, "glob": false, "tilde": false, "brace": false, "dynamic": true,
	"splits": true, "in_workspace": true,
}

test_expansions[line] if {
	some line in ["ls", "cat", "grep x", "grep -f", "cat --", "ls --", "grep -e x --"]
	words := split(line, " ")
	args := array.concat([facts.word(word) | some word in array.slice(words, 1, count(words))], [_expanded])
	not readers.read_only(facts.with_args(words[0], args))
}

# A pattern that matches nothing stays as it is, and only where its text is all that matters.
_unmatched(value) := object.union(facts.glob(value), {"no_match": true, "in_workspace": null})

_matched(value) := object.union(facts.glob(value), {"no_match": false, "in_workspace": null})

test_patterns_that_match_nothing[name] if {
	some name, args in {
		"the pattern": [_unmatched("x*"), facts.word("a")],
		"--include=": [_unmatched("--include=*.go"), facts.word("x"), facts.word("a")],
		"--exclude=": [_unmatched("--exclude=*.go"), facts.word("x"), facts.word("a")],
		"--exclude-dir=": [_unmatched("--exclude-dir=*"), facts.word("x"), facts.word("a")],
		"--include": [facts.word("--include"), _unmatched("*.go"), facts.word("x")],
		"--exclude": [facts.word("--exclude"), _unmatched("*.go"), facts.word("x")],
		"--exclude-dir": [facts.word("--exclude-dir"), _unmatched("*"), facts.word("x")],
	}
	readers.read_only(facts.with_args("grep", args))
	matched := [object.union(arg, {"no_match": false}) | some arg in args]
	not readers.read_only(facts.with_args("grep", matched))
}

test_patterns_elsewhere[name] if {
	some name, args in {
		"a file": [facts.word("x"), _unmatched("*.go")],
		"--file": [facts.word("--file"), _unmatched("*.go"), facts.word("x")],
		"-f": [facts.word("-f"), _unmatched("*.go"), facts.word("x")],
		"-A": [facts.word("-A"), _unmatched("[0-9]"), facts.word("x")],
		"--file=": [_unmatched("--file=*"), facts.word("x")],
		"--context=": [_unmatched("--context=*"), facts.word("x")],
		"after the end": [facts.word("x"), facts.word("--"), _unmatched("--include=*.go")],
		"matched": [facts.word("x"), _matched("--include=*.go")],
	}
	not readers.read_only(facts.with_args("grep", args))
}

# The file of patterns, when it stands in the same word.
_file(value, inside) := object.union(facts.word(concat("", ["--file=", value])), {
	"in_workspace": inside,
	"eq": {"name": "--file", "value": value, "in_workspace": inside},
})

test_file_of_patterns if {
	readers.read_only(facts.with_args("grep", [_file("a", true), facts.word("b")]))
	not readers.read_only(facts.with_args("grep", [_file("/etc/a", false), facts.word("b")]))
	not readers.read_only(facts.with_args("grep", [_file("a", null), facts.word("b")]))
	not readers.read_only(facts.with_args("grep", [_file("a", true), facts.word("/etc/passwd")]))
	unknown := object.union(_file("a", true), {"literal": false, "in_workspace": null})
	not readers.read_only(facts.with_args("grep", [unknown, facts.word("b")]))
	other := object.union(_file("a", true), {
		"value": "--exclude-from=a", "in_workspace": null,
		"eq": {"name": "--exclude-from", "value": "a", "in_workspace": true},
	})
	not readers.read_only(facts.with_args("grep", [facts.word("x"), other]))
}
