package contract

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"pace/e2e/pacetest"
)

// TestCommand runs the sessions of testdata/command. Each begins in a folder of its own with the files
// that stand below it, finds pace in its path, and has two addresses that are free, $PROXY and $ADMIN,
// and one of a backend, $BACKEND.
func TestCommand(t *testing.T) {
	t.Parallel()
	bin := t.TempDir()
	if err := os.Symlink(pacetest.Binary(t), filepath.Join(bin, "pace")); err != nil {
		t.Fatal(err)
	}
	backend := pacetest.NewBackend(t, pacetest.Fine)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/command",
		Setup: func(env *testscript.Env) error {
			env.Setenv("BIN", bin)
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("PROXY", pacetest.NewClosed(t).Address())
			env.Setenv("ADMIN", pacetest.NewClosed(t).Address())
			env.Setenv("BACKEND", backend.Address())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "says": says, "expand": expand, "serves": serves, "explains": explains, "unread": unread,
		},
		RequireUniqueNames: true,
	})
}

// exits CODE COMMAND [ARG...]: the command ends with this code.
func exits(s *testscript.TestScript, _ bool, args []string) {
	err := s.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		s.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		s.Fatalf("%q exits with %d, want %s", args[1:], code, args[0])
	}
}

// says LINE: the last command wrote this line to stderr, and nothing else; … stands for any text.
func says(s *testscript.TestScript, _ bool, args []string) {
	line := regexp.MustCompile(`\A` + strings.ReplaceAll(regexp.QuoteMeta(args[0]), "…", ".*") + `\n\z`)
	if got := s.ReadFile("stderr"); !line.MatchString(got) {
		s.Fatalf("stderr is %q, want %q", got, args[0]+"\n")
	}
	if got := s.ReadFile("stdout"); got != "" {
		s.Fatalf("stdout is %q, want nothing", got)
	}
}

// expand FILE: each $NAME in the file becomes its value.
func expand(s *testscript.TestScript, _ bool, args []string) {
	s.Check(os.WriteFile(s.MkAbs(args[0]), []byte(os.Expand(s.ReadFile(args[0]), s.Getenv)), 0o600))
}

// serves URL: something responds there, soon.
func serves(s *testscript.TestScript, _ bool, args []string) {
	s.Check(pacetest.Soon(func() error {
		resp, err := http.Get(args[0])
		if err == nil {
			resp.Body.Close()
		}
		return err
	}))
}

// explains FILE KEYS: FILE has each KEY = VALUE of KEYS in the same table, perhaps commented out, and
// says what it means: in the line above, or behind it.
func explains(s *testscript.TestScript, _ bool, args []string) {
	printed, table := s.ReadFile(args[0]), ""
	for line := range strings.Lines(s.ReadFile(args[1])) {
		line = strings.TrimSpace(line)
		if name, is := strings.CutPrefix(line, "["); is {
			table = strings.TrimSuffix(name, "]")
			continue
		}
		section := tomlSection(printed, table)
		key, value, _ := strings.Cut(line, " = ")
		at := regexp.MustCompile(`(?m)^(#\s*)?` + key + ` *= *` + regexp.QuoteMeta(value) + `( *#.*)?$`).FindStringIndex(section)
		if at == nil {
			s.Fatalf("[%s] does not print %s", table, line)
		}
		before := strings.TrimSuffix(section[:at[0]], "\n")
		before = before[strings.LastIndexByte(before, '\n')+1:]
		if !strings.HasPrefix(before, "#") && !strings.Contains(strings.TrimPrefix(section[at[0]:at[1]], "#"), "#") {
			s.Fatalf("[%s] prints no meaning of %s", table, key)
		}
	}
}

// tomlSection returns the lines of a table, also if it is commented out.
func tomlSection(text, table string) string {
	heads := regexp.MustCompile(`(?m)^(# *)?\[([a-z_]+)\]`).FindAllStringSubmatchIndex(text, -1)
	for i, head := range heads {
		if text[head[4]:head[5]] != table {
			continue
		}
		if i+1 < len(heads) {
			return text[head[1]:heads[i+1][0]]
		}
		return text[head[1]:]
	}
	return ""
}

// unread COMMAND [ARG...]: the command, whose stdout nobody reads, ends by SIGPIPE and writes nothing to
// stderr.
func unread(s *testscript.TestScript, _ bool, args []string) {
	out, in, err := os.Pipe()
	s.Check(err)
	out.Close()
	defer in.Close()
	cmd := exec.Command(filepath.Join(s.Getenv("BIN"), args[0]), args[1:]...)
	var stderr bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.MkAbs("."), in, &stderr
	cmd.Run()
	if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGPIPE || stderr.Len() > 0 {
		s.Fatalf("%q ends with %v and says %q; want SIGPIPE and nothing", args, cmd.ProcessState, stderr.String())
	}
}
