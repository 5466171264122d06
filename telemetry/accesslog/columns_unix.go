//go:build unix

package accesslog

import (
	"os"

	"golang.org/x/sys/unix"
)

// terminalColumns returns the width of the terminal that f is, 0 if it has none.
func terminalColumns(f *os.File) (columns int) {
	conn, err := f.SyscallConn() // f.Fd would make the file blocking
	if err != nil {
		return 0
	}
	conn.Control(func(fd uintptr) {
		if size, err := unix.IoctlGetWinsize(int(fd), unix.TIOCGWINSZ); err == nil {
			columns = int(size.Col)
		}
	})
	return columns
}
