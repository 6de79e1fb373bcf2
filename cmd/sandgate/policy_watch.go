package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"
)

// watchSettle is how long files must be left alone before the tests run again:
// editors write in several steps.
const watchSettle = 200 * time.Millisecond

// watchPolicyTests runs the tests, and again after every change of a file, until
// the command is interrupted.
func watchPolicyTests(cmd *cobra.Command, flags suiteFlags, args []string) (err error) {
	paths := args
	if flags.dir != "" {
		paths = append([]string{flags.dir}, args...)
	}
	if len(paths) == 0 {
		return errors.New("--watch: name the directory or the files that are watched")
	}
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watcher.Close()) }()
	for _, path := range paths {
		if err := watchTree(watcher, path); err != nil {
			return err
		}
	}
	settle := time.NewTimer(0)
	defer settle.Stop()
	for {
		select {
		case <-cmd.Context().Done():
			return nil
		case err := <-watcher.Errors:
			return err
		case event := <-watcher.Events:
			if event.Has(fsnotify.Chmod) {
				continue
			}
			if event.Has(fsnotify.Create) {
				// A new directory; what is no directory, or gone again, needs no watch.
				_ = watchTree(watcher, event.Name)
			}
			settle.Reset(watchSettle)
		case <-settle.C:
			if err := runPolicyTests(cmd, flags, args); err != nil {
				cmd.PrintErrln(err)
			}
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "-- %s, watching\n", time.Now().Format(time.TimeOnly)); err != nil {
				return err
			}
		}
	}
}

// watchTree watches the directories below a path, or the directory of a file.
func watchTree(watcher *fsnotify.Watcher, path string) error {
	return filepath.WalkDir(path, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return watcher.Add(name)
		case name == path:
			return watcher.Add(filepath.Dir(name))
		}
		return nil
	})
}
