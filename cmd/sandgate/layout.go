package main

import (
	"archive/tar"
	"io"
	"io/fs"
	"os"
)

// tarDirectory returns a tar stream of a directory's regular files and
// directories, made as it is read. Closing it ends the making.
func tarDirectory(dir string) io.ReadCloser {
	r, w := io.Pipe()
	go func() {
		_ = w.CloseWithError(writeTar(w, os.DirFS(dir))) // never fails
	}()
	return r
}

func writeTar(w io.Writer, from fs.FS) error {
	out := tar.NewWriter(w)
	err := fs.WalkDir(from, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." || !d.Type().IsRegular() && !d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		header, err := tar.FileInfoHeader(info, "")
		if err != nil {
			return err
		}
		header.Name = path
		if err := out.WriteHeader(header); err != nil || d.IsDir() {
			return err
		}
		f, err := from.Open(path)
		if err != nil {
			return err
		}
		defer f.Close() //nolint:errcheck // only read
		_, err = io.Copy(out, f)
		return err
	})
	if err != nil {
		return err
	}
	return out.Close()
}
