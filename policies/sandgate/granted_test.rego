package sandgate_test

_commit_grant := {
	"id": "g1", "scope": "session", "tool": "bash", "cwd": "/workspace", "rules": ["b", "not-allowed"], "summary": "git commit, any message",
	"commands": [{"name": "git", "sub": "commit", "options": ["-m"], "words": [], "texts": ["-m"], "under": []}],
}

_git_word(text) := {"value": text, "literal": true}

_git(words, index) := {
	"index": index, "kind": "simple", "base": "git", "name_static": true, "static": true, "opaque": false, "env": [],
	"args": [_git_word(word) | some word in words], "redirects": [], "via": [], "depth": 0,
}

# A call of git commit in the session with the grants, of a profile that says these things.
_decide_granted(says, granted) := _decide_script(says, granted, [_git(["commit", "-m", "x"], 0)])

_decide_script(says, granted, commands) := decision if {
	script := {
		"parsed": true, "overflow": false, "truncated": false, "opaque": false, "changes_directory": false,
		"functions": [], "aliases": [], "features": [], "cwd": {"in_workspace": true}, "commands": commands,
	}
	call := object.union(_call("made"), {
		"session": {"profile": "made", "labels": [], "grants": [grant.id | some grant in granted], "granted": granted},
		"call": {"id": "1", "tool": "bash", "args": {}, "cwd": "/workspace", "env": {}, "stdin_bytes": 0, "shell": script},
	})
	decision := data.sandgate.decision with input as call
		with data.sandgate.profiles.made as object.union({"obligations": {}}, says)
		with data.sandgate.config as {"modes": {}, "ask": {"on_timeout": "deny"}}
}

_asks(rule, command) := {"rule": rule, "message": "m", "command": command}

test_a_grant_answers_what_is_asked if {
	decision := _decide_granted({"ask": {_asks("b", 0)}}, [_commit_grant])
	[decision.outcome, decision.grants, _rules(decision)] == ["allow", ["g1"], ["granted"]]
	decision.reasons[0].message == "allowed beforehand by grant g1: git commit, any message"
}

test_a_grant_answers_what_nothing_allows if {
	_decide_granted({}, [_commit_grant]).outcome == "allow"
	_decide_granted({}, []).outcome == "ask"
	_decide_granted({}, [object.union(_commit_grant, {"rules": ["b"]})]).outcome == "ask"
}

test_what_is_allowed_needs_no_grant if {
	decision := _decide_granted({"allow": {_finding("a")}}, [_commit_grant])
	[decision.outcome, decision.grants, _rules(decision)] == ["allow", [], ["a"]]
}

test_deny_wins_over_a_grant if {
	decision := _decide_granted({"ask": {_asks("b", 0)}, "deny": {_finding("c")}}, [_commit_grant])
	[decision.outcome, decision.grants, _rules(decision)] == ["deny", [], ["c"]]
}

test_every_question_needs_its_answer if {
	decision := _decide_granted({"ask": {_asks("b", 0), _asks("other", 0)}}, [_commit_grant])
	[decision.outcome, decision.grants] == ["ask", []]
	both := _decide_granted({"ask": {_asks("b", 0), _asks("other", 0)}}, [
		_commit_grant,
		object.union(_commit_grant, {"id": "g2", "rules": ["other"]}),
	])
	[both.outcome, both.grants] == ["allow", ["g1", "g2"]]
}

test_one_grant_is_used_where_two_would_do if {
	decision := _decide_granted({"ask": {_asks("b", 0)}}, [object.union(_commit_grant, {"id": "g2"}), _commit_grant])
	decision.grants == ["g1"]
}

test_only_the_command_that_is_asked_about_has_to_be_granted if {
	commands := [_git(["commit"], 0), _git(["push"], 1)]
	_decide_script({"ask": {_asks("b", 0)}}, [_commit_grant], commands).outcome == "allow"
	_decide_script({"ask": {_asks("b", 1)}}, [_commit_grant], commands).outcome == "ask"
	_decide_script({"ask": {_finding("b")}}, [_commit_grant], commands).outcome == "ask"
}

test_terms_of_who_may_approve_only_get_stricter if {
	profile := {"ask": {_finding("b")}, "ask_terms": {"self": true, "on_timeout": "allow"}}
	_composed({"profile": profile}).ask.self == true
	_composed({"profile": profile, "extra": {"x": {"ask_terms": {"quorum": 1}}}}).ask.self == true
	strict := _composed({
		"profile": profile,
		"extra": {"x": {"ask_terms": {"self": false, "no_grant": true, "on_timeout": "deny"}}},
	}).ask
	[strict.self, strict.no_grant, strict.on_timeout] == [false, true, "deny"]
}
