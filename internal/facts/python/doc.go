// Package python reads a Python 3 program without running it, and tells what it imports, calls, opens and runs.
//
// It is called by package facts. It must never run anything, never look at a file, and never guess: what is not
// Python 3 that could be read gives Parsed false and nothing else.
//
// The parser is our own, because none of the others can be had here. go-python/gpython knows the grammar of
// Python 3.4; tree-sitter's Go bindings need cgo; its pure-Go ports (odvcencio/gotreesitter, malivvan/tree-sitter) are
// refused by the module proxy that we build behind; a tree-sitter that is compiled to WebAssembly for wazero is a binary
// to be kept in the repository, and takes Python 2 for good; Python's own ast in a cell needs a run before the
// decision about whether anything may run. What sandgate needs is little: which names are imported and called, and with
// which literals. So the parser reads a superset of the grammar of Python 3.14 without the precedence of operators: what it takes
// beyond that, Python refuses to run. It is held against CPython's own ast on the standard library by
// TestAgreesWithCPython: the same imports and calls in 1,678 of the 1,690 files of 3.11, and told as unreadable in the
// others, which declare another encoding or are no Python. It keeps no state and starts at once.
package python
