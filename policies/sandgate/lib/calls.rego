# METADATA
# title: calls
# description: >-
#   What a call does, whichever tool it is: the files that it names, the hosts, the text it writes. Facts of scripts and
#   of the other tools in one shape.
package sandgate.lib.calls

# METADATA
# title: named paths
# description: >-
#   Every path that a call may read or write: of its files, of the words of its script, and of its redirections, as
#   written and with symlinks resolved.
named_paths(call) := (({path |
	some file in object.get(call, "files", [])
	some key in ["path", "abs", "real"]
	path := file[key]
} | {path |
	some command in call.shell.commands
	some arg in command.args
	some path in _of_word(arg)
}) | {path |
	some command in call.shell.commands
	some redirect in command.redirects
	not redirect.class in {"dup", "heredoc", "herestring"}
	some path in _of_target(redirect)
}) | {path |
	some command in call.shell.commands
	some use in object.get(command, "files", [])
	some key in ["path", "real", "value"]
	path := use[key]
}

_of_target(redirect) := {path |
	some key in ["path", "real", "target"]
	path := redirect[key]
} | {path |
	some possible in redirect.may
	some key in ["path", "real", "value"]
	path := possible[key]
}

_of_word(arg) := ({word |
	some key in ["path", "real", "value"]
	word := arg[key]
} | {word | word := arg.eq.value}) | {word |
	some possible in arg.may
	some key in ["path", "real", "value"]
	word := possible[key]
}

# METADATA
# title: written paths
# description: Every path that is known to be written, made or deleted, absolute where that is known.
written_paths(call) := ((({_absolute(file) |
	some file in object.get(call, "files", [])
	not file.op in {"glob", "grep", "list", "read", "search"}
} | {_absolute(redirect) |
	some command in call.shell.commands
	some redirect in command.redirects
	redirect.class in {"append", "read_write", "write"}
	not _device(redirect)
}) | {_absolute(use) |
	some command in call.shell.commands
	some use in object.get(command, "files", [])
	use.op in {"delete", "write"}
}) | {_absolute(arg) |
	some command in call.shell.commands
	lower(command.base) in _writers
	some arg in command.args
	not _option(arg)
}) | {_absolute(arg) |
	some command in call.shell.commands
	lower(command.base) in {"cp", "install", "ln", "rsync"}
	arg := command.args[count(command.args) - 1]
	not _option(arg)
}

# Programs all of whose operands are written, made or deleted.
_writers := {"mkdir", "mkfifo", "mv", "rm", "rmdir", "shred", "tee", "touch", "truncate", "unlink"}

_option(arg) if startswith(arg.value, "-")

_absolute(facts) := facts.real

_absolute(facts) := facts.abs if not facts.real

_absolute(facts) := facts.path if {
	not facts.real
	not facts.abs
}

_absolute(facts) := "?" if {
	not facts.real
	not facts.abs
	not facts.path
}

_device(redirect) if startswith(redirect.target, "/dev/")

# METADATA
# title: below
# description: The path is the directory or something below it.
below(path, dir) if path == dir

below(path, dir) if startswith(path, sprintf("%s/", [dir]))

# METADATA
# title: hosts
# description: >-
#   The hosts that the words of a script or the arguments of a tool name: in URLs, in the manner of scp and git, by
#   bash's own network devices, or as bare words of programs that reach the network.
hosts(call) := (((_in_urls(call) | _after_backslash(call)) | _of_scp(call)) | _bare(call)) | _of_devices(call)

_in_urls(call) := {lower(match[1]) |
	some text in _texts(call)
	some match in regex.find_all_string_submatch_n(`[A-Za-z][A-Za-z0-9+.-]*:/?/(?:[^\s/@]*@)?(\[[0-9a-fA-F:]+\]|[^\s/:?#@"'\\{}]+)`, text, 50)
}

_after_backslash(call) := {lower(match[1]) |
	some text in _texts(call)
	some match in regex.find_all_string_submatch_n(`://([^\s/:?#@"'\\]+)\\`, text, 50)
}

