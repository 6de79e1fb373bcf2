package facts

import "testing"

func TestNetwork(t *testing.T) {
	for script, want := range map[string]bool{
		"curl h": true, "ls": false, "git fetch": true, "git -C x push": true, "git log": false, "cat </dev/tcp/h/1": true, "pip install x": true, "pip list": false,
		"npm ci": true, "npm run x": false, "rsync a b": false, "rsync a h:b": true, "python3 -c 'import urllib.request'": true, "python3 -c 'import os'": false, "ssh h": true,
		"kubectl get po": true, "exec 3<>/dev/udp/h/1": true, "echo curl": false, "grep curl f": false,
	} {
		if got := AnalyzeShell(script, Options{}).Commands[0].Network; got != want {
			t.Errorf("%s: got %v", script, got)
		}
	}
}
