package pacetest

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"testing"
)

// Exit is how a command of pace ended.
type Exit struct {
	Stdout, Stderr string
	Code           int
}

// Exec runs pace with these arguments in dir, to its end.
func Exec(t testing.TB, dir string, env []string, args ...string) Exit {
	t.Helper()
	binary := Binary(t) // the first one builds it, which may take longer than a command
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = dir, append(cleanEnv(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok || ok && !exit.Exited() {
		t.Fatalf("pace %q: %v\n%s", args, err, stderr.String())
	}
	return Exit{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}
