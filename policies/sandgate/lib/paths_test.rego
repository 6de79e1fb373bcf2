package sandgate.lib.paths_test

import data.sandgate.lib.paths

test_inside_is_only_what_is_known if {
	paths.inside({"in_workspace": true})
	not paths.inside({"in_workspace": false})
	not paths.inside({})
}

test_outside_is_only_what_is_known if {
	paths.outside({"in_workspace": false})
	not paths.outside({"in_workspace": true})
	not paths.outside({})
}

test_all_inside if {
	paths.all_inside([{"in_workspace": true}, {"in_workspace": true}])
	not paths.all_inside([{"in_workspace": true}, {}])
	not paths.all_inside([])
}

test_device[path] if {
	some path, want in {
		"/dev/sda": true, "/dev/nvme0n1": true, "/dev/null": false, "/dev/fd/3": false, "/dev/shm/x": false,
		"/etc/x": false, "/dev/pts/0": false, "/dev/ptmx": true,
		"/dev/stdout": false,
	}
	got := {true | paths.device(path)} == {true}
	got == want
}
