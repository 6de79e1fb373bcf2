package facts

// Options tells the analysis where the call will run. The zero value means: cwd and workspace are /workspace, and
// nothing is known about the files there.
type Options struct {
	// Cwd is the absolute working directory in the cell. Default: WorkspacePath.
	Cwd string
	// WorkspacePath is where the workspace is mounted in the cell. Default: /workspace.
	WorkspacePath string
	// Root gives read-only lookups in the workspace. With nil nothing is known: path facts hold the lexical path
	// only, and neither real nor in_workspace is present. A workspace that is known to be empty is [NewMemFS](nil, nil).
	Root FS
}

func (o Options) withDefaults() Options {
	if o.WorkspacePath == "" {
		o.WorkspacePath = "/workspace"
	}
	if o.Cwd == "" {
		o.Cwd = o.WorkspacePath
	}
	return o
}

// Shell is input.call.shell: everything that is statically known about a bash script.
type Shell struct {
	// Dialect is the language that the script was parsed as; always "bash" today.
	Dialect string `json:"dialect"`
	// Parsed is false when the script as a whole is not known to mean what Commands says. Commands then holds
	// what could still be read: what bash runs before it meets the error, and maybe more, never surely all of it.
	Parsed bool `json:"parsed"`
	// Error says why Parsed is false.
	Error string `json:"error,omitempty"`
	// Bytes is the length of the script.
	Bytes int `json:"bytes"`
	// Truncated is true when TooLong or TooManyCommands is: more than a person would review.
	Truncated bool `json:"truncated"`
	// TooLong: over 10,000 bytes. TooManyCommands: over 50 commands. Both are still analysed in full.
	TooLong         bool `json:"too_long"`
	TooManyCommands bool `json:"too_many_commands"`
	// Overflow is true when a hard ceiling stopped the analysis, so Commands is not complete: a policy must deny.
	Overflow bool `json:"overflow"`
	// Opaque is true when some command runs code that is not known (see Command.Opaque).
	Opaque bool `json:"opaque"`
	// ChangesDirectory is true when some command can change the working directory of later ones.
	ChangesDirectory bool `json:"changes_directory"`
	// Features lists, sorted, the constructs of the language that the script uses. See the constants Feature….
	Features []string `json:"features"`
	// Commands lists every command in textual order, nested ones after the command that nests them.
	Commands []*Command `json:"commands"`
	// Programs lists, sorted and each once, the names that are run: Command.Base of Commands in lower case. A name that is
	// not static is not among them. It is what a policy of many rules finds its rules by.
	Programs []string `json:"programs"`
	// Bare: the commands are nothing but programs with plain words, see [Bare].
	Bare bool `json:"bare"`
	// Functions and Aliases list, sorted, the names that the script defines: they can shadow a command.
	Functions []string `json:"functions"`
	Aliases   []string `json:"aliases"`
	// Variables lists, sorted, the names of the variables that the script sets in any way: an assignment, before
	// a command too, for, read, printf -v, mapfile, declare, getopts, ${x:=y}, ((x = 1)). Absent when there are none.
	Variables []string `json:"variables,omitempty"`
	// Cwd holds the path facts of the working directory at the start.
	Cwd PathFacts `json:"cwd"`
}

// PathFacts is what is known about one path. Every field is absent when it is not known.
type PathFacts struct {
	// Path is the lexical absolute path in the cell.
	Path string `json:"path,omitempty"`
	// Real is Path with all symlinks of the workspace resolved, as the kernel would. It is only known for
	// a path whose every step stays where it can be looked up.
	Real string `json:"real,omitempty"`
	// Exists and Kind ("file", "dir", "symlink" when dangling, "other") are known when Real is inside the workspace.
	Exists *bool  `json:"exists,omitempty"`
	Kind   string `json:"kind,omitempty"`
	// InWorkspace: Real is the workspace or below it. False also for a path that leads outside, where Real is not
	// known because nothing there can be looked up.
	InWorkspace *bool `json:"in_workspace,omitempty"`
}

// Command is one command of the script.
type Command struct {
	// Index is the position in Shell.Commands.
	Index int `json:"index"`
	// Kind is "simple", "declare" (export, local, …), "assign" (assignments only) or "redirect" (redirects of
	// a compound command, or of nothing). Only the first two have a name.
	Kind string `json:"kind"`
	// Name is the command word after quote removal, absent when it is not static. Base and Dir are its two parts;
	// Dir is "" for a name that is looked up.
	Name string `json:"name,omitempty"`
	Base string `json:"base,omitempty"`
	Dir  string `json:"dir,omitempty"`
	// NameStatic: Name is exactly what will be looked up.
	NameStatic bool `json:"name_static"`
	// Static: the whole argv is exactly known: no glob, tilde or expansion anywhere in it.
	Static bool `json:"static"`
	// Args are the words after the name; brace expansion is done.
	Args []*Arg `json:"args"`
	// Env are the assignments before the name, or of a declaration.
	Env []*Assign `json:"env"`
	// Redirects are those of this command; Context names the constructs around it, outermost first.
	Redirects []*Redirect `json:"redirects"`
	Context   []string    `json:"context"`
	// Via lists the commands that run this one (sudo, xargs, sh, eval, …), outermost first.
	Via []string `json:"via"`
	// Depth counts the nested scripts around it: 0 is the script itself.
	Depth int `json:"depth"`
	// Opaque: this command runs code that is not known as a whole, because of OpaqueReason.
	// What could be seen of that code is still listed as commands.
	Opaque       bool   `json:"opaque"`
	OpaqueReason string `json:"opaque_reason,omitempty"`
	// Function: the name is one that the script defines as a function somewhere, so this is a call of that, now or at
	// another time. The commands of its body are listed where it is defined.
	Function bool `json:"function,omitempty"`
	// Network: the command reaches for the network. Absent when it is not known to.
	Network bool `json:"network,omitempty"`
	// Files are what it does to the files that its words name. See [Use].
	Files []Use `json:"files,omitempty"`
	// Git is present for git when its subcommand can be found.
	Git *Git `json:"git,omitempty"`
	// Kubectl is present for kubectl and oc.
	Kubectl *Kubectl `json:"kubectl,omitempty"`
	// Python is present for a Python whose program is known: -c, a here-document, echo ... | python.
	Python *Python `json:"python,omitempty"`

	other bool // its paths are not those of the cell
	late  bool // runs at another time than its place in the text tells (loop, function, trap)
	bases []string
}

