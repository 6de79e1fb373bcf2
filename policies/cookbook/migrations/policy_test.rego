package cookbook.migrations_test

import data.cookbook.lines_test as lines
import data.cookbook.migrations as tested

# Calls with the facts that sandgate derives from them, and the rules that they break.
_cases := {
	"alembic history": {"input": {"call": {"tool": "bash", "args": {"command": "alembic history"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "alembic", "args": [{"literal": true, "value": "history", "path": "/workspace/history"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"psql -c \"select * from created\"": {"input": {"call": {"tool": "bash", "args": {"command": "psql -c \"select * from created\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "psql", "args": [{"literal": true, "value": "-c"}, {"literal": true, "value": "select * from created", "path": "/workspace/select * from created"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"python manage.py test": {"input": {"call": {"tool": "bash", "args": {"command": "python manage.py test"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "python", "args": [{"literal": true, "value": "manage.py", "path": "/workspace/manage.py"}, {"literal": true, "value": "test", "path": "/workspace/test"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"rails server": {"input": {"call": {"tool": "bash", "args": {"command": "rails server"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "rails", "args": [{"literal": true, "value": "server", "path": "/workspace/server"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"npm test": {"input": {"call": {"tool": "bash", "args": {"command": "npm test"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "npm", "args": [{"literal": true, "value": "test", "path": "/workspace/test"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"git log --grep migrate": {"input": {"call": {"tool": "bash", "args": {"command": "git log --grep migrate"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "git", "git": {"sub": "log", "at": 0, "options": [], "own": true}, "args": [{"literal": true, "value": "log", "path": "/workspace/log"}, {"literal": true, "value": "--grep"}, {"literal": true, "value": "migrate", "path": "/workspace/migrate"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"prisma generate": {"input": {"call": {"tool": "bash", "args": {"command": "prisma generate"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "prisma", "args": [{"literal": true, "value": "generate", "path": "/workspace/generate"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": []},
	"alembic upgrade head": {"input": {"call": {"tool": "bash", "args": {"command": "alembic upgrade head"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "alembic", "args": [{"literal": true, "value": "upgrade", "path": "/workspace/upgrade"}, {"literal": true, "value": "head", "path": "/workspace/head"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"rails db:migrate": {"input": {"call": {"tool": "bash", "args": {"command": "rails db:migrate"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "rails", "args": [{"literal": true, "value": "db:migrate", "path": "/workspace/db:migrate"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"python manage.py migrate": {"input": {"call": {"tool": "bash", "args": {"command": "python manage.py migrate"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "python", "args": [{"literal": true, "value": "manage.py", "path": "/workspace/manage.py"}, {"literal": true, "value": "migrate", "path": "/workspace/migrate"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"npx prisma migrate deploy && prisma migrate deploy": {"input": {"call": {"tool": "bash", "args": {"command": "npx prisma migrate deploy && prisma migrate deploy"}, "shell": {"parsed": true, "overflow": false, "opaque": true, "commands": [{"index": 0, "base": "npx", "context": ["&&"], "args": [{"literal": true, "value": "prisma", "path": "/workspace/prisma"}, {"literal": true, "value": "migrate", "path": "/workspace/migrate"}, {"literal": true, "value": "deploy", "path": "/workspace/deploy"}], "redirects": []}, {"index": 1, "base": "prisma", "context": ["&&"], "args": [{"literal": true, "value": "migrate", "path": "/workspace/migrate"}, {"literal": true, "value": "deploy", "path": "/workspace/deploy"}], "redirects": []}, {"index": 2, "base": "prisma", "context": ["&&"], "args": [{"literal": true, "value": "migrate", "path": "/workspace/migrate"}, {"literal": true, "value": "deploy", "path": "/workspace/deploy"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"flyway migrate": {"input": {"call": {"tool": "bash", "args": {"command": "flyway migrate"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "flyway", "args": [{"literal": true, "value": "migrate", "path": "/workspace/migrate"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"psql -c \"ALTER TABLE t ADD c int\"": {"input": {"call": {"tool": "bash", "args": {"command": "psql -c \"ALTER TABLE t ADD c int\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "psql", "args": [{"literal": true, "value": "-c"}, {"literal": true, "value": "ALTER TABLE t ADD c int", "path": "/workspace/ALTER TABLE t ADD c int"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"psql -c \"/* x */ drop table t\"": {"input": {"call": {"tool": "bash", "args": {"command": "psql -c \"/* x */ drop table t\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "psql", "args": [{"literal": true, "value": "-c"}, {"literal": true, "value": "/* x */ drop table t", "path": "/* x */ drop table t"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"psql -f m.sql": {"input": {"call": {"tool": "bash", "args": {"command": "psql -f m.sql"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "psql", "args": [{"literal": true, "value": "-f"}, {"literal": true, "value": "m.sql", "path": "/workspace/m.sql"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"cat m.sql | psql": {"input": {"call": {"tool": "bash", "args": {"command": "cat m.sql | psql"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "cat", "context": ["|"], "args": [{"literal": true, "value": "m.sql", "path": "/workspace/m.sql"}], "redirects": []}, {"index": 1, "base": "psql", "context": ["|"], "args": [], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"psql <<< \"create table t(i int)\"": {"input": {"call": {"tool": "bash", "args": {"command": "psql <<< \"create table t(i int)\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "psql", "args": [], "redirects": [{"class": "herestring", "target": "create table t(i int)", "static": true, "network": false}]}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"sqlite3 db \"create table t(i int)\"": {"input": {"call": {"tool": "bash", "args": {"command": "sqlite3 db \"create table t(i int)\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "sqlite3", "args": [{"literal": true, "value": "db", "path": "/workspace/db"}, {"literal": true, "value": "create table t(i int)", "path": "/workspace/create table t(i int)"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"mysql -e \"$SQL\"": {"input": {"call": {"tool": "bash", "args": {"command": "mysql -e \"$SQL\""}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "mysql", "args": [{"literal": true, "value": "-e"}, {"literal": false}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"php artisan migrate:fresh": {"input": {"call": {"tool": "bash", "args": {"command": "php artisan migrate:fresh"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "php", "args": [{"literal": true, "value": "artisan", "path": "/workspace/artisan"}, {"literal": true, "value": "migrate:fresh", "path": "/workspace/migrate:fresh"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
	"rake db:rollback": {"input": {"call": {"tool": "bash", "args": {"command": "rake db:rollback"}, "shell": {"parsed": true, "overflow": false, "opaque": false, "commands": [{"index": 0, "base": "rake", "args": [{"literal": true, "value": "db:rollback", "path": "/workspace/db:rollback"}], "redirects": []}]}}, "tool": {"name": "bash", "source": "builtin", "effects": ["execute", "read", "write", "delete"], "risk": "high", "annotations": {"destructiveHint": true, "idempotentHint": false, "openWorldHint": false, "readOnlyHint": false}}, "session": {"labels": [], "counts": {}, "recent": [], "id": "s"}}, "deny": [], "ask": ["migration"]},
}

_not_denied := {note: case |
	some note, case in _cases
	case.deny == []
}

test_ask[note] if {
	some note, case in _not_denied
	{finding.rule | some finding in tested.ask with input as case.input} == {rule | some rule in case.ask}
}

test_policy if tested.policy == "migrations"

_each := {
	"alembic": ["downgrade", "upgrade"],
	"atlas": ["apply"],
	"dbmate": ["down", "drop", "migrate", "rollback", "up"],
	"flyway": ["clean", "migrate", "repair", "undo"],
	"goose": ["down", "redo", "reset", "up"],
	"knex": ["migrate:latest", "migrate:rollback"],
	"liquibase": ["drop-all", "rollback", "update"],
	"migrate": ["down", "drop", "force", "up"],
	"prisma": ["deploy", "push", "reset"],
	"sqitch": ["deploy", "rebase", "revert"],
	"typeorm": ["migration:revert", "migration:run", "schema:drop", "schema:sync"],
	"rails": ["db:migrate", "db:rollback", "db:drop", "db:reset", "db:schema:load", "db:setup"],
	"rake": ["db:migrate"],
	"mix": ["ecto.migrate", "ecto.rollback", "ecto.drop", "ecto.reset"],
	"php": ["migrate", "migrate:fresh"],
	"artisan": ["migrate"],
	"python": ["migrate"],
	"python3": ["migrate"],
	"django-admin": ["migrate"],
	"npx": ["sequelize-cli"],
	"npm": ["migrate"],
	"yarn": ["migrate"],
	"pnpm": ["migrate"],
	"psql": ["-f", "$X"],
	"RAKE": ["db:drop"],
}

test_each_verb[line] if {
	some program, verbs in _each
	some verb in verbs
	line := sprintf("%s %s x", [program, verb])
	lines.rules(tested.ask) == {"migration"} with input as lines.call(line)
}

test_statement if {
	input_ := lines.about("psql", {"args": [{"literal": true, "value": "-c"}, {"literal": true, "value": "alter table t add c int"}]})
	lines.rules(tested.ask) == {"migration"} with input as input_
}

test_leaves_alone[line] if {
	some line in ["ls", "alembic history", "make db:migrate", "make upgrade", "rails server", "mix test", "psql -c select", "python x.py"]
	count(tested.ask) == 0 with input as lines.call(line)
}
