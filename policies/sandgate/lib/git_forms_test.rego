# METADATA
# title: git forms
# description: >-
#   The forms of git commands that only read, option by option as the manual pages of git 2.47 give them, the
#   subcommands that reach another host or repository, and those that destroy. One line for each option or word, with
#   nothing else that would let the command through.
package sandgate.lib.git_forms_test

import data.sandgate.lib.facts_test as facts
import data.sandgate.lib.git

_lines(table) := {line | some line in split(table, "\n"); line != ""}

_fact(line) := facts.command(array.concat(["git"], split(line, " ")))

# What follows is a value or a name where the manual page has one.
_reads := {
	"blame": `
-L 1,2 f
-L1,2 f
-w f
-M f
-C f
-s f
-MC f
-M20 f
-C40 f
-b f
-c f
-e f
-f f
-k f
-l f
-n f
-p f
-t f
--incremental f
--line-porcelain f
--porcelain f
--show-email f
--show-name f
--show-number f
--first-parent f
--reverse HEAD~1 f
--root f
--show-stats f
--color-by-age f
--color-lines f
--date=iso f
--abbrev=8 f
--since=3.weeks f
`,
	"bisect": `
log
`,
	"branch": `
--all
--list
--remotes
--show-current
--verbose
-a
-i
-l
-r
-v
-vv
-av
-avv
-rv
-va
-vva
--list x
--contains HEAD
--contains=HEAD
--merged HEAD
--merged=HEAD
--no-merged HEAD
--no-merged=HEAD
--no-contains HEAD
--no-contains=HEAD
--points-at HEAD
--points-at=HEAD
--color
--color=always
--column
--column=always
--format %(refname)
--format -%(refname)
--format=%(refname)
--sort authordate
--sort -authordate
--sort=-authordate
--ignore-case
--no-color
--no-column
--omit-empty
`,
	"cat-file": `
-e HEAD
-p HEAD
-s HEAD
-t HEAD
`,
	"check-attr": `
--all f
--cached text f
-a f
-z text f
`,
	"check-ignore": `
--no-index f
--non-matching f
--quiet f
--verbose f
-n f
-q f
-v f
-z f
`,
	"cherry": `
-v
--abbrev=8
main topic
`,
	"config": `
user.name
get user.name
list
--get user.name
--get-all user.name
--get-regexp user
--list
-l
--bool core.bare
--int core.x
--local user.name
--name-only --list
--null --list
--path core.x
--show-origin user.name
--show-scope user.name
-z --list
--type=bool core.bare
`,
	"count-objects": `
--human-readable
--verbose
-H
-v
-vH
`,
	"describe": `
--all
--always
--contains HEAD
--dirty
--exact-match
--first-parent
--long
--tags
--abbrev=8
--candidates=3
--match=v*
--exclude=x
`,
	"diff": `
--abbrev
--binary
--cached
--cc
--check
--color
--color-words
--compact-summary
--dirstat
--exit-code
--find-copies
--find-copies-harder
--find-renames
--full-index
--function-context
--histogram
--ignore-all-space
--ignore-blank-lines
--ignore-cr-at-eol
--ignore-space-at-eol
--ignore-space-change
--ignore-submodules
--merge-base HEAD
--minimal
--name-only
--name-status
--no-color
--no-ext-diff
--no-patch
--no-prefix
--no-renames
--no-textconv
--numstat
--patch
--patch-with-stat
--patience
--pickaxe-all
--pickaxe-regex
--quiet
--raw
--shortstat
--relative
--no-relative
--indent-heuristic
--no-indent-heuristic
--color-moved
--no-color-moved
--irreversible-delete
--ita-visible-in-index
--staged
--stat
--submodule
--summary
--text
--word-diff
--diff-filter M
--diff-filter /x
-S x
-S /x
-G x
-G /x
-p
-u
-b
-w
-s
-z
-R
-a
-W
-U5
-M
-M50%
-C
-B
-D
-Sx
-Gx
--abbrev=8
--unified=5
--inter-hunk-context=5
--stat=80,20
--stat-width=80
--stat-count=8
--stat-name-width=8
--color=always
--color-moved=zebra
--diff-filter=AM
--diff-algorithm=patience
--dirstat=files
--submodule=log
--ignore-submodules=all
--word-diff=plain
--color-words=.
--word-diff-regex=.
--src-prefix=a
--dst-prefix=b
--line-prefix=c
--relative=src
--anchored=x
--skip-to=f
--rotate-to=f
--find-object=HEAD
--color-moved-ws=no
--find-renames=50%
--find-copies=50%
-- --output
`,
	"diff-files": `
--stat
-p
-S /x
f
`,
	"diff-index": `
--cached HEAD
-p HEAD
-S /x HEAD
`,
	"diff-tree": `
--stat HEAD
-p HEAD
--no-commit-id HEAD
--root HEAD
-m HEAD
-r HEAD
-t HEAD
-v HEAD
-S /x HEAD
`,
	"for-each-ref": `
refs/heads
--contains HEAD
--no-contains=HEAD
--count 3
--count=3
--exclude x
--exclude=x
--format %(refname)
--format=%(refname)
--format -%(refname)
--sort -authordate
--ignore-case
--color=never
--count /3
--exclude /x
--contains /x
--no-contains /x
--merged /x
--no-merged /x
--points-at /x
--format /x
--sort /x
`,
	"grep": `
/x src
-e /x src
-ne /x src
-e -x src
-A 3 /x
-B 3 /x
-C 3 /x
-m 3 /x
-A3 /x
-i /x
-w /x
-ex src
--after-context 3 /x
--before-context 3 /x
--context 3 /x
--max-count 3 /x
--max-depth 3 /x
--threads 3 /x
--context=3 /x
--after-context=3 /x
--before-context=3 /x
--max-count=3 /x
--max-depth=3 /x
--threads=3 /x
--color /x
--color=always /x
--all-match /x
-e x --and -e y
--break x
--cached x
--count x
--extended-regexp x
--files-with-matches x
--fixed-strings x
--full-name x
--function-context x
--heading x
--ignore-case x
--invert-match x
--line-number x
--name-only x
--no-color x
--not -e x
--only-matching x
-e x --or -e y
--perl-regexp x
--show-function x
--untracked x
--word-regexp x
--quiet x
--recurse-submodules x
--text x
--no-recursive x
--recursive x
-r x
--files-without-match x
--no-line-number x
--null x
--column x
x -- -dash
`,
	"log": `
-S x
-S /x
-G /x
-L /x/,+5:f
-L1,2:f
-n 3
-n3
-3
--author joe
--author /x
--committer /x
--grep /x
--since /x
--until /x
--after /x
--before /x
--date /x
--diff-filter /x
--encoding /x
--exclude /x
--glob /x
--grep-reflog /x
--max-count /3
--skip /3
--pretty
--pretty=oneline
--format=%h
--format=
--format=email
--format=full
--format=fuller
--format=mboxrd
--format=medium
--format=oneline
--format=raw
--format=reference
--format=short
--format=tformat:x
--pretty=format:x
--no-notes
--no-mailmap
--use-mailmap
--mailmap
--no-color
--reflog
--abbrev-commit
--all
--all-match
--ancestry-path
--author-date-order
--basic-regexp
--bisect
--boundary
--branches
--cherry
--cherry-mark
--cherry-pick
--children
--clear-decorations
--date-order
--decorate
--dense
--extended-regexp
--first-parent
--fixed-strings
--follow f
--full-history
--graph
--invert-grep
--left-only
--left-right
--log-size
--merge
--merges
--no-abbrev-commit
--no-decorate
--no-merges
--no-walk
--not main
--oneline
--parents
--perl-regexp
--regexp-ignore-case
--relative-date
--remotes
--reverse
--right-only
--simplify-by-decoration
--simplify-merges
--source
--sparse
--tags
--topo-order
--walk-reflogs
-c
-i
-m
-r
-t
-E
-F
-P
-g
-p
--stat
--max-count=3
--skip=3
--min-parents=1
--max-parents=1
--author=x
--committer=x
--grep=x
--grep-reflog=x
--since=x
--after=x
--until=x
--before=x
--since-as-filter=x
--date=iso
--decorate=short
--encoding=utf-8
--diff-merges=on
--no-walk=sorted
--ancestry-path=x
--decorate-refs=x
--decorate-refs-exclude=x
--branches=x
--tags=x
--remotes=x
--glob=x
--exclude=x
-- --output
`,
	"ls-files": `
--cached
--deduplicate
--deleted
--directory
--eol
--error-unmatch f
--exclude-standard
--full-name
--ignored
--killed
--modified
--no-empty-directory
--others
--stage
--unmerged
-c
-om
--exclude=x
--abbrev=8
--format=%(path)
-- --x
`,
	"ls-tree": `
--full-name HEAD
--full-tree HEAD
--long HEAD
--name-only HEAD
--name-status HEAD
--object-only HEAD
-r HEAD
-dtlz HEAD
--abbrev=8 HEAD
--format=%(path) HEAD
`,
	"merge-base": `
--all a b
--fork-point a
--independent a b
--is-ancestor a b
--octopus a b
-a a b
`,
	"name-rev": `
--all
--always HEAD
--name-only HEAD
--tags HEAD
--no-undefined HEAD
--refs=x HEAD
--exclude=x HEAD
`,
	"notes": `
get-ref
list
show
`,
	"range-diff": `
a b c
-S /x a b
--stat a b
--dual-color a b
--left-only a b
--no-dual-color a b
--no-notes a b
--right-only a b
--creation-factor=60 a b
-p a b
`,
	"reflog": `
exists main
list
show
-n 5
-5
show -S /x
show --stat
show --oneline
show -p
show --format=%h
`,
	"remote": `
get-url origin
get-url --all origin
get-url --push origin
--verbose
-v
`,
	"rev-list": `
--count HEAD
--objects HEAD
--header HEAD
--timestamp HEAD
--all
--stat HEAD
-p HEAD
-5 HEAD
--author /x HEAD
--format=%h HEAD
`,
	"rev-parse": `
HEAD
--abbrev-ref HEAD
--absolute-git-dir
--all
--branches
--git-common-dir
--git-dir
--is-bare-repository
--is-inside-git-dir
--is-inside-work-tree
--is-shallow-repository
--no-flags
--no-revs
--quiet
--revs-only
--short HEAD
--show-cdup
--show-prefix
--show-superproject-working-tree
--show-toplevel
--symbolic HEAD
--symbolic-full-name HEAD
--tags
--verify HEAD
-q HEAD
--short=8 HEAD
--abbrev-ref=strict HEAD
`,
	"shortlog": `
--email
--numbered
--summary
-sne
-c
--group=author
--group=%an
--author /x
--no-merges
--stat
-p
-5
--format=%h
`,
	"show": `
HEAD
--stat
--oneline
-S /x
-p
-5
--format=%h
-- --output
`,
	"show-branch": `
--all
--current
--list
--remotes
-a
-r
`,
	"show-ref": `
--dereference
--hash
--head
--heads
--branches
--tags
--quiet
--verify refs/heads/main
-d
-q
-s
--abbrev=8
--hash=8
`,
	"stash": `
list
show
list --oneline
list --stat
list -5
show -p
show -S /x
list --format=%h
`,
	"status": `
--ahead-behind
--branch
--ignored
--long
--no-ahead-behind
--no-renames
--porcelain
--renames
--short
--show-stash
--verbose
-s
-sb
-vz
-u
-uno
-unormal
-uall
--porcelain=v2
--untracked-files
--untracked-files=no
--ignored=matching
--ignore-submodules
--ignore-submodules=all
--column
--column=always
--find-renames
--find-renames=50
`,
	"symbolic-ref": `
HEAD
--no-recurse HEAD
--quiet HEAD
--recurse HEAD
--short HEAD
-q HEAD
`,
	"tag": `
--list
-l
-l v*
--list v*
--contains HEAD
--merged HEAD
--no-merged HEAD
--no-contains HEAD
--points-at HEAD
--sort -authordate
--format -%(refname)
--format=%(refname)
--color
--column=always
-n
-n3
`,
	"whatchanged": `
--oneline
--stat
-S /x
-p
-5
--format=%h
`,
	"worktree": `
list
list --porcelain
list --verbose
list -v
list -z
`,
}

