package sandgate.lib.sql_test

import data.sandgate.lib.sql

_clients := {"clickhouse-client", "cockroach", "duckdb", "mariadb", "mysql", "psql", "sqlcmd", "sqlite3", "sqlplus"}

_word(text) := {"value": text, "literal": true}

_command(words) := {"args": [_word(word) | some word in words], "redirects": [], "context": []}

_redirected(redirect) := {"args": [], "redirects": [redirect], "context": []}

test_clients[program] if {
	some program in _clients
	sql.destroys(program, _command(["drop table t"]))
	sql.unreadable(program, {"args": [], "redirects": [], "context": ["|"]})
}

test_statements if {
	sql.statements("psql", _command(["-c", "select/* x */1 -- y"])) == {"SELECT 1  "}
	sql.statements("psql", _command(["--command=drop(t)", "name", "a;b", "a\tb", "a\nb"])) == {"DROP(T)", "A;B", "A\tB", "A\nB"}
	sql.statements("psql", {"args": [{"value": "drop t", "literal": false}], "redirects": []}) == set()
	sql.statements("cat", _command(["drop table t"])) == set()
}

test_statements_of_redirects[class] if {
	some class in ["heredoc", "herestring"]
	redirect := {"class": class, "static": true, "target": "drop t"}
	sql.statements("psql", _redirected(redirect)) == {"DROP T"}
	sql.statements("cat", _redirected(redirect)) == set()
	sql.statements("psql", _redirected(object.union(redirect, {"static": false}))) == set()
}

test_no_statements_of_redirects[class] if {
	some class in ["read", "write"]
	sql.statements("psql", _redirected({"class": class, "static": true, "target": "drop t"})) == set()
}

test_changes_of_a_schema[statement] if {
	some statement in [
		"alter t", "create t", "drop t", "rename t", "truncate t", "grant x", "revoke x", "reindex t", "vacuum  full",
	]
	sql.changes_schema("psql", _command([statement]))
}

test_no_changes_of_a_schema[statement] if {
	some statement in ["select alters", "vacuum t", "delete from t", "xdrop t"]
	not sql.changes_schema("psql", _command([statement]))
}

test_what_destroys[statement] if {
	some statement in ["drop t", "truncate t", "delete  from t"]
	sql.destroys("psql", _command([statement]))
}

test_what_does_not_destroy[statement] if {
	some statement in ["select deleted from t", "alter t", "select 'drops'"]
	not sql.destroys("psql", _command([statement]))
}

test_unreadable[note] if {
	some note, command in {
		"a variable": {"args": [{"literal": false}], "redirects": [], "context": []},
		"a file": _command(["-f", "x"]), "a file, long": _command(["--file=x"]), "a first file": _command(["-i", "x"]),
		"a first file, long": _command(["--init-file=x"]), "a command of the client": _command([".read x"]),
		"a here-document": _redirected({"class": "heredoc"}), "a redirect": _redirected({"class": "read"}),
		"a pipe": {"args": [], "redirects": [], "context": ["&&", "|"]},
	}
	sql.unreadable("psql", command)
	not sql.unreadable("cat", command)
}

test_readable[note] if {
	some note, command in {
		"words": _command(["-c", "select 1", "x"]), "a here-string": _redirected({"class": "herestring"}),
		"what is written": _redirected({"class": "write"}),
		"another joint": {"args": [], "redirects": [], "context": ["&&"]},
	}
	not sql.unreadable("psql", command)
}
