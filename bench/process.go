package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a started program and its children, in one process group.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // file that holds its output
	gone chan struct{} // closed when the leader has ended
}

// start runs argv in dir and writes its output there. The environment is nearly empty, so that the
// caller's variables (OTEL_*, GODEBUG, a proxy) cannot change what is measured.
func start(dir, name string, argv ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, name+".out"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{name: name, cmd: cmd, log: log.Name(), gone: make(chan struct{})}
	go func() { cmd.Wait(); close(p.gone) }()
	return p, nil
}

// stop asks the leader to end, so that it flushes its telemetry. When it has ended, or after 10 s, stop
// kills the rest of the group.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(10 * time.Second):
	}
	syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.gone
}

// fault returns err together with the last output of the process.
func (p *process) fault(err error) error {
	out, _ := os.ReadFile(p.log)
	return fmt.Errorf("%s: %w\nits last output: %s", p.name, err, strings.TrimSpace(string(out[max(0, len(out)-600):])))
}

// usage is the CPU and the memory that a process group has used so far.
type usage struct {
	cpu  time.Duration // user and system, all threads
	rss  int64         // bytes resident now, summed over its processes
	peak int64         // largest resident size of each process, summed
}

// userHZ is the unit of CPU time in /proc: 100 a second on every Linux that Go runs on.
const userHZ = 100

func (p *process) usage() (usage, error) {
	var u usage
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return u, err
	}
	for _, path := range stats {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended since the Glob
		}
		group, ticks, err := parseStat(line)
		if err != nil {
			return u, fmt.Errorf("%s: %w", path, err)
		}
		if group != p.cmd.Process.Pid {
			continue
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(path), "status"))
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * time.Second / userHZ
		u.rss += statusBytes(status, "VmRSS:")
		u.peak += statusBytes(status, "VmHWM:")
	}
	if u.rss == 0 {
		return u, p.fault(errors.New("has ended"))
	}
	return u, nil
}

// parseStat takes the process group and utime+stime out of /proc/PID/stat (proc(5)). The second
// field is a name that may hold spaces and brackets, so fields count from its last bracket.
func parseStat(line []byte) (group int, ticks int64, err error) {
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) < 13 {
		return 0, 0, errors.New("too few fields")
	}
	group, e1 := strconv.Atoi(string(fields[2]))
	user, e2 := strconv.ParseInt(string(fields[11]), 10, 64)
	system, e3 := strconv.ParseInt(string(fields[12]), 10, 64)
	return group, user + system, errors.Join(e1, e2, e3)
}

// statusBytes reads a "Name:  123 kB" line; 0 if there is none, as for a zombie.
func statusBytes(status []byte, name string) int64 {
	_, after, _ := bytes.Cut(status, []byte(name))
	value, _, _ := bytes.Cut(after, []byte(" kB"))
	n, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// freeAddr returns a loopback address that nobody listens on at this moment.
func freeAddr() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}