# One test for each subcommand, so that what fails tells where.
test_reads_blame[line] if {
	some line in _lines(_reads.blame)
	_reads_as("blame", line)
}

test_reads_bisect[line] if {
	some line in _lines(_reads.bisect)
	_reads_as("bisect", line)
}

test_reads_branch[line] if {
	some line in _lines(_reads.branch)
	_reads_as("branch", line)
}

test_reads_cat_file[line] if {
	some line in _lines(_reads["cat-file"])
	_reads_as("cat-file", line)
}

test_reads_check_attr[line] if {
	some line in _lines(_reads["check-attr"])
	_reads_as("check-attr", line)
}

test_reads_check_ignore[line] if {
	some line in _lines(_reads["check-ignore"])
	_reads_as("check-ignore", line)
}

test_reads_cherry[line] if {
	some line in _lines(_reads.cherry)
	_reads_as("cherry", line)
}

test_reads_config[line] if {
	some line in _lines(_reads.config)
	_reads_as("config", line)
}

test_reads_count_objects[line] if {
	some line in _lines(_reads["count-objects"])
	_reads_as("count-objects", line)
}

test_reads_describe[line] if {
	some line in _lines(_reads.describe)
	_reads_as("describe", line)
}

test_reads_diff[line] if {
	some line in _lines(_reads.diff)
	_reads_as("diff", line)
}

