package pacetest

import (
	"os"
	"testing"
)

// LaunchOnPipe is [Launch] with stderr on a pipe, whose other end it returns: nobody else reads it.
func LaunchOnPipe(t testing.TB, env []string, args ...string) (*Pace, *os.File) {
	t.Helper()
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() // pace has its own handle by then
	t.Cleanup(func() { out.Close() })
	p := prepare(t, env, args...)
	p.cmd.Stderr = in
	p.launch()
	return p, out
}
