package sandgate.lib.calls_test

import data.sandgate.lib.calls

_word(text) := {"value": text}

_command(base, words) := {"base": base, "args": [_word(word) | some word in words], "redirects": []}

_call(commands) := {"shell": {"commands": commands}}

_hosts(words) := calls.hosts(_call([_command(words[0], array.slice(words, 1, count(words)))]))

_possible := {"path": "/may/path", "real": "/may/real", "value": "may/value"}

# Every key of every kind of place, each of them once.
test_named_paths_are_complete if {
	call := {
		"files": [{"path": "file", "abs": "/file", "real": "/file/real", "op": "read"}],
		"shell": {"commands": [
			{
				"args": [{
					"path": "/arg",
					"real": "/arg/real",
					"value": "arg",
					"eq": {"name": "--eq-name", "value": "eq"},
					"may": [_possible],
				}],
				"redirects": [
					{"class": "write", "path": "/to", "real": "/to/real", "target": "to", "may": [{
						"path": "/may/to",
						"real": "/may/to/real",
						"value": "may/to",
					}]},
					{"class": "dup", "target": "1"},
					{"class": "heredoc", "target": "text"},
					{"class": "herestring", "target": "words"},
				],
				"files": [{"path": "/use", "real": "/use/real", "value": "use", "op": "read"}],
			},
			{"args": [], "redirects": []},
		]},
	}
	calls.named_paths(call) == {
		"file", "/file", "/file/real", "/arg", "/arg/real", "arg", "eq", "/may/path", "/may/real", "may/value", "/to",
		"/to/real", "to", "/may/to", "/may/to/real", "may/to", "/use", "/use/real", "use",
	}
}

test_tools_that_only_read_write_nothing[op] if {
	some op in ["glob", "grep", "list", "read", "search"]
	calls.written_paths({"files": [{"op": op, "path": "a"}]}) == set()
}

test_tools_that_write[op] if {
	some op in ["write", "delete", "of_the_future"]
	calls.written_paths({"files": [{"op": op, "path": "a"}]}) == {"a"}
}

test_the_surest_name_of_a_place_counts if {
	calls.written_paths({"files": [{"op": "write", "path": "a", "abs": "/b", "real": "/c"}]}) == {"/c"}
	calls.written_paths({"files": [{"op": "write", "path": "a", "abs": "/b"}]}) == {"/b"}
	calls.written_paths({"files": [{"op": "write", "path": "a", "real": "/c"}]}) == {"/c"}
	calls.written_paths({"files": [{"op": "write"}]}) == {"?"}
}

test_redirects_that_write[class] if {
	some class in ["append", "read_write", "write"]
	command := {"base": "ls", "args": [], "redirects": [{"class": class, "target": "a", "path": "/a"}]}
	calls.written_paths(_call([command])) == {"/a"}
}

test_redirects_that_do_not_write[class] if {
	some class in ["read", "dup", "heredoc", "herestring"]
	command := {"base": "ls", "args": [], "redirects": [{"class": class, "target": "a", "path": "/a"}]}
	calls.written_paths(_call([command])) == set()
}

test_uses_that_write if {
	command := {"base": "sed", "args": [], "redirects": [], "files": [
		{"op": "write", "path": "/w"}, {"op": "delete", "path": "/d"}, {"op": "read", "path": "/r"},
	]}
	calls.written_paths(_call([command])) == {"/w", "/d"}
}

_two := [{"value": "-x", "path": "/-x"}, {"value": "a", "path": "/a"}, {"value": "b", "path": "/b"}]

_written(base, args) := calls.written_paths(_call([{"base": base, "args": args, "redirects": []}]))

test_all_operands_are_written[base] if {
	some base in {"mkdir", "mkfifo", "mv", "rm", "rmdir", "shred", "tee", "touch", "truncate", "unlink", "RM"}
	_written(base, _two) == {"/a", "/b"}
}

test_the_last_operand_is_written[base] if {
	some base in {"cp", "install", "ln", "rsync", "CP"}
	_written(base, _two) == {"/b"}
	_written(base, array.reverse(_two)) == set()
}

test_no_operand_is_written[base] if {
	some base in {"cat", "ls", "grep"}
	_written(base, _two) == set()
}

