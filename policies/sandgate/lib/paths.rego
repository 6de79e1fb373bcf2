# METADATA
# title: paths
# description: >-
#   Facts about paths. Every function is true only for what is known: a missing fact is never good news.
package sandgate.lib.paths

# METADATA
# title: inside
# description: The path, with its symlinks resolved, is the workspace or below it.
inside(facts) if facts.in_workspace == true

# METADATA
# title: outside
# description: The path is known to be outside the workspace.
outside(facts) if facts.in_workspace == false

# METADATA
# title: all inside
# description: There is at least one path, and every one is inside the workspace.
all_inside(files) if {
	count(files) > 0
	every file in files {
		inside(file)
	}
}

# METADATA
# title: device
# description: >-
#   The path names a device that keeps what is written to it. The null device and a process's own streams are none.
device(path) if {
	startswith(path, "/dev/")
	not path in harmless_devices
	not startswith(path, "/dev/fd/")
	not startswith(path, "/dev/shm/")
	not startswith(path, "/dev/pts/")
}

# METADATA
# title: harmless devices
# description: Writing to them changes nothing that lasts.
harmless_devices := {
	"/dev/console", "/dev/full", "/dev/null", "/dev/random", "/dev/stderr", "/dev/stdin", "/dev/stdout", "/dev/tty",
	"/dev/urandom", "/dev/zero",
}
