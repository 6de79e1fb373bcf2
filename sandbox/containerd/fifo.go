package containerd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/cio"
)

// pipes are the fifos of a cell's init: that of its stderr, and those of its stdin
// and stdout where the protocol goes over them. It gives the protocol the files
// themselves, without a goroutine that copies between.
type pipes struct {
	dir    string
	config cio.Config

	stdin  *os.File // init's stdin, open for writing
	stdout *os.File // init's stdout, open for reading
	stderr *os.File
	held   []*os.File     // until settle
	wait   sync.WaitGroup // for the reader of stderr
	once   sync.Once

	mu   sync.Mutex
	said string // last line of stderr
}

var _ cio.IO = (*pipes)(nil)

// openPipes makes the fifos in a new directory and opens this process's ends.
// Until settle is called it also holds the other ends: without any writer a read
// would be at its end at once, without any reader a write would fail.
func openPipes(dir string, all bool) (*pipes, error) {
	// The shim wants a stdout if there is a stderr.
	p := &pipes{dir: dir, config: cio.Config{Stdout: os.DevNull, Stderr: filepath.Join(dir, "stderr")}}
	paths := []string{p.config.Stderr}
	if all {
		p.config.Stdin, p.config.Stdout = filepath.Join(dir, "stdin"), filepath.Join(dir, "stdout")
		paths = append(paths, p.config.Stdin, p.config.Stdout)
	}
	err := os.MkdirAll(dir, 0o700)
	for _, path := range paths {
		if err == nil {
			err = syscall.Mkfifo(path, 0o600)
		}
		if err == nil {
			var f *os.File
			f, err = openFifo(path, os.O_RDWR)
			p.held = append(p.held, f)
		}
	}
	if err == nil && all {
		p.stdin, err = openFifo(p.config.Stdin, os.O_WRONLY)
	}
	if err == nil && all {
		p.stdout, err = openFifo(p.config.Stdout, os.O_RDONLY)
	}
	if err == nil {
		p.stderr, err = openFifo(p.config.Stderr, os.O_RDONLY)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make fifos: %w", err), p.Close())
	}
	return p, nil
}

// openFifo does not wait for the other end; Go's poller then waits on the file,
// so that closing it ends a read under way.
func openFifo(path string, flag int) (*os.File, error) {
	return os.OpenFile(path, flag|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0) //nolint:gosec // a path of the operator's choice
}

// settle lets go of the other ends. To be called once the shim has its own open:
// after init has answered.
func (p *pipes) settle() {
	for _, f := range p.held {
		_ = f.Close() // nothing was written
	}
	p.held = nil
}

// logStderr hands each line of init's stderr to the logger, bounded in length.
func (p *pipes) logStderr(log *slog.Logger) {
	in := bufio.NewReaderSize(p.stderr, 4096)
	for {
		line, more, err := in.ReadLine()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrClosed) {
				log.Debug("cell stderr", "error", err)
			}
			return
		}
		if len(line) == 0 {
			continue
		}
		p.mu.Lock()
		p.said = string(line)
		p.mu.Unlock()
		log.Info("cell says", "line", string(line), "cut", more)
	}
}

// lastWords is the last line that init wrote to stderr.
func (p *pipes) lastWords() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said
}

// Config implements cio.IO.
func (p *pipes) Config() cio.Config { return p.config }

// Cancel implements cio.IO.
func (p *pipes) Cancel() { p.closeFiles() }

// Wait implements cio.IO.
func (p *pipes) Wait() { p.wait.Wait() }

// Close implements cio.IO: it closes and removes the fifos. Repeated calls are harmless.
func (p *pipes) Close() error {
	p.closeFiles()
	p.wait.Wait()
	return os.RemoveAll(p.dir)
}

func (p *pipes) closeFiles() {
	p.once.Do(func() {
		p.settle()
		for _, f := range []*os.File{p.stdin, p.stdout, p.stderr} {
			if f != nil {
				_ = f.Close() // only this process's end
			}
		}
	})
}