test_reads_diff_files[line] if {
	some line in _lines(_reads["diff-files"])
	_reads_as("diff-files", line)
}

test_reads_diff_index[line] if {
	some line in _lines(_reads["diff-index"])
	_reads_as("diff-index", line)
}

test_reads_diff_tree[line] if {
	some line in _lines(_reads["diff-tree"])
	_reads_as("diff-tree", line)
}

test_reads_for_each_ref[line] if {
	some line in _lines(_reads["for-each-ref"])
	_reads_as("for-each-ref", line)
}

test_reads_grep[line] if {
	some line in _lines(_reads.grep)
	_reads_as("grep", line)
}

test_reads_log[line] if {
	some line in _lines(_reads.log)
	_reads_as("log", line)
}

test_reads_ls_files[line] if {
	some line in _lines(_reads["ls-files"])
	_reads_as("ls-files", line)
}

test_reads_ls_tree[line] if {
	some line in _lines(_reads["ls-tree"])
	_reads_as("ls-tree", line)
}

test_reads_merge_base[line] if {
	some line in _lines(_reads["merge-base"])
	_reads_as("merge-base", line)
}

test_reads_name_rev[line] if {
	some line in _lines(_reads["name-rev"])
	_reads_as("name-rev", line)
}

test_reads_notes[line] if {
	some line in _lines(_reads.notes)
	_reads_as("notes", line)
}

