//go:build !unix

package accesslog

import "os"

// terminalColumns returns 0: the width is not known.
func terminalColumns(*os.File) int { return 0 }
