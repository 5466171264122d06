package pacetest

import (
	"os"
	"syscall"
	"testing"
)

// LaunchOnPipe is [Launch] with stderr on a pipe. It returns the other end of the pipe, which only the caller reads.
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

// LaunchOnSockets is [Launch] with stdout and stderr each on a socket, as service managers do it. It
// returns their other ends.
func LaunchOnSockets(t testing.TB, env []string, args ...string) (p *Pace, stdout, stderr *os.File) {
	t.Helper()
	p = prepare(t, env, args...)
	var theirs [2]*os.File
	for i := range theirs {
		pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(os.NewSyscallError("socketpair", err))
		}
		syscall.SetNonblock(pair[0], true) // for a deadline
		theirs[i] = os.NewFile(uintptr(pair[0]), "socket")
		ours := os.NewFile(uintptr(pair[1]), "socket")
		defer ours.Close() // pace has its own handle by then
		t.Cleanup(func() { theirs[i].Close() })
		if i == 0 {
			p.cmd.Stdout = ours
		} else {
			p.cmd.Stderr = ours
		}
	}
	p.launch()
	return p, theirs[0], theirs[1]
}