# A word is searched for fifty hosts, which is more than anybody writes.
test_fifty_hosts_of_a_word if {
	urls := concat(" ", [sprintf("https://h%d.example", [i]) | some i in numbers.range(1, 60)])
	count(_hosts(["echo", urls])) == 50
	backslashed := concat(" ", [sprintf(`://h%d\`, [i]) | some i in numbers.range(1, 60)])
	count(_hosts(["echo", backslashed])) == 50
}

test_user_and_host[base] if {
	some base in {"git", "mosh", "rsync", "scp", "sftp", "ssh", "SSH"}
	_hosts([base, "joe@Box:src"]) == {"box"}
	_hosts([base, "joe@box"]) == {"box"}
}

test_host_and_path[base] if {
	some base in {"rsync", "scp"}
	_hosts([base, "Box:src", "a"]) == {"box"}
}

test_no_host_and_path[base] if {
	some base in {"git", "mosh", "sftp", "ssh", "echo"}
	_hosts([base, "box:src"]) == set()
}

test_no_user_and_host if _hosts(["echo", "joe@box:src"]) == set()

test_devices if {
	redirect := {"class": "read", "target": "/dev/tcp/Box/80", "network": true}
	calls.hosts(_call([{"base": "cat", "args": [], "redirects": [redirect]}])) == {"box"}
	plain := object.union(redirect, {"network": false})
	calls.hosts(_call([{"base": "cat", "args": [], "redirects": [plain]}])) == set()
}

_takers := {
	"curl", "dig", "ftp", "host", "http", "https", "mongosh", "mtr", "mysql", "nc", "ncat", "nslookup", "openssl", "ping",
	"psql", "redis-cli", "sftp", "ssh", "telnet", "traceroute", "wget", "xh", "CURL",
}

_host_options := {"--host", "--proxy", "--preproxy", "--server", "--socks5", "--url"}

test_bare_hosts[base] if {
	some base in _takers
	_hosts([base, "A.example"]) == {"a.example"}
	_hosts([base, "localhost:80/x"]) == {"localhost"}
	_hosts([base, "box"]) == set()
}

test_no_bare_hosts[base] if {
	some base in {"cat", "echo", "git", "make"}
	_hosts([base, "a.example"]) == set()
}

_assigned(base, name) := calls.hosts(_call([{"base": base, "redirects": [], "args": [{
	"value": sprintf("%s=A.example", [name]),
	"eq": {"name": name, "value": "A.example"},
}]}]))

test_hosts_of_options[name] if {
	some name in _host_options
	_assigned("curl", name) == {"a.example"}
	_assigned("cat", name) == set()
	_hosts(["curl", name, "a.example"]) == {"a.example"}
}

test_no_hosts_of_options[name] if {
	some name in {"--output", "--header", "--data"}
	_assigned("curl", name) == set()
	_hosts(["curl", name, "a.example"]) == set()
	_hosts(["curl", sprintf("%s=x", [name]), "a.example"]) == {"a.example"}
}

test_long_options_without_a_value[name] if {
	some name in {
		"--compressed", "--fail", "--get", "--globoff", "--head", "--http1.1", "--http2", "--include", "--insecure",
		"--ipv4", "--ipv6", "--location", "--no-check-certificate", "--no-progress-meter", "--quiet", "--remote-name",
		"--show-error", "--silent", "--verbose",
	}
	"a.example" in _hosts(["curl", name, "a.example"])
}

test_letters_that_take_text[name] if {
	some name in {
		"-A", "-C", "-D", "-E", "-F", "-H", "-K", "-O", "-P", "-Q", "-T", "-U", "-X", "-b", "-c", "-d", "-e", "-f", "-i",
		"-m", "-n", "-o", "-p", "-r", "-u", "-w", "-y", "-z",
	}
	_hosts(["ping", name, "a.example"]) == set()
}

test_letters_that_take_nothing[name] if {
	some name in {"-4", "-6", "-q", "-s", "-v", "-L"}
	_hosts(["ping", name, "a.example"]) == {"a.example"}
}

_flags := {
	"wget": {"-c", "-r", "-m", "-p", "-d", "-E", "-H", "-K", "-b", "-F"},
	"curl": {"-O", "-f", "-i", "-n", "-p"},
	"nc": {"-A", "-C", "-K", "-T", "-X", "-n", "-u", "-z", "-r", "-f"},
	"ncat": {"-A", "-C", "-K", "-T", "-X", "-n", "-u", "-z", "-r", "-f"},
	"ssh": {"-A", "-C", "-K", "-T", "-X", "-n", "-u", "-z", "-r", "-f"},
}

test_flags_of_programs[note] if {
	some base, names in _flags
	some name in names
	note := sprintf("%s %s", [base, name])
	_hosts([base, name, "a.example"]) == {"a.example"}
}

test_texts if {
	prefixed := {"base": "cat", "redirects": [], "args": [{"prefix": "https://A.example/"}, {"prefix": "https://b.exam"}]}
	calls.hosts(_call([prefixed])) == {"a.example"}
	proxied := {"base": "cat", "args": [], "redirects": [], "env": [
		{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"},
		{"name": "SOURCE", "value": "http://source.example"},
	]}
	calls.hosts(_call([proxied])) == {"proxy.example"}
	calls.hosts({"args": {"n": 1, "deep": [{"url": "https://a.example/"}]}}) == {"a.example"}
}

test_other_letters_of_the_same_programs[note] if {
	some base, names in {"wget": ["-O", "-o", "-e"], "curl": ["-o", "-d", "-H"], "nc": ["-w", "-p"], "ssh": ["-i", "-p"]}
	some name in names
	note := sprintf("%s %s", [base, name])
	_hosts([base, name, "a.example"]) == set()
}

test_one_name_of_a_place_is_enough if {
	calls.written_paths({"files": [{"op": "write", "real": "/c"}]}) == {"/c"}
	calls.written_paths({"files": [{"op": "write", "abs": "/b"}]}) == {"/b"}
}
