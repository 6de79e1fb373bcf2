# METADATA
# title: packages only from lockfiles
# description: >-
#   Packages are installed only as a lockfile names them: npm ci, yarn --immutable, pnpm --frozen-lockfile, pip
#   --require-hashes, cargo --locked, go with -mod=readonly. Adding one is the work of a person.
package cookbook.lockfile_installs

import data.sandgate.lib.shell

# METADATA
# title: policy
# description: Its name, by which it is switched on.
policy := "lockfile_installs"

# METADATA
# title: install-without-lockfile
# description: >-
#   An installation that does not go by a lockfile.
# custom:
#   rule: install-without-lockfile
deny contains {
	"rule": "install-without-lockfile",
	"message": sprintf("%s installs what no lockfile names", [command.base]),
	"remediation": "install by the lockfile (npm ci, pip install --require-hashes -r requirements.txt, …); propose a new dependency to the user",
	"severity": "high",
	"command": command.index,
} if {
	some command in input.call.shell.commands

	_installs(lower(command.base), command)
	not _locked(lower(command.base), shell.values(command))
}

_installs(program, command) if {
	some verb in _verbs[program]
	verb in shell.values(command)
	not _runs_script(program, command)
}

_installs(program, command) if {
	regex.match(`^(python|pypy)[0-9.]*$`, program)
	some module in {"pip", "-mpip"}
	module in shell.values(command)
	some verb in _verbs.pip
	verb in shell.values(command)
}

_installs(program, command) if {
	regex.match(`^pip[0-9.]+$`, program)
	some verb in _verbs.pip
	verb in shell.values(command)
}

_installs(program, _) if program in {"bunx", "cpan", "cpanm", "easy_install", "npx", "pnpx", "uvx"}

# npm init makes a file, npm init NAME fetches what makes it.
_installs("npm", command) if {
	command.args[0].value in {"create", "init", "innit"}
	some arg in array.slice(command.args, 1, count(command.args))
	not _option(arg)
}

_option(arg) if startswith(arg.value, "-")

_installs("npm", command) if {
	{"audit", "fix"} - shell.values(command) == set()
}

_installs("go", command) if {
	{"mod", "tidy"} - shell.values(command) == set()
}

# A package with a version is fetched to be run.
_installs("go", command) if {
	command.args[0].value in {"run", "tool"}
	some arg in command.args
	regex.match(`^[a-z0-9.-]+\.[a-z]+/.*@`, arg.value)
}

_installs("go", command) if {
	command.args[0].value == "run"
	some arg in command.args
	regex.match(`^[^-/][^@]*@[a-z0-9.]+$`, arg.value)
}

_installs("uv", command) if {
	some arg in command.args
	regex.match(`^--with(-requirements|-editable)?(=|$)`, arg.value)
}

# The package managers that corepack brings, under its name.
_installs("corepack", command) if {
	some verb in (({"dlx", "use"} | _verbs.npm) - {"x"})
	verb in shell.values(command)
}

_installs("pacman", command) if {
	some word in shell.values(command)
	regex.match(`^(-[a-zA-Z]*S[a-zA-Z]*|--sync)$`, word)
	not regex.match(`^-S[sigl]+$`, word)
}

_installs("nix-env", command) if {
	some word in shell.values(command)
	regex.match(`^(-[iu][A-Za-z]*|--install|--upgrade)$`, word)
}

_runs_script(program, command) if {
	program in {"bun", "npm", "pnpm", "yarn"}
	command.args[0].value in {"run", "run-script"}
}

_installs("yarn", command) if {
	every word in shell.values(command) {
		startswith(word, "-")
		not word in {"--help", "--version", "-v"}
	}
}

# A verb that is not readable could be any.
_installs(program, command) if {
	_verbs[program]
	first := command.args[0]
	not first.literal
}

_pip_verbs := {"download", "install", "wheel"}

_verbs := {
	"npm": {"add", "ci", "exec", "i", "in", "ins", "inst", "insta", "instal", "install", "isntall", "install-test", "it", "update", "up", "upgrade", "x"},
	"yarn": {"add", "create", "dlx", "install", "up", "upgrade"},
	"pnpm": {"add", "create", "dlx", "i", "install", "up", "update"},
	"bun": {"add", "i", "install", "update", "x"},
	"pip": _pip_verbs,
	"pip3": _pip_verbs,
	"pipx": {"inject", "install", "run", "upgrade"},
	"uv": {"add", "pip", "sync", "tool"},
	"poetry": {"add", "update"}, # install goes by the lockfile
	"cargo": {"add", "binstall", "install", "update"},
	"go": {"get", "install"},
	"gem": {"install", "update"},
	"bundle": {"add", "install", "update"},
	"composer": {"require", "update"}, # install goes by the lockfile
	"apt": {"install"},
	"apt-get": {"install"},
	"apk": {"add"},
	"brew": {"install"},
	"deno": {"add", "install"},
	"dnf": {"install"},
	"dotnet": {"add", "install"},
	"flatpak": {"install"},
	"luarocks": {"install"},
	"pipenv": {"install", "update", "upgrade"},
	"snap": {"install"},
	"zypper": {"in", "install"},
	"yum": {"install"},
	"conda": {"install", "create"},
	"mamba": {"install", "create"},
}

_locked("npm", words) if {
	"ci" in words
	words & ((_verbs.npm - {"ci"}) | {"-g", "--global"}) == set()
}

_locked("yarn", words) if {
	words & {"--no-immutable", "add", "create", "dlx", "up", "upgrade"} == set()
	words & {"--immutable", "--frozen-lockfile"} != set()
}

_locked("pnpm", words) if {
	words & {"--no-frozen-lockfile", "add", "create", "dlx", "up", "update"} == set()
	"--frozen-lockfile" in words
}

_locked("bun", words) if {
	words & {"add", "update", "x"} == set()
	"--frozen-lockfile" in words
}

_locked(program, words) if {
	regex.match(`^(pip|python|pypy)[0-9.]*$`, program)
	"--require-hashes" in words
}

_locked("uv", words) if {
	words & {"add", "pip", "tool"} == set()
	words & {"--frozen", "--locked"} != set()
}

_locked("pipenv", words) if {
	words & {"update", "upgrade"} == set()
	"--deploy" in words
}

_locked("cargo", words) if {
	words & {"add", "update"} == set()
	"--locked" in words
}

# Of the workspace itself, by what go.sum holds.
_locked("go", words) if {
	"install" in words
	every word in words - {"install"} {
		regex.match(`^(-[a-z]+(=.*)?|\.{1,2}(/[^@]*)?)$`, word)
	}
}

_locked("bundle", words) if {
	words & {"add", "update"} == set()
	words & {"--frozen", "--deployment"} != set()
}
