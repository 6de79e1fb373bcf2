// Package proposal turns a proposed call into what a policy sees of it: the
// call with its facts, and the declaration of its tool. The gate and the policy
// tools of the CLI both build their input here, so that a policy is tested on
// the very document that it will decide. It must never run anything, never
// judge, and never put a guess where a fact is not known.
package proposal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/sandgate/sandgate/internal/catalog"
	"github.com/sandgate/sandgate/internal/facts"
	"github.com/sandgate/sandgate/internal/policy"
)

// DefaultCwd is where a call runs that names no working directory.
const DefaultCwd = "/workspace"

// Call is one proposed call, as its host sent it.
type Call struct {
	ID         string
	Args       json.RawMessage   // a JSON object that the tool's Validate has accepted
	Cwd        string            // absolute in the cell; empty: DefaultCwd
	Env        map[string]string // may be nil
	StdinBytes *int64            // nil: streamed
	// StdinDigest is "sha256:…" of the standard input. Empty: none, or streamed.
	StdinDigest string
	Detached    bool   // it runs in the background
	Terminal    bool   // its program gets one
	Digest      string // what the gate calls it; empty where nothing is run
}

// Build derives the policy input of a call. root is the workspace for lookups;
// with nil nothing is known about its files. An error means that the call is
// not one that Validate accepts: errdefs.ErrInvalidArgument.
func Build(tool catalog.Tool, call Call, root facts.FS) (policy.CallInput, policy.ToolInput, error) {
	in := policy.CallInput{
		ID: call.ID, Tool: tool.Name, Args: call.Args, Cwd: call.Cwd, Env: call.Env,
		StdinBytes: call.StdinBytes, StdinDigest: call.StdinDigest, Detached: call.Detached,
		Terminal: call.Terminal, Digest: call.Digest,
	}
	if in.Cwd == "" {
		in.Cwd = DefaultCwd
	}
	if !path.IsAbs(in.Cwd) || strings.ContainsRune(in.Cwd, 0) {
		return in, policy.ToolInput{}, fmt.Errorf("working directory %q: want an absolute path: %w", call.Cwd, errdefs.ErrInvalidArgument)
	}
	args, err := decodeArgs(call.Args)
	if err != nil {
		return in, policy.ToolInput{}, err
	}
	opts := facts.Options{Cwd: in.Cwd, Root: root}
	if in.Shell, err = shellFacts(tool, args, opts); err != nil {
		return in, policy.ToolInput{}, err
	}
	if err := programFacts(&in, tool, args, opts); err != nil {
		return in, policy.ToolInput{}, err
	}
	if in.Files, err = fileFacts(tool, args, opts); err != nil {
		return in, policy.ToolInput{}, err
	}
	return in, Tool(tool), nil
}

// Tool is what a policy sees of a declaration.
func Tool(t catalog.Tool) policy.ToolInput {
	return policy.ToolInput{
		Name: t.Name, Source: t.Source, Effects: slices.Clone(t.Effects), Risk: t.Risk, Annotations: t.Annotations.Map(),
	}
}

func decodeArgs(raw json.RawMessage) (map[string]any, error) {
	args := map[string]any{}
	if len(raw) == 0 {
		return args, nil
	}
	if err := json.Unmarshal(raw, &args); err == nil && args != nil {
		return args, nil // what facts are made of is text: how numbers are spelt does not matter
	}
	dec := json.NewDecoder(bytes.NewReader(raw)) // for a number that is no double
	dec.UseNumber()
	args = map[string]any{}
	if err := dec.Decode(&args); err != nil || args == nil || !json.Valid(raw) {
		return nil, fmt.Errorf("arguments: want a JSON object: %w", errdefs.ErrInvalidArgument)
	}
	return args, nil
}

func shellFacts(tool catalog.Tool, args map[string]any, opts facts.Options) (*facts.Shell, error) {
	if tool.Facts.ShellArg == "" {
		return nil, nil
	}
	value, given := args[tool.Facts.ShellArg]
	if !given {
		return nil, nil
	}
	script, ok := value.(string)
	if !ok {
		return nil, wrongType(tool, tool.Facts.ShellArg)
	}
	return facts.AnalyzeShell(script, opts), nil
}

// programFacts are those of a Python program, and of a tool that runs kubectl or git.
func programFacts(in *policy.CallInput, tool catalog.Tool, args map[string]any, opts facts.Options) error {
	if name := tool.Facts.PythonArg; name != "" {
		if value, given := args[name]; given {
			program, ok := value.(string)
			if !ok {
				return wrongType(tool, name)
			}
			in.Python = facts.AnalyzePython(program, opts)
		}
	}
	if base := path.Base(tool.Program()); base != "kubectl" && base != "oc" && base != "git" {
		return nil
	}
	command, err := tool.Command(in.Args)
	if err != nil {
		return err
	}
	in.Git, in.Kubectl = facts.AnalyzeArgv(command.Argv, opts)
	return nil
}

func fileFacts(tool catalog.Tool, args map[string]any, opts facts.Options) ([]facts.File, error) {
	var files []facts.File
	for _, declared := range tool.Facts.Paths {
		names, err := pathNames(tool, declared, args)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			files = append(files, facts.AnalyzePath(string(declared.Op), name, opts))
		}
	}
	return files, nil
}

func pathNames(tool catalog.Tool, declared catalog.PathArg, args map[string]any) ([]string, error) {
	value, given := args[declared.Arg]
	if !given {
		if declared.Default == "" {
			return nil, nil
		}
		return []string{declared.Default}, nil
	}
	if name, ok := value.(string); ok {
		return []string{name}, nil
	}
	list, ok := value.([]any)
	if !ok {
		return nil, wrongType(tool, declared.Arg)
	}
	names := make([]string, 0, len(list))
	for _, item := range list {
		name, ok := item.(string)
		if !ok {
			return nil, wrongType(tool, declared.Arg)
		}
		names = append(names, name)
	}
	return names, nil
}

func wrongType(tool catalog.Tool, arg string) error {
	return &catalog.ArgumentError{Tool: tool.Name, Field: arg, Problem: "has the wrong type", Want: "a string"}
}
