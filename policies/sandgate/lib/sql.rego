# METADATA
# title: sql
# description: >-
#   What the SQL does that is given to the client of a database on its command line. It goes by keywords, so it says what
#   a statement may do; a statement that is not literal, or stands in a file, is not readable.
package sandgate.lib.sql

# METADATA
# title: clients
# description: Clients of databases that take statements.
clients := {
	"clickhouse-client", "cockroach", "duckdb", "mariadb", "mysql", "psql", "sqlcmd", "sqlite3", "sqlplus",
}

# METADATA
# title: statements
# description: The words of a client that can be SQL, in upper case without comments.
statements(program, command) := {upper(regex.replace(word, `(?s)/\*.*?\*/|--[^\n]*`, " ")) |
	clients[program]
	some arg in command.args
	arg.literal == true
	word := regex.replace(arg.value, `^--[a-z-]+=`, "")
	regex.match(`[ \t\n;(]`, word)
} | {upper(redirect.target) |
	clients[program]
	some redirect in command.redirects
	redirect.class in {"heredoc", "herestring"}
	redirect.static == true
}

# METADATA
# title: changes schema
# description: A statement that makes, changes or drops tables and their like.
changes_schema(program, command) if {
	some statement in statements(program, command)
	regex.match(`\b(ALTER|CREATE|DROP|RENAME|TRUNCATE|GRANT|REVOKE|REINDEX|VACUUM\s+FULL)\b`, statement)
}

# METADATA
# title: destroys
# description: A statement that drops or empties a table, or deletes rows.
destroys(program, command) if {
	some statement in statements(program, command)
	regex.match(`\b(DROP|TRUNCATE|DELETE\s+FROM)\b`, statement)
}

# METADATA
# title: unreadable
# description: The client reads statements that the policy does not see, from a file, its input or a variable.
unreadable(program, command) if {
	clients[program]
	some arg in command.args
	not arg.literal
}

unreadable(program, command) if {
	clients[program]
	some arg in command.args
	regex.match(`^(-f|--file|-i|--init-file|\.read)`, arg.value)
}

unreadable(program, command) if {
	clients[program]
	some redirect in command.redirects
	redirect.class in {"heredoc", "read"}
}

unreadable(program, command) if {
	clients[program]
	"|" in command.context
}