test_reads_range_diff[line] if {
	some line in _lines(_reads["range-diff"])
	_reads_as("range-diff", line)
}

test_reads_reflog[line] if {
	some line in _lines(_reads.reflog)
	_reads_as("reflog", line)
}

test_reads_remote[line] if {
	some line in _lines(_reads.remote)
	_reads_as("remote", line)
}

test_reads_rev_list[line] if {
	some line in _lines(_reads["rev-list"])
	_reads_as("rev-list", line)
}

test_reads_rev_parse[line] if {
	some line in _lines(_reads["rev-parse"])
	_reads_as("rev-parse", line)
}

test_reads_shortlog[line] if {
	some line in _lines(_reads.shortlog)
	_reads_as("shortlog", line)
}

test_reads_show[line] if {
	some line in _lines(_reads.show)
	_reads_as("show", line)
}

test_reads_show_branch[line] if {
	some line in _lines(_reads["show-branch"])
	_reads_as("show-branch", line)
}

test_reads_show_ref[line] if {
	some line in _lines(_reads["show-ref"])
	_reads_as("show-ref", line)
}

test_reads_stash[line] if {
	some line in _lines(_reads.stash)
	_reads_as("stash", line)
}

test_reads_status[line] if {
	some line in _lines(_reads.status)
	_reads_as("status", line)
}

