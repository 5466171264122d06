package pacetest

import (
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// LaunchOnTerminal is [Launch] with stderr on a terminal, which pace can tell from a pipe.
// What it writes there reads as [Pace.Stderr], with CR LF at the lines' ends.
func LaunchOnTerminal(t testing.TB, env []string, args ...string) *Pace {
	t.Helper()
	screen, terminal, err := openTerminal()
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close() // pace has its own handle by then
	p := prepare(t, env, args...)
	p.cmd.Stderr = terminal
	go io.Copy(&p.log, screen)
	t.Cleanup(func() { screen.Close() })
	p.launch()
	return p
}

// openTerminal returns the two ends of a pseudo-terminal (pty(7)).
func openTerminal() (screen, terminal *os.File, err error) {
	if screen, err = os.OpenFile("/dev/ptmx", os.O_RDWR, 0); err != nil {
		return nil, nil, err
	}
	fd := int(screen.Fd())
	if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		return nil, nil, fmt.Errorf("unlock the terminal: %w", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		return nil, nil, fmt.Errorf("number of the terminal: %w", err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	return screen, terminal, err
}
