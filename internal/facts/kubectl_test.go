package facts

import (
	"fmt"
	"sort"
	"strings"
	"testing"
)

// kubeText is the short form of the facts about a kubectl command.
func kubeText(k *Kubectl) string {
	out := []string{k.Verb}
	if k.Sub != "" {
		out = append(out, k.Sub)
	}
	for _, r := range k.Resources {
		t := r.Type
		if r.Group != "" {
			t += "." + r.Group
		}
		if r.Name != "" {
			t += "/" + r.Name
		}
		out = append(out, t)
	}
	for _, o := range []struct{ name, value string }{
		{"ns", k.Namespace}, {"ctx", k.Context}, {"cluster", k.Cluster}, {"server", k.Server}, {"user", k.User}, {"as", k.As}, {"config", k.Kubeconfig},
	} {
		if o.value != "" {
			out = append(out, o.name+"="+o.value)
		}
	}
	if k.AllNamespaces {
		out = append(out, "all-ns")
	}
	if k.DryRun != "none" {
		out = append(out, "dry="+k.DryRun)
	}
	if len(k.Files) > 0 {
		out = append(out, "files="+strings.Join(k.Files, ","))
	}
	if len(k.Command) > 0 {
		out = append(out, fmt.Sprintf("runs%q", k.Command))
	}
	if !k.Known {
		out = append(out, "unknown")
	}
	if !k.Complete {
		out = append(out, "incomplete")
	}
	return strings.Join(out, " ")
}

func TestKubectl(t *testing.T) {
	for script, want := range map[string]string{
		`kubectl get pods`:                               "get pods",
		`kubectl -n prod get po web -o yaml`:             "get pods/web ns=prod",
		`kubectl get po,svc a b`:                         "get pods/a pods/b services/a services/b",
		`kubectl get deploy/web svc/x -A`:                "get deployments/web services/x all-ns",
		`kubectl get -Aw ingresses.networking.k8s.io`:    "get ingresses.networking.k8s.io all-ns",
		`kubectl get --all-namespaces=false pods`:        "get pods",
		`kubectl --context=p --namespace x delete pod y`: "delete pods/y ns=x ctx=p",
		`kubectl -nprod delete -f=a.yaml -Rf b/`:         "delete ns=prod files=a.yaml,b/",
		`kubectl delete pod x -n a -n b`:                 "delete pods/x ns=b",
		`kubectl apply -f - --dry-run=server`:            "apply dry=server files=-",
		`kubectl apply -k . --dry-run`:                   "apply dry=client files=.",
		`kubectl apply --dry-run=none -f https://x/y`:    "apply files=https://x/y",
		`kubectl apply view-last-applied deploy x`:       "apply view-last-applied deployments/x",
		`kubectl rollout restart deploy web`:             "rollout restart deployments/web",
		`kubectl rollout undo sts/db --to-revision 3`:    "rollout undo statefulsets/db",
		`kubectl config use-context prod`:                "config use-context",
		`kubectl auth can-i delete pods`:                 "auth can-i",
		`kubectl create secret generic s --from-file=k`:  "create secret secrets/s files=k",
		`kubectl exec -it web -c app -- sh -c 'rm x'`:    `exec pods/web runs["sh" "-c" "rm x"]`,
		`kubectl exec deploy/web rm x`:                   `exec deployments/web runs["rm" "x"]`,
		`kubectl run t --image=x --rm -i -- sh`:          `run pods/t runs["sh"]`,
		`kubectl logs -f web -c x -p`:                    "logs pods/web",
		`kubectl patch svc x -p '{"a":1}'`:               "patch services/x",
		`kubectl label po x a=b c-`:                      "label pods/x",
		`kubectl set image deploy/web a=b`:               "set image deployments/web",
		`kubectl scale --replicas=0 deploy web`:          "scale deployments/web",
		`kubectl drain node1 --force`:                    "drain nodes/node1",
		`kubectl cp ns/pod:/etc/passwd ./x`:              "cp pods/pod ns=ns",
		`kubectl top pod`:                                "top pod pods",
		`kubectl get pods $NS`:                           "get pods incomplete",
		`kubectl $X delete pods`:                         " unknown incomplete",
		`kubectl -n "$NS" get pods`:                      "get pods incomplete",
		`kubectl get pods --as=root --token x`:           "get pods as=root",
		`kubectl get --as-group=g --server=https://e s`:  "get s server=https://e as=g",
		`kubectl get pods --nosuch x`:                    "get pods/x incomplete",
		`kubectl foo bar`:                                "foo bar unknown",
		`kubectl`:                                        " unknown",
		`kubectl get -- pods x`:                          "get pods/x",
		`kubectl get secret/x --kubeconfig /tmp/k`:       "get secrets/x config=/tmp/k",
		`oc get Secrets`:                                 "get secrets",
	} {
		sh := AnalyzeShell(script, Options{})
		got := kubeText(sh.Commands[0].Kubectl)
		if got != want {
			t.Errorf("%s\n got %q\nwant %q", script, got, want)
		}
	}
}