test_reads_symbolic_ref[line] if {
	some line in _lines(_reads["symbolic-ref"])
	_reads_as("symbolic-ref", line)
}

test_reads_tag[line] if {
	some line in _lines(_reads.tag)
	_reads_as("tag", line)
}

test_reads_whatchanged[line] if {
	some line in _lines(_reads.whatchanged)
	_reads_as("whatchanged", line)
}

test_reads_worktree[line] if {
	some line in _lines(_reads.worktree)
	_reads_as("worktree", line)
}

_reads_as(sub, rest) if git.read_only(_fact(concat(" ", [sub, rest])))

# Every one of these with something behind it that the subcommand is not known to take, or that is elsewhere.
_bare := {sub | some sub, _ in _reads} - {"notes", "remote", "bisect", "worktree", "stash", "config", "reflog", "grep"}

test_reads_nothing_else[line] if {
	some sub in _bare
	some rest in ["--ext-diff", "--output=x", "/etc/passwd"]
	line := concat(" ", [sub, rest])
	not git.read_only(_fact(line))
}

# What changes something under a subcommand that mostly reads, what runs a program, and what reads elsewhere.
_does_more := `
bisect
bisect start
bisect log --x
bisect --x log
blame /etc/passwd
branch x
branch -v x
branch -m x
branch -c x
branch -d x
branch -D x
branch -f x
branch --edit-description
branch --set-upstream-to=x
branch --unset-upstream
branch --format=%(signature)
branch --sort signature
branch --sort x y
branch -- x
branch x --list=y
branch x -- --list
branch --sort --list x
cat-file --batch
cat-file --textconv HEAD:f
cat-file --filters HEAD:f
check-attr --stdin
config
config --global user.name
config --system -l
config --file x -l
config --unset user.name
config --add user.name x
config --edit
config -e
config edit
config set user.name x
config unset user.name
config user.name x
config --bool user.name x
config -- user.name
config editor
config --type=bool x y
describe --broken
diff --no-index a b
diff --ext-diff
diff --textconv
diff --output x
diff -- /etc/passwd
diff -Ox
diff-files -- -x
describe --format=email
for-each-ref --shell
grep --format=email x
grep --group=x y
ls-tree --group=x HEAD
status --format=email
for-each-ref --stdin
for-each-ref --format %(signature)
for-each-ref --sort=signature:key
grep -O x
grep -Oless x
grep --open-files-in-pager x
grep -f /etc/passwd
grep -f f x
grep --no-index x
grep -e x /etc
grep x /etc
grep -- /x
grep -ie x /etc
log --show-signature
log --format=%G?
log --format=%+G?
log --format=%-G?
log --pretty=mine
log --pretty=%GS
log --output=x
log -p --ext-diff
log -S x /etc
log --stdin
ls-files -X /etc/passwd
ls-files --exclude-from=x
ls-files --format=x /etc
ls-tree /etc
ls-remote
notes add
notes edit
notes remove
notes --ref=x list
range-diff /a b
reflog expire
reflog delete x
reflog drop x
reflog -n x expire
reflog --since expire delete
remote add x y
remote remove x
remote rename x y
remote set-url x y
remote show x
remote update
remote prune x
remote -v update
remote x
rev-parse --parseopt
rev-parse --local-env-vars
rev-parse --git-path x
rev-list --disk-usage x
rev-list --use-bitmap-index x
shortlog --group=%G?
shortlog --group=trailer:x%G?
show --format=%GK
show --show-signature
show-branch --reflog
show-ref --exclude-existing
stash
stash pop
stash drop
stash push
stash -p
stash apply
stash branch x
stash create
stash store x
symbolic-ref HEAD refs/heads/x
symbolic-ref -d HEAD
symbolic-ref --delete HEAD
symbolic-ref -m x HEAD y
symbolic-ref -q
tag x
tag -a x
tag -d x
tag -v x
tag -m x y
tag -f x
tag -n x y -F f
tag --sort=signature
tag -s x
worktree
worktree add x
worktree prune
worktree remove x
worktree lock x
worktree -v list
status --x
status -x
`

