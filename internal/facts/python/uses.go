package python

import "strings"

// openers are the functions that use a file, with the operation and the positions of the paths.
var openers = map[string]struct {
	op   string
	at   int
	name string
}{
	"os.remove": {"delete", 0, "path"}, "os.unlink": {"delete", 0, "path"}, "os.rmdir": {"delete", 0, "path"}, "os.removedirs": {"delete", 0, "name"},
	"shutil.rmtree": {"delete", 0, "path"}, "os.truncate": {"write", 0, "path"}, "os.mkdir": {"write", 0, "path"}, "os.makedirs": {"write", 0, "name"},
	"os.rename": {"delete", 0, "src"}, "os.renames": {"delete", 0, "old"}, "os.replace": {"delete", 0, "src"}, "shutil.move": {"delete", 0, "src"},
	"os.chmod": {"write", 0, "path"}, "os.chown": {"write", 0, "path"}, "os.utime": {"write", 0, "path"}, "os.symlink": {"write", 1, "dst"}, "os.link": {"write", 1, "dst"},
	"os.listdir": {"read", 0, "path"}, "os.scandir": {"read", 0, "path"}, "os.walk": {"read", 0, "top"}, "os.readlink": {"read", 0, "path"},
	"shutil.copy": {"read", 0, "src"}, "shutil.copy2": {"read", 0, "src"}, "shutil.copyfile": {"read", 0, "src"}, "shutil.copytree": {"read", 0, "src"},
	"glob.glob": {"read", 0, "pathname"}, "glob.iglob": {"read", 0, "pathname"}, "linecache.getlines": {"read", 0, "filename"}, "sqlite3.connect": {"read_write", 0, "database"},
	"fileinput.input": {"read", 0, "files"}, "tarfile.open": {"", 0, "name"}, "zipfile.ZipFile": {"", 0, "file"}, "os.open": {"", 0, "path"},
	"runpy.run_path": {"read", 0, "path_name"}, "numpy.load": {"read", 0, "file"}, "numpy.loadtxt": {"read", 0, "fname"},
	"pandas.read_csv": {"read", 0, "filepath_or_buffer"}, "pandas.read_json": {"read", 0, "path_or_buf"},
}

// targets are the functions with a second path that is written.
var targets = map[string]string{
	"os.rename": "dst", "os.renames": "new", "os.replace": "dst", "shutil.move": "dst",
	"shutil.copy": "dst", "shutil.copy2": "dst", "shutil.copyfile": "dst", "shutil.copytree": "dst",
}

// pathMethods are those of pathlib's paths that use the file.
var pathMethods = map[string]string{
	"read_text": "read", "read_bytes": "read", "write_text": "write", "write_bytes": "write", "touch": "write", "mkdir": "write",
	"unlink": "delete", "rmdir": "delete", "rename": "delete", "replace": "delete", "iterdir": "read", "glob": "read", "rglob": "read",
	"chmod": "write", "symlink_to": "write", "hardlink_to": "write", "open": "mode",
}

// dynamics are calls and names that make the other facts incomplete.
var dynamics = map[string]bool{
	"exec": true, "eval": true, "compile": true, "__import__": true, "getattr": true, "setattr": true, "delattr": true,
	"globals": true, "locals": true, "vars": true, "breakpoint": true,
}

// dynamicModules are modules that run code, or reach anything.
var dynamicModules = map[string]bool{
	"importlib": true, "ctypes": true, "_ctypes": true, "cffi": true, "pickle": true, "cPickle": true, "_pickle": true, "marshal": true, "shelve": true, "dill": true,
	"runpy": true, "code": true, "codeop": true, "imp": true, "builtins": true, "gc": true, "inspect": true, "zipimport": true, "pkgutil": true,
	"sys.modules": true, "sys.path": true, "sys.meta_path": true, "sys.path_hooks": true, "sys._getframe": true, "sys.settrace": true, "types.FunctionType": true,
	"types.CodeType": true, "pty": true, "pdb": true, "timeit": true, "cProfile": true, "profile": true, "trace": true, "doctest": true, "_posixsubprocess": true, "posix": true,
}

// plainDunders are names with double underscores that lead nowhere.
var plainDunders = map[string]bool{
	"__name__": true, "__main__": true, "__file__": true, "__doc__": true, "__init__": true, "__version__": true, "__all__": true,
	"__enter__": true, "__exit__": true, "__str__": true, "__repr__": true, "__len__": true, "__iter__": true, "__next__": true, "__eq__": true,
	"__hash__": true, "__post_init__": true, "__annotations__": true, "__future__": true, "__slots__": true, "__path__": true, "__package__": true, "__debug__": true, "__new__": true,
}

// mentioned notes what makes the facts incomplete.
func (s *summary) mentioned(name string) {
	bare := strings.TrimPrefix(name, "builtins.")
	if dynamics[bare] {
		s.dynamic[bare] = true
	}
	rest := name
	for at := 0; ; {
		i := strings.IndexByte(rest[at:], '.')
		end := len(rest)
		if i >= 0 {
			end = at + i
		}
		if dynamicModules[rest[:end]] && (s.imports[rest[:end]] || strings.Contains(rest[:end], ".") || s.imports[name]) {
			s.dynamic[rest[:end]] = true
		}
		if part := rest[at:end]; strings.HasPrefix(part, "__") && strings.HasSuffix(part, "__") && len(part) > 4 && !plainDunders[part] && !dynamics[part] {
			s.dynamic["dunder"] = true
		}
		if i < 0 {
			return
		}
		at = end + 1
	}
}

