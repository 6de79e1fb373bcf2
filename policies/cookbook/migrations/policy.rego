# METADATA
# title: migrations need an approval
# description: >-
#   What changes the schema of a database is asked, with two persons to approve, be it SQL in a command or a
#   migration tool.
package cookbook.migrations

import data.sandgate.lib.shell
import data.sandgate.lib.sql

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "migrations"

# METADATA
# title: migration
# description: >-
#   The schema of a database would change.
# custom:
#   rule: migration
ask contains {
	"rule": "migration",
	"message": sprintf("%s changes the schema of a database", [command.base]),
	"remediation": "show the migration to the user (--sql, --dry-run, plan) and have it approved",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	_migrates(lower(command.base), command)
}

# METADATA
# title: ask terms
# description: >-
#   Two approvals.
ask_terms := {"quorum": 2} if count(ask) > 0

_migrates(program, command) if {
	some word in _verbs[program]
	word in shell.values(command)
}

_migrates(program, command) if {
	program in {"rails", "rake", "mix", "php", "artisan", "python", "python3", "django-admin", "npx", "npm", "yarn", "pnpm"}
	some word in shell.values(command)
	regex.match(`^(db:(migrate|rollback|drop|reset|schema:load|setup)|ecto\.(migrate|rollback|drop|reset)|migrate(:.*)?|sequelize-cli)$`, word)
}

_migrates(program, command) if sql.changes_schema(program, command)

_migrates(program, command) if sql.unreadable(program, command)

_verbs := {
	"alembic": {"downgrade", "upgrade"},
	"atlas": {"apply"},
	"dbmate": {"down", "drop", "migrate", "rollback", "up"},
	"flyway": {"clean", "migrate", "repair", "undo"},
	"goose": {"down", "redo", "reset", "up"},
	"knex": {"migrate:latest", "migrate:rollback"},
	"liquibase": {"drop-all", "rollback", "update"},
	"migrate": {"down", "drop", "force", "up"},
	"prisma": {"deploy", "push", "reset"},
	"sqitch": {"deploy", "rebase", "revert"},
	"typeorm": {"migration:revert", "migration:run", "schema:drop", "schema:sync"},
}