test_does_more_than_read[line] if {
	some line in _lines(_does_more)
	not git.read_only(_fact(line))
}

# Before the subcommand.
_globals := `
--no-pager log
-P log
--no-optional-locks status
--literal-pathspecs status
--no-replace-objects log
-C src status
`

test_reads_with_global_option[line] if {
	some line in _lines(_globals)
	git.read_only(_fact(line))
}

_other_globals := `
-C /etc status
-C .. status
--git-dir=x status
--git-dir x status
--work-tree=x status
-c core.pager=x log
--exec-path=x log
--paginate log
-p log
--namespace=x log
--config-env=core.pager=X log
--bare log
--no-pager=x log
`

test_does_more_with_global_option[line] if {
	some line in _lines(_other_globals)
	not git.read_only(_fact(line))
}

test_tells_its_version[line] if {
	some line in ["--version", "version"]
	git.read_only(_fact(line))
}

# Neither what is read nor what is destroyed depends on the name of the program by accident.
test_only_as_git[name] if {
	some name in ["Git", "git2", "./git", "git.exe", "/tmp/git"]
	every words in [["log"], ["--version"]] {
		not git.read_only(facts.command(array.concat([name], words)))
	}
}

_spoiled := {
	"kind": {"kind": "declaration"}, "name": {"name_static": false}, "dir": {"dir": "/tmp"},
	"env": {"env": [{"name": "GIT_EXTERNAL_DIFF"}]}, "opaque": {"opaque": true}, "static": {"static": false},
}

test_only_when_all_is_known[what] if {
	some what, change in _spoiled
	every line in ["log", "--version"] {
		git.read_only(_fact(line))
		not git.read_only(object.union(_fact(line), change))
	}
}

_connects := `
annex copy f
annex get f
annex move f
annex sync
archimport x
archive --remote=x HEAD
backfill
clone x
credential fill
credential-cache exit
cvsexportcommit x
cvsimport x
cvsserver x
daemon
fetch
fetch-pack x
http-backend
http-fetch x
http-push x
imap-send
instaweb
lfs clone x
lfs fetch
lfs pull
lfs push x
ls-remote
maintenance run --task=prefetch
p4 x
pull
push
quiltimport
receive-pack x
remote -f add x y
remote add --fetch x y
remote prune x
remote set-head x --auto
remote set-head x -a
remote show x
remote update
remote-ext x
remote-fd x
remote-ftp x
remote-ftps x
remote-http x
remote-https x
request-pull x y
send-email x
send-pack x
shell
submodule add x
submodule init
submodule sync
submodule update
subtree add x
subtree pull x
subtree push x
svn x
upload-archive x
upload-pack x
`

test_connects[line] if {
	some line in _lines(_connects)
	git.network(_fact(line))
}

