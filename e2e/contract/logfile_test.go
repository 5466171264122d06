package contract

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// TestLogFile_StandardStreamsThatAreSockets: such a path cannot be opened; pace has the stream already.
func TestLogFile_StandardStreamsThatAreSockets(t *testing.T) {
	t.Parallel()
	link := filepath.Join(t.TempDir(), "pace.log") // as container images have it
	if err := os.Symlink("/dev/stderr", link); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		file string
		out  bool // standard output
	}{
		{"/dev/stderr", false},
		{"/dev/stdout", true},
		{"/dev/fd/2", false},
		{"/proc/self/fd/1", true},
		{link, false},
		{"", false},
	} {
		t.Run(tt.file, func(t *testing.T) {
			t.Parallel()
			cfg := onFreePorts(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
			cfg["log"] = pacetest.Table{"format": "json", "file": tt.file}
			p, stdout, stderr := pacetest.LaunchOnSockets(t, nil, "run", write(t, "proxy.toml", cfg.TOML()))
			log := stderr
			if tt.out {
				log = stdout
			}
			wantLine(t, log, `"msg":"listening"`)
			p.Proxy = cfg["server"]["listen"].(string)
			awaitServing(t, p)
			p.Signal(syscall.SIGUSR1) // nothing to reopen, and nothing breaks
			wantStatus(t, p.Get("/after"), 200)
			wantLine(t, log, `"path":"/after"`)
			if code := p.Stop(); code != 0 {
				t.Errorf("exit %d", code)
			}
		})
	}
}

// wantLine reads lines until one has the text.
func wantLine(t *testing.T, f *os.File, text string) {
	t.Helper()
	f.SetReadDeadline(time.Now().Add(pacetest.Patience))
	for {
		line, err := readLine(f)
		if strings.Contains(line, text) {
			return
		}
		if err != nil {
			t.Fatalf("no line with %s: %v", text, err)
		}
	}
}

// readLine reads no byte beyond the line's end, so that the next reader begins there.
func readLine(f *os.File) (string, error) {
	var line []byte
	for one := make([]byte, 1); ; {
		n, err := f.Read(one)
		line = append(line, one[:n]...)
		if err != nil || n > 0 && one[0] == '\n' {
			return string(line), err
		}
	}
}

// TestLogFile_FIFO: without a reader pace starts, serves and ends; a reader that comes late gets what
// waited, one that leaves may come again, and what nobody reads costs lines, not requests.
func TestLogFile_FIFO(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := onFreePorts(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	cfg["log"] = pacetest.Table{"format": "json", "file": fifo}
	p := pacetest.Launch(t, nil, "run", write(t, "proxy.toml", cfg.TOML()))
	p.Proxy, p.Admin = cfg["server"]["listen"].(string), cfg["admin"]["listen"].(string)
	awaitServing(t, p)
	for _, target := range []string{"/first", "/second"} { // each for a reader of its own
		wantStatus(t, p.Get(target), 200)
		reader, err := os.Open(fifo)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(reader)
		for found := false; !found; found = strings.Contains(lines.Text(), target) {
			if !lines.Scan() {
				t.Fatalf("the reader has no line of %s: %v", target, lines.Err())
			}
		}
		reader.Close()
	}
	p.Signal(syscall.SIGUSR1)
	wantStatus(t, p.Get("/reopened"), 200)
	if code := p.Stop(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// TestLogFile_ThatCannotBeOpened ends the start with 1, the path and a remedy.
func TestLogFile_ThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, file := range map[string]string{
		"a directory":               dir,
		"in a folder that is gone":  filepath.Join(dir, "none", "log"),
		"below a file":              "/dev/null/log",
		"a socket":                  socket,
		"a descriptor that is none": "/dev/fd/99",
	} {
		cfg := onFreePorts(t, upstreams(pacetest.NewClosed(t)))
		cfg["log"] = pacetest.Table{"file": file}
		got := pacetest.Exec(t, t.TempDir(), nil, "run", write(t, "proxy.toml", cfg.TOML()))
		if got.Code != 1 || !strings.HasPrefix(got.Stderr, "log.file: ") || !strings.Contains(got.Stderr, file) || !strings.Contains(got.Stderr, "; ") {
			t.Errorf("%s: exit %d, stderr %q; want 1, log.file, the path and a remedy", name, got.Code, got.Stderr)
		}
	}
}