// Arg is one word of a command after quote removal.
type Arg struct {
	// Value is the word; absent when Dynamic or Tilde. For a Glob it is the pattern.
	Value *string `json:"value,omitempty"`
	// Literal: Value is exactly what the command receives.
	Literal bool `json:"literal"`
	// Quoted: some part of the word was quoted or escaped.
	Quoted bool `json:"quoted"`
	// Glob: pathname expansion applies. Tilde: tilde expansion applies. Brace: made by brace expansion.
	Glob  bool `json:"glob"`
	Tilde bool `json:"tilde"`
	Brace bool `json:"brace"`
	// NoMatch, for a Glob: nothing matched it when the script was analysed, so that it stays as it is written. Another
	// command of the script may change that.
	NoMatch bool `json:"no_match,omitempty"`
	// Dynamic: holds an expansion or substitution. Splits: it can become several words, or none.
	Dynamic bool `json:"dynamic"`
	Splits  bool `json:"splits"`
	// Prefix is the static text before the first dynamic part, if any.
	Prefix string `json:"prefix,omitempty"`
	// May are texts that the word may become, if it is Dynamic or a Tilde and something is known. See [Possible].
	May []Possible `json:"may,omitempty"`
	// PathFacts are those of the word read as a path. For a Glob, InWorkspace says that every match is inside,
	// and that no match looks like an option.
	PathFacts
	// Eq is present for NAME=VALUE: the two halves, with the path facts of VALUE.
	Eq *Eq `json:"eq,omitempty"`

	feeds  *input // what a process substitution writes, if the word is one and that is known
	approx string // static text, dynamic parts replaced by placeholder
	raw    []frag
}

// Eq is a word of the form NAME=VALUE (--file=x, if=x).
type Eq struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	PathFacts
}

// Assign is an assignment.
type Assign struct {
	Name string `json:"name"`
	// Value is absent when it is not static; an array has none either.
	Value  *string `json:"value,omitempty"`
	Static bool    `json:"static"`
}

// Redirect is one redirection.
type Redirect struct {
	// Op is the operator as written; Fd the descriptor or {name} before it.
	Op string `json:"op"`
	Fd string `json:"fd,omitempty"`
	// Class is read, write, append, read_write, heredoc, herestring or dup.
	Class string `json:"class"`
	// Target is the word, absent when it is not static; for heredoc and herestring it is the body.
	Target *string `json:"target,omitempty"`
	// Static: Target is exactly what is used.
	Static bool `json:"static"`
	// Network: the target is one of bash's pseudo-devices below /dev/tcp and /dev/udp.
	Network bool `json:"network"`
	// May are texts that the target may become, if it is not static and something is known. See [Possible].
	May []Possible `json:"may,omitempty"`
	PathFacts

	raw []frag
}

// Git is where git's own options end and its subcommand begins.
type Git struct {
	// Sub is the subcommand; absent when there is none or it is not literal.
	Sub string `json:"sub,omitempty"`
	// At is the index of the subcommand in Args, or the number of Args without one.
	At int `json:"at"`
	// Options are the global options before it, each with the value that it takes.
	Options []GitOption `json:"options"`
	// Own: the subcommand is one that git brings. Otherwise it is an alias, or a program git-NAME.
	Own bool `json:"own"`
	// Settings are the values of its configuration that the command sets. Absent when there are none.
	Settings []GitSetting `json:"settings,omitempty"`
	// Remotes are the names and URLs of other repositories that it names: of clone, fetch, pull, push, ls-remote,
	// remote add and set-url, submodule add. Absent when there are none.
	Remotes []string `json:"remotes,omitempty"`
	// Paths are the words after a lone --, as written. Absent when there are none.
	Paths []string `json:"paths,omitempty"`
	// Push is present for push.
	Push *GitPush `json:"push,omitempty"`
}

// GitOption is a global option of git.
type GitOption struct {
	Name  string  `json:"name"`
	Value *string `json:"value,omitempty"`
	PathFacts
}

// File is one entry of input.call.files: a path that a tool names in its arguments.
type File struct {
	// Op is what the tool does to it: read, write, edit, list, …; as given.
	Op string `json:"op"`
	// Path is the path as the caller wrote it; Abs the lexical absolute one; the rest as in [PathFacts].
	Path        string `json:"path"`
	Abs         string `json:"abs,omitempty"`
	Real        string `json:"real,omitempty"`
	Exists      *bool  `json:"exists,omitempty"`
	Kind        string `json:"kind,omitempty"`
	InWorkspace *bool  `json:"in_workspace,omitempty"`
}
