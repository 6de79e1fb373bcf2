# METADATA
# title: two persons approve a deletion
# description: >-
#   What deletes data that cannot be had back is asked, and two persons have to approve it.
package cookbook.two_person_delete

import data.sandgate.lib.git
import data.sandgate.lib.kubectl
import data.sandgate.lib.python
import data.sandgate.lib.sql

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "two_person_delete"

# METADATA
# title: deletion
# description: >-
#   Something that cannot be had back would be deleted.
# custom:
#   rule: deletion
ask contains {
	"rule": "deletion",
	"message": sprintf("%s deletes what cannot be had back", [command.base]),
	"remediation": "move it aside instead, or have two persons approve",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	_deletes(lower(command.base), command)
}

# METADATA
# title: deletion-by-tool
# description: >-
#   A tool that deletes, as its declaration says.
# custom:
#   rule: deletion
ask contains {
	"rule": "deletion",
	"message": sprintf("the tool %s deletes what cannot be had back", [input.call.tool]),
	"remediation": "have two persons approve",
	"severity": "high",
} if {
	not input.call.shell
	"delete" in input.tool.effects
	not input.tool.source == "builtin"
}

# METADATA
# title: ask terms
# description: >-
#   Two approvals.
ask_terms := {"quorum": 2} if count(ask) > 0

_deletes("rm", command) if {
	some arg in command.args
	regex.match(`^(-[a-zA-Z]*[rR]|--r)`, arg.value)
}

# The letters are not known.
_deletes("rm", command) if {
	some arg in command.args
	startswith(arg.prefix, "-")
}

_deletes("find", command) if {
	some arg in command.args
	arg.value == "-delete"
}

_deletes(program, _) if program in {"blkdiscard", "dropdb", "dropuser", "rimraf", "shred", "srm", "wipe", "wipefs"}

_deletes(_, command) if kubectl.deletes(command.kubectl)

_deletes(_, command) if command.git.push.delete

_deletes("git", command) if git.destructive(command)

_deletes(program, command) if sql.destroys(program, command)

# What a program for machines, clusters and clouds is told to delete.
_deletes(program, command) if {
	program in {
		"aws", "az", "azcopy", "borg", "doctl", "eksctl", "fly", "flyctl", "gcloud", "gh", "glab", "gsutil", "hcloud", "helm",
		"heroku", "k3d", "kind", "linode-cli", "minikube", "mysqladmin", "oci", "pulumi", "rclone", "restic", "s3cmd", "terraform",
		"terragrunt", "tofu", "vagrant", "velero", "virsh", "zfs", "zpool",
	}
	some arg in command.args
	regex.match(`^(del(ete)?(-.*)?|destroy|drop|forget|purge|rb|remove(-.*)?|rm|terminate-.*|undefine|uninstall|.*:destroy)$`, arg.value)
	not _plans(command)
}

_deletes(program, command) if {
	program in _container_tools
	some arg in command.args
	arg.value in {"prune", "rm", "rmi"}
}

_deletes(program, command) if {
	program in _container_tools
	words := {arg.value | some arg in command.args}
	"down" in words
	words & {"--rmi", "--volumes", "-v"} != set()
}

_deletes("rsync", command) if {
	some arg in command.args
	regex.match(`^--(del|remove-source)`, arg.value)
}

_deletes(program, command) if {
	program in {"redis-cli", "valkey-cli"}
	some arg in command.args
	regex.match(`(?i)^flush(all|db)$`, arg.value)
}

_deletes(program, command) if {
	program in {"mongo", "mongosh"}
	some arg in command.args
	regex.match(`(?i)(drop[a-z]*|delete(one|many)|remove)\s*\(`, arg.value)
}

_deletes("npx", command) if command.args[0].value == "rimraf"

# Statements from a pipe, of which nothing is known.
_deletes(program, command) if {
	count(sql.statements(program, command)) == 0
	"|" in command.context
	sql.clients[program]
}

_deletes(_, command) if python.touches(command.python, {"shutil.rmtree"})

_plans(command) if {
	some arg in command.args
	arg.value in {"--dry-run", "--dryrun", "--dry-run=client", "--what-if"}
}

_container_tools := {"docker", "docker-compose", "nerdctl", "podman", "podman-compose"}