// call notes what one call does.
func (s *summary) call(name string, c *node) {
	s.mentioned(name)
	name = strings.TrimPrefix(name, "builtins.")
	switch name {
	case "open", "io.open", "codecs.open", "gzip.open", "bz2.open", "lzma.open", "io.FileIO", "_io.open":
		s.open(c, 0, "file", modeOp(c, 1))
		return
	case "__import__", "importlib.import_module", "importlib.__import__":
		if module, ok := literal(c, 0, "name"); ok {
			s.imports[module] = true
		}
		return
	}
	if o, ok := openers[name]; ok {
		s.open(c, o.at, o.name, o.op)
		if dst := targets[name]; dst != "" {
			s.open(c, 1, dst, "write")
		}
	}
	if method := name[strings.LastIndexByte(name, '.')+1:]; strings.HasPrefix(name, ".") && pathMethods[method] != "" {
		s.pathMethod(method, c)
	}
	s.run(name, c)
}

func (s *summary) open(c *node, at int, keyword, op string) {
	o := Open{Op: op}
	if path, ok := literal(c, at, keyword); ok {
		o.Path = &path
	} else if a := argument(c, at, keyword); a != nil && a.kind == isCall {
		o.Path = s.pathOf(a)
	}
	s.opens = append(s.opens, o)
}

// pathOf is the literal of pathlib.Path("x").
func (s *summary) pathOf(n *node) *string {
	if n.kind == isName {
		if b := s.binds[n.name]; len(b) == 1 && !s.locals[n.name] {
			n = b[0]
		}
	}
	if n.kind != isCall {
		return nil
	}
	for _, f := range s.meanings(n.x, maxChain) {
		if f == "pathlib.Path" || f == "pathlib.PosixPath" || f == "Path" {
			if len(n.args) == 1 {
				if path, ok := literal(n, 0, ""); ok {
					return &path
				}
			}
		}
	}
	return nil
}

func (s *summary) pathMethod(method string, c *node) {
	if c.x.kind != isAttr || !s.imports["pathlib"] {
		return
	}
	op := pathMethods[method]
	if op == "mode" {
		op = modeOp(c, 0)
	}
	s.opens = append(s.opens, Open{Op: op, Path: s.pathOf(c.x.x)})
}

// modeOp reads the mode of an open.
func modeOp(c *node, at int) string {
	mode := argument(c, at, "mode")
	if mode == nil {
		for _, a := range c.args {
			if a.star {
				return ""
			}
		}
		return "read"
	}
	switch {
	case mode.kind != isString || !mode.literal:
		return ""
	case strings.Contains(mode.name, "+"):
		return "read_write"
	case strings.ContainsAny(mode.name, "wax"):
		return "write"
	}
	return "read"
}

// run notes a program that is started.
func (s *summary) run(name string, c *node) {
	switch name {
	case "os.system", "os.popen", "posix.system", "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "commands.getoutput", "pexpect.run", "pexpect.spawn":
		s.script(argument(c, 0, "cmd"))
	case "subprocess.run", "subprocess.call", "subprocess.check_call", "subprocess.check_output", "subprocess.Popen":
		a := argument(c, 0, "args")
		if sh := argument(c, 8, "shell"); sh != nil && a != nil && a.kind == isString {
			s.script(a) // whatever shell= is: the first word is run either way
			return
		}
		s.argv(a)
	case "asyncio.create_subprocess_exec", "os.execl", "os.execle", "os.execlp", "os.execlpe", "os.spawnl", "os.spawnle", "os.spawnlp", "os.spawnlpe":
		args := c.args
		if strings.HasPrefix(name, "os.spawn") && len(args) > 0 {
			args = args[1:]
		}
		if strings.HasPrefix(name, "os.") && len(args) > 1 {
			args = append([]arg{args[0]}, args[2:]...) // argv[0] is only a name
		}
		s.argv(&node{kind: isList, args: args})
	case "os.execv", "os.execve", "os.execvp", "os.execvpe", "os.posix_spawn", "os.posix_spawnp", "os.spawnv", "os.spawnve", "os.spawnvp", "os.spawnvpe":
		at := 0
		if strings.HasPrefix(name, "os.spawn") {
			at = 1
		}
		file, list := argument(c, at, ""), argument(c, at+1, "")
		if file == nil || list == nil || list.kind != isList || len(list.args) == 0 {
			s.runs = append(s.runs, Run{Open: true})
			return
		}
		s.argv(&node{kind: isList, args: append([]arg{{value: file}}, list.args[1:]...)})
	case "pty.spawn":
		s.argv(argument(c, 0, "argv"))
	}
}

func (s *summary) script(a *node) {
	if a == nil || a.kind != isString || !a.literal {
		s.runs = append(s.runs, Run{Open: true})
		return
	}
	text := a.name
	s.runs = append(s.runs, Run{Script: &text})
}

func (s *summary) argv(a *node) {
	if a != nil && a.kind == isString && a.literal {
		word := a.name
		s.runs = append(s.runs, Run{Argv: []*string{&word}})
		return
	}
	if a == nil || a.kind != isList {
		s.runs = append(s.runs, Run{Open: true})
		return
	}
	r := Run{}
	for _, item := range a.args {
		switch {
		case item.name != "":
		case item.star:
			r.Open = true
		case item.value.kind == isString && item.value.literal:
			word := item.value.name
			r.Argv = append(r.Argv, &word)
		default:
			r.Argv = append(r.Argv, nil)
		}
	}
	s.runs = append(s.runs, r)
}