test_does_not_connect[line] if {
	some line in [
		"add f", "annex find", "archive HEAD", "commit -m x", "config --get a.b", "lfs ls-files", "log", "maintenance run",
		"remote", "remote -v", "remote -v show", "remote show", "remote show -n x", "status", "submodule status",
		"subtree split",
	]
	not git.network(_fact(line))
}

# A name that is not known may be that of a remote.
test_show_of_an_unknown_remote if {
	git.network(facts.with_args("git", [facts.word("remote"), facts.word("show"), facts.unknown]))
}

_destroys := `
bisect reset
branch --delete x
branch --del x
branch -D x
branch -d x
branch -rd x
checkout --force x
checkout --forc x
checkout -- f
checkout -B x
checkout -f x
checkout -qf x
checkout .
checkout-index --force f
checkout-index -af
checkout-index -f f
clean
clean -fd
clean -fdx
filter-branch x
filter-repo x
gc --prune
gc --prune=all
gc --prune=now
gc --pru
lfs prune
notes prune
notes remove
obliterate x
prune
prune-packed
read-tree --reset HEAD
reflog delete x
reflog expire
remote remove x
remote rm x
replace x y
reset --hard
reset --har
reset --keep
reset --merge
restore --staged --worktree f
restore -S -W f
restore -S -qW f
restore f
rm -r d
rm f
stash clear
stash drop
submodule deinit x
switch --discard-changes x
switch --force-create x
switch -C x
switch -f x
switch -qf x
symbolic-ref --delete HEAD
symbolic-ref -d HEAD
symbolic-ref -qd HEAD
tag --delete x
tag -d x
update-ref --delete x
update-ref --stdin
update-ref -d x
update-ref -zd x
worktree prune
worktree remove x
`

test_destroys[line] if {
	some line in _lines(_destroys)
	git.destructive(_fact(line))
}

test_does_not_destroy[line] if {
	some line in [
		"bisect log", "branch --contains x", "branch -a", "branch -mx-d", "checkout -b x", "checkout x", "clean --dry-run",
		"clean -dn", "clean -n", "gc", "lfs ls-files", "notes list", "read-tree HEAD", "reflog show", "remote -v", "reset",
		"reset --mixed", "reset --soft x", "restore --staged f", "restore -S f", "rm --cached f", "rm --dry-run f", "rm -n f",
		"stash list", "submodule status", "switch -c x", "switch x", "symbolic-ref HEAD", "tag -l", "tag -mdone v1",
		"update-ref x y", "worktree list", "reset --", "branch --",
	]
	not git.destructive(_fact(line))
}

# A word that is not known is none of them, and neither is what follows the end.
test_only_literal_words if {
	word := object.union(facts.word("--hard"), {"literal": false})
	not git.destructive(facts.with_args("git", [facts.word("reset"), word]))
	push := object.union(facts.word("push"), {"literal": false})
	not git.network(facts.with_args("git", [facts.word("lfs"), push]))
	not git.read_only(object.union(_fact("status"), {"base": "ls"}))
	not git.read_only(object.union(_fact("--version"), {"base": "ls"}))
	not git.read_only(_fact("--version x"))
}

test_words_of_helpers if {
	git.network(facts.command(["git-lfs", "push"]))
	git.destructive(facts.command(["git-reset", "--hard"]))
	not git.network(facts.command(["git-lfs", "ls-files"]))
	not git.network(facts.command(["gitxpush"]))
	not git.network(object.remove(facts.command(["xgit-push"]), {"git"}))
}

test_with_directory if git.read_only(facts.command(["/bin/git", "log"]))

# The programs in git's own directory are the subcommands of that name.
test_helpers[name] if {
	some name, class in {"git-push": "network", "git-filter-repo": "destructive", "git-log": "none"}
	command := facts.command([concat("", ["/usr/lib/git-core/", name]), "x"])
	_class(command) == class
}

_class(command) := "network" if git.network(command)

_class(command) := "destructive" if git.destructive(command)

_class(command) := "none" if {
	not git.network(command)
	not git.destructive(command)
}