_of_scp(call) := {lower(match[1]) |
	some command in call.shell.commands
	lower(command.base) in {"git", "mosh", "rsync", "scp", "sftp", "ssh"}
	some arg in command.args
	some match in regex.find_all_string_submatch_n(`^(?:[A-Za-z0-9._-]+@)([A-Za-z0-9.-]+)(?::|$)`, arg.value, -1)
} | {lower(match[1]) |
	some command in call.shell.commands
	lower(command.base) in {"rsync", "scp"}
	some arg in command.args
	some match in regex.find_all_string_submatch_n(`^([A-Za-z0-9.-]+):`, arg.value, -1)
}

_of_devices(call) := {lower(split(redirect.target, "/")[3]) |
	some command in call.shell.commands
	some redirect in command.redirects
	redirect.network == true
}

# A word that looks like a name with a dot, an address or localhost, where the program takes a host or a URL.
_bare(call) := {lower(match[1]) |
	some command in call.shell.commands
	lower(command.base) in _host_programs
	some i, arg in command.args
	not takes_text(command, i)
	some match in regex.find_all_string_submatch_n(_bare_host, arg.value, -1)
} | {lower(match[1]) |
	some command in call.shell.commands
	lower(command.base) in _host_programs
	some arg in command.args
	arg.eq.name in _host_options
	some match in regex.find_all_string_submatch_n(_bare_host, arg.eq.value, -1)
}

_bare_host := `^(?:https?:)?(?:[^/@\s]+@)?((?:[A-Za-z0-9_-]+\.)+[A-Za-z0-9-]+|localhost)\.?(?::[0-9]*)?(?:[/?#].*)?$`

_host_programs := {
	"curl", "dig", "ftp", "host", "http", "https", "mongosh", "mtr", "mysql", "nc", "ncat", "nslookup", "openssl", "ping",
	"psql", "redis-cli", "sftp", "ssh", "telnet", "traceroute", "wget", "xh",
}

_host_options := {"--host", "--proxy", "--preproxy", "--server", "--socks5", "--url"}

# METADATA
# title: takes text
# description: The word is the value of an option of a network program that is no host, but a file, a header, a method.
takes_text(command, i) if {
	command.args[i - 1].value in {
		"-A", "-C", "-D", "-E", "-F", "-H", "-K", "-O", "-P", "-Q", "-T", "-U", "-X", "-b", "-c", "-d", "-e", "-f", "-i", "-m",
		"-n", "-o", "-p", "-r", "-u", "-w", "-y", "-z",
	}
	not _addresses(command, i)
}

takes_text(command, i) if {
	option := command.args[i - 1].value
	startswith(option, "--")
	not contains(option, "=")
	not option in _host_options
	not option in {
		"--compressed", "--fail", "--get", "--globoff", "--head", "--http1.1", "--http2", "--include", "--insecure", "--ipv4",
		"--ipv6", "--location", "--no-check-certificate", "--no-progress-meter", "--quiet", "--remote-name", "--show-error",
		"--silent", "--verbose",
	}
}

# Letters that take no value here: those of ping, ssh and their like name the host next.
_addresses(command, i) if {
	lower(command.base) == "wget"
	command.args[i - 1].value in {"-c", "-r", "-m", "-p", "-d", "-E", "-H", "-K", "-b", "-F"}
}

_addresses(command, i) if {
	lower(command.base) in {"curl"}
	command.args[i - 1].value in {"-O", "-f", "-i", "-n", "-p"}
}

_addresses(command, i) if {
	lower(command.base) in {"nc", "ncat", "ssh"}
	command.args[i - 1].value in {"-A", "-C", "-K", "-T", "-X", "-n", "-u", "-z", "-r", "-f"}
}

# A backslash ends the host for some programs, and belongs to the name before the host for others.
_texts(call) := ({text |
	some command in call.shell.commands
	some arg in command.args
	text := arg.value
} | {text |
	some command in call.shell.commands
	some arg in command.args
	text := arg.prefix
	regex.match(`^[A-Za-z]+://[^/@]+/`, text)
}) | ({text |
	some command in call.shell.commands
	some variable in command.env
	endswith(lower(variable.name), "_proxy")
	text := variable.value
} | {text |
	not call.shell
	walk(call.args, [_, text]) # lint:ignore no-walk: arguments are bounded and of any tool
	is_string(text)
})