func pushText(p *GitPush) string {
	var out []string
	for name, is := range map[string]bool{
		"force": p.Force, "lease": p.Lease, "delete": p.Delete, "mirror": p.Mirror, "all": p.All, "tags": p.Tags, "dry": p.DryRun, "incomplete": !p.Complete,
	} {
		if is {
			out = append(out, name)
		}
	}
	sort.Strings(out)
	text := p.Remote
	for _, r := range p.Refs {
		text += " " + r.Src + ">" + r.Dst
		if r.Force {
			text += "!"
		}
		if r.Delete {
			text += "x"
		}
	}
	return strings.TrimSpace(text + " " + strings.Join(out, " "))
}

func TestGitPush(t *testing.T) {
	for script, want := range map[string]string{
		`git push`:              "",
		`git push origin main`:  "origin main>main",
		`git push -f`:           "force",
		`git push origin +main`: "origin main>main! force",
		`git push origin HEAD:refs/heads/main -u`:      "origin HEAD>main",
		`git push origin :old`:                         "origin >oldx delete",
		`git push --delete origin a b`:                 "origin >ax >bx delete",
		`git push -nd origin a`:                        "origin >ax delete dry",
		`git push --force-with-lease origin x`:         "origin x>x force lease",
		`git push --force-with-lease=x:1 -f origin x`:  "origin x>x force",
		`git push --mirror git@h:r`:                    "git@h:r delete force mirror",
		`git push --mir h`:                             "h delete force mirror",
		`git push --prune origin 'refs/heads/*'`:       "origin refs/heads/*>* delete",
		`git push --for origin`:                        "origin incomplete",
		`git push --all --tags`:                        "all tags",
		`git push -o ci.skip --push-option=x origin m`: "origin m>m",
		`git push -vfq origin`:                         "origin force",
		`git push origin tag v1`:                       "origin refs/tags/v1>refs/tags/v1",
		`git push origin "$B"`:                         "origin incomplete",
		`git push --receive-pack=/x h m`:               "h m>m",
		`git push --zzz h m`:                           "h m>m incomplete",
		`git push origin :`:                            "origin >",
		`git -C sub -c a.b=c push -- origin -f`:        "origin -f>-f",
	} {
		sh := AnalyzeShell(script, Options{})
		if got := pushText(sh.Commands[0].Git.Push); got != want {
			t.Errorf("%s\n got %q\nwant %q", script, got, want)
		}
	}
}

func TestGitSettings(t *testing.T) {
	for _, tt := range [][2]string{
		{`git -c core.pager=x log`, "core.pager=x runs"},
		{`git -c CORE.SSHCommand=x fetch`, "core.sshcommand=x runs"},
		{`git -c user.name=x log`, "user.name=x"},
		{`git -c alias.x='!rm y' x`, "alias.x=!rm y runs"},
		{`git -c alias.x=log x`, "alias.x=log"},
		{`git -c diff.Foo.textconv=x diff`, "diff.Foo.textconv=x runs"},
		{`git -c core.fsmonitor=false status`, "core.fsmonitor=false"},
		{`git -c core.fsmonitor=./x status`, "core.fsmonitor=./x runs"},
		{`git --config-env=core.pager=V log`, "core.pager runs"},
		{`git config --global core.hooksPath h`, "core.hookspath=h runs stored"},
		{`git config set --local filter.a.clean x`, "filter.a.clean=x runs stored"},
		{`git config --get core.pager`, ""},
		{`git config get core.pager`, ""},
		{`git config -f .git/config include.path ../x`, "include.path=../x runs stored"},
		{`GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=core.pager GIT_CONFIG_VALUE_0=x git log`, "core.pager=x runs"},
		{`git -c remote.o.uploadpack=x fetch`, "remote.o.uploadpack=x runs"},
		{`git -c protocol.ext.allow=always fetch`, "protocol.ext.allow=always runs"},
	} {
		script, want := tt[0], tt[1]
		var out []string
		for _, s := range AnalyzeShell(script, Options{}).Commands[0].Git.Settings {
			text := s.Name
			if s.Value != nil {
				text += "=" + *s.Value
			}
			if s.Runs {
				text += " runs"
			}
			if s.Stored {
				text += " stored"
			}
			out = append(out, text)
		}
		if got := strings.Join(out, "; "); got != want {
			t.Errorf("%s\n got %q\nwant %q", script, got, want)
		}
	}
}

func TestGitRemotesAndPaths(t *testing.T) {
	for script, want := range map[string]string{
		`git clone --depth 1 -b x https://h/r dir`: "https://h/r",
		`git fetch -p origin main`:                 "origin",
		`git pull --rebase -j 4 up`:                "up",
		`git ls-remote --heads git@h:r`:            "git@h:r",
		`git remote add -f o ext::sh`:              "o ext::sh",
		`git remote set-url o https://h`:           "o https://h",
		`git submodule add -b x https://h sub`:     "https://h sub",
		`git push "$R" main`:                       "",
		`git remote -v`:                            "",
		`git log main -- a ../b`:                   "-- a ../b",
		`git clone "$X"`:                           "",
	} {
		g := AnalyzeShell(script, Options{}).Commands[0].Git
		got := strings.Join(g.Remotes, " ")
		if len(g.Paths) > 0 {
			got += "-- " + strings.Join(g.Paths, " ")
		}
		if got != want || !g.Own {
			t.Errorf("%s: got %q, own %v", script, got, g.Own)
		}
	}
	if g := AnalyzeShell("git foo", Options{}).Commands[0].Git; g.Own {
		t.Error("git foo is none of git's own")
	}
}
