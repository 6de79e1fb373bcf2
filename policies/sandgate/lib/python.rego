# METADATA
# title: python
# description: >-
#   What a Python program is seen to do, told from its facts (input.call.python, command.python). Python hides easily
#   what it does: these functions find the honest program, the cage holds the other one.
package sandgate.lib.python

# METADATA
# title: transparent
# description: The program was read and has nothing that hides what it imports and calls.
transparent(python) if {
	python.parsed == true
	count(python.dynamic) == 0
}

# METADATA
# title: imports
# description: The program imports the module or one below it.
imports(python, module) if {
	some name in python.imports
	_is(name, module)
}

# METADATA
# title: calls
# description: The program calls what is at the dotted name or below it.
calls(python, name) if {
	some called in array.concat(python.calls, python.names)
	_is(called, name)
}

_is(name, module) if name == module

_is(name, module) if startswith(name, sprintf("%s.", [module]))

# METADATA
# title: starts programs
# description: Modules and functions by which a program starts others.
starts_programs := {
	"asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell", "asyncio.subprocess", "commands", "multiprocessing",
	"os.execl", "os.execle", "os.execlp", "os.execlpe", "os.execv", "os.execve", "os.execvp", "os.execvpe", "os.fork",
	"os.forkpty", "os.popen", "os.posix_spawn", "os.posix_spawnp", "os.spawnl", "os.spawnle", "os.spawnlp", "os.spawnlpe",
	"os.spawnv", "os.spawnve", "os.spawnvp", "os.spawnvpe", "os.system", "pexpect", "plumbum", "pty", "sh", "subprocess",
}

# METADATA
# title: uses network
# description: Modules by which a program reaches the network.
uses_network := {
	"aiohttp", "boto3", "botocore", "ftplib", "google.cloud", "grpc", "http.client", "http.server", "httpx", "imaplib",
	"nntplib", "paramiko", "poplib", "pycurl", "requests", "smtplib", "socket", "socketserver", "ssl", "telnetlib",
	"urllib.request", "urllib3", "websocket", "websockets", "xmlrpc",
}

# METADATA
# title: touches
# description: The program imports or calls one of these.
touches(python, names) if {
	some name in names
	imports(python, name)
}

touches(python, names) if {
	some name in names
	calls(python, name)
}
