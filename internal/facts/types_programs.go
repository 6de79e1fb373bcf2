package facts

// Use is what a command does to one file that its words name, as far as the manual of the program tells: cp, tee, dd,
// curl -o, tar -f, sed -i, find -fprint, git -C and their like. A redirection is not among them.
type Use struct {
	// Op is read, write (or made, or appended to), delete or run.
	Op string `json:"op"`
	// Value is the path as written; absent when it is not static.
	Value *string `json:"value,omitempty"`
	// Below: everything below the path is meant as well.
	Below bool `json:"below,omitempty"`
	PathFacts

	arg *Arg
}

// GitPush is what `git push` is told to do. Force, Delete and Mirror tell what the words say; push.default and other
// configuration can add to it.
type GitPush struct {
	// Complete: every word is literal and every option is one of git push's own.
	Complete bool `json:"complete"`
	// Remote is the name or URL; absent when none is given or it is not literal.
	Remote string `json:"remote,omitempty"`
	// Force: the history of some ref may be overwritten: --force, a refspec with +, --mirror, or --force-with-lease.
	Force bool `json:"force"`
	// Lease: Force is only by --force-with-lease.
	Lease bool `json:"lease"`
	// Delete: some ref is deleted: --delete, :ref, --prune or --mirror.
	Delete bool `json:"delete"`
	Mirror bool `json:"mirror"`
	All    bool `json:"all"` // --all, --branches
	Tags   bool `json:"tags"`
	DryRun bool `json:"dry_run"`
	// Refs are the refspecs, in order.
	Refs []GitRef `json:"refs"`

	deletes bool // --delete: every ref is to be deleted
}

// GitRef is one refspec of a push.
type GitRef struct {
	// Src is what is pushed; absent for a deletion. Dst is the ref there, without refs/heads/: Src when none is given.
	Src    string `json:"src,omitempty"`
	Dst    string `json:"dst,omitempty"`
	Force  bool   `json:"force"`
	Delete bool   `json:"delete"`
}

// GitSetting is one value of git's configuration that a command sets: by -c, --config-env, `git config` or the
// GIT_CONFIG_… variables before it.
type GitSetting struct {
	// Name in lower case, but for the part in the middle. Value is absent when it is not static.
	Name  string  `json:"name"`
	Value *string `json:"value,omitempty"`
	// Runs: git gives the value to a shell, or runs what it names, at one time or another.
	Runs bool `json:"runs"`
	// Stored: it is written to a file, so that later commands have it too.
	Stored bool `json:"stored"`
}

// Kubectl is what a command line tells kubectl (or oc) to do.
type Kubectl struct {
	// Complete: every word is literal and every option is known, so that what is absent here was not given. Otherwise
	// the rest is what could be told, never surely all of it.
	Complete bool `json:"complete"`
	// Verb is the first operand; absent when it is not literal. Known: it is kubectl's own; otherwise it runs a plugin.
	Verb  string `json:"verb,omitempty"`
	Known bool   `json:"known"`
	// Sub is the second word of the verbs that have one: rollout restart, config view, auth can-i, …
	Sub string `json:"sub,omitempty"`
	// Resources are what the operands name.
	Resources []KubeResource `json:"resources"`
	// Namespace, Context, Cluster, User, Server and Kubeconfig are absent when not given: what holds then stands in a
	// file that is not looked into.
	Namespace     string `json:"namespace,omitempty"`
	AllNamespaces bool   `json:"all_namespaces"`
	Context       string `json:"context,omitempty"`
	Cluster       string `json:"cluster,omitempty"`
	User          string `json:"user,omitempty"`
	Server        string `json:"server,omitempty"`
	Kubeconfig    string `json:"kubeconfig,omitempty"`
	// As is the user or group that is impersonated.
	As string `json:"as,omitempty"`
	// DryRun is none, client or server.
	DryRun string `json:"dry_run"`
	// Flags are all options by their long name, each with its values in order; one without a value has "true".
	Flags map[string][]string `json:"flags"`
	// Files are the values of -f, -k, --from-file and their like; "-" is the standard input, a URL is a URL.
	Files []string `json:"files"`
	// Command is what exec, run or debug is told to run in the container; it is among the commands of the script too.
	Command []string `json:"command,omitempty"`
}

// KubeResource is one resource that a kubectl command names.
type KubeResource struct {
	// Type is the plural of a built-in type (po and pod become pods), or the word in lower case. Group is what stands
	// after its first dot, absent when nothing does.
	Type  string `json:"type"`
	Group string `json:"group,omitempty"`
	// Name is absent when all of them, or those that a selector picks, are meant.
	Name string `json:"name,omitempty"`
}

// Python is what a Python program is seen to do by its text. It tells what is named, not what is reached.
type Python struct {
	// Parsed is false when it is not Python 3 that could be read; everything else is then absent or empty.
	Parsed bool   `json:"parsed"`
	Error  string `json:"error,omitempty"`
	// Imports are the modules that are imported, as written with their dots, sorted, each once.
	Imports []string `json:"imports"`
	// Calls are the dotted names that are called, with imports and their aliases resolved: `from os import system as s;
	// s("ls")` is os.system. Sorted, each once. A method of a value whose origin is not known is ".name".
	Calls []string `json:"calls"`
	// Names are the dotted names below imported modules that are mentioned without being called.
	Names []string `json:"names"`
	// Opens are the files that open and its like are given.
	Opens []PythonOpen `json:"opens"`
	// Dynamic lists what makes the other facts incomplete: exec, eval, compile, __import__, getattr, globals,
	// star_import, dunder, importlib, ctypes, pickle, … Sorted.
	Dynamic []string `json:"dynamic"`
	// Runs are the programs that it starts by os.system, subprocess and their like. In a script they are among its
	// commands too.
	Runs []PythonRun `json:"runs"`
}

// PythonRun is one program that a Python program starts.
type PythonRun struct {
	// Script is what a shell is given; absent when none is, or it is not literal.
	Script *string `json:"script,omitempty"`
	// Argv are the words up to the first that is not literal.
	Argv []string `json:"argv,omitempty"`
	// Complete: Script or Argv is all of it.
	Complete bool `json:"complete"`
}

// PythonOpen is one file that a Python program opens.
type PythonOpen struct {
	// Op is read, write, read_write or delete; absent when the mode is not literal.
	Op string `json:"op,omitempty"`
	// Value is the path; absent when it is not a literal.
	Value *string `json:"value,omitempty"`
	PathFacts
}
