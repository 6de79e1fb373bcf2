package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// maxArgsBytes bounds what is read as arguments; the daemon's bound is lower.
const maxArgsBytes = 8 << 20

// callArguments makes the JSON object of a call's arguments: source is the text,
// "@file", "-" for stdin or empty; extra are NAME=TEXT and NAME:=JSON.
func callArguments(stdin io.Reader, source string, extra []string) (string, error) {
	text := source
	switch {
	case source == "-":
		raw, err := readBounded(stdin)
		if err != nil {
			return "", fmt.Errorf("arguments on stdin: %w", err)
		}
		text = raw
	case strings.HasPrefix(source, "@"):
		f, err := os.Open(source[1:])
		if err != nil {
			return "", fmt.Errorf("arguments: %w", err)
		}
		defer f.Close() //nolint:errcheck // only read
		if text, err = readBounded(f); err != nil {
			return "", fmt.Errorf("arguments: %w", err)
		}
	}
	if !utf8.ValidString(text) {
		return "", errors.New("arguments are not valid UTF-8: JSON cannot carry such bytes; write them in the script as $'\\xff', or put them into a file")
	}
	if len(extra) == 0 {
		return text, checkObject(text)
	}
	object := map[string]json.RawMessage{}
	if strings.TrimSpace(text) != "" {
		if err := checkObject(text); err != nil {
			return "", err
		}
		if err := json.Unmarshal([]byte(text), &object); err != nil {
			return "", fmt.Errorf("arguments: %w", err)
		}
	}
	for _, item := range extra {
		if err := addArgument(object, item); err != nil {
			return "", err
		}
	}
	raw, err := json.Marshal(object)
	return string(raw), err
}

func addArgument(object map[string]json.RawMessage, item string) error {
	name, value, ok := strings.Cut(item, "=")
	name, isJSON := strings.CutSuffix(name, ":")
	if !ok || name == "" {
		return fmt.Errorf("--arg %q: want NAME=TEXT or NAME:=JSON", item)
	}
	if !utf8.ValidString(item) {
		return fmt.Errorf("--arg %s: the value is not valid UTF-8: write such bytes in the script as $'\\xff', or put them into a file", name)
	}
	if _, twice := object[name]; twice {
		return fmt.Errorf("--arg %q: the argument is given twice", name)
	}
	raw := json.RawMessage(value)
	if !isJSON {
		var err error
		if raw, err = marshalText(value); err != nil {
			return err
		}
	}
	if !json.Valid(raw) {
		return fmt.Errorf("--arg %q: %q is no JSON; NAME=TEXT gives text", name, value)
	}
	object[name] = raw
	return nil
}

func marshalText(s string) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// checkObject catches what the daemon would refuse anyway, with a hint for a
// person at a shell.
func checkObject(text string) error {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return nil
	}
	var v any
	if err := json.Unmarshal([]byte(trimmed), &v); err != nil {
		return fmt.Errorf("arguments are no JSON (%w)\nwant one object in quotes, '{\"command\": \"ls\"}', or --arg command=ls", err)
	}
	if _, ok := v.(map[string]any); !ok {
		return errors.New("arguments are no JSON object: want '{\"command\": \"ls\"}', or --arg command=ls")
	}
	return nil
}

func readBounded(r io.Reader) (string, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxArgsBytes+1))
	if err != nil {
		return "", err
	}
	if len(raw) > maxArgsBytes {
		return "", fmt.Errorf("more than %d bytes", maxArgsBytes)
	}
	return string(raw), nil
}
