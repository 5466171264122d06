package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// load is what wrk, or a client of the bench's own, measured in one run.
type load struct {
	requests     float64
	seconds, cpu float64 // wall clock, and the client's CPU
	p50, p99     time.Duration
}

// wrkReport makes wrk print one line for the bench at its end, because wrk's own output is rounded to
// three digits. Nothing of it runs during the load.
const wrkReport = `done = function(s, l, r)
  local e = s.errors
  print(string.format("bench %d %d %d %d %d", s.requests, s.duration,
    e.connect + e.read + e.write + e.timeout + e.status, l:percentile(50), l:percentile(99)))
end
`

// wrk runs a closed loop of connections for a whole number of seconds. One thread makes more than twice
// the requests that any proxy here can serve; the report says how busy it was.
func wrk(ctx context.Context, dir, url string, connections, seconds int) (load, error) {
	script := filepath.Join(dir, "report.lua")
	if err := os.WriteFile(script, []byte(wrkReport), 0o600); err != nil {
		return load{}, err
	}
	cmd := exec.CommandContext(ctx, "wrk", "-t1", "-c"+strconv.Itoa(connections), "-d"+strconv.Itoa(seconds)+"s",
		"-s", script, "-H", "User-Agent: bench/1", "-H", "Accept: application/json", url)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w: %s", err, out)
	}
	l, err := parseWrk(string(out))
	l.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return l, err
}

func parseWrk(out string) (load, error) {
	var l load
	var micros, failed float64
	_, line, _ := strings.Cut(out, "\nbench ")
	if _, err := fmt.Sscan(line, &l.requests, &micros, &failed, &l.p50, &l.p99); err != nil {
		return l, fmt.Errorf("wrk's report: %w: %s", err, out)
	}
	l.seconds = micros / 1e6
	l.p50 *= 1000 // wrk counts in µs
	l.p99 *= 1000
	if l.requests == 0 {
		return l, errors.New("wrk: no request was answered")
	}
	if failed > 0 {
		return l, fmt.Errorf("wrk: %.0f of %.0f requests failed", failed, l.requests)
	}
	return l, nil
}

// get sends one request on a new connection.
func (t target) get(path string, size int64, w io.Writer) error {
	conn, err := t.dial("http/1.1")
	if err != nil {
		return err
	}
	defer conn.Close()
	return ask(conn, path, size, w)
}

// ask sends one GET on conn, demands status 200 and a whole body of size bytes (-1: any), and
// copies it to w.
func ask(conn net.Conn, path string, size int64, w io.Writer) error {
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1\r\n\r\n", path, conn.RemoteAddr()); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{w}, response.Body, make([]byte, min(max(size, 512), mib)))
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("GET %s: status %d", path, response.StatusCode)
	case size >= 0 && n != size:
		return fmt.Errorf("GET %s: %d bytes, want %d", path, n, size)
	}
	return nil
}

// put sends a body of 1 GiB on a new connection.
func (t target) put() error {
	conn, err := t.dial("http/1.1")
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprintf(conn, "PUT /small HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench/1\r\nContent-Length: %d\r\n\r\n", t.addr, gib); err != nil {
		return err
	}
	for range gib / len(chunk) {
		if _, err := conn.Write(chunk); err != nil {
			return err
		}
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("PUT /small: status %d", response.StatusCode)
	}
	return nil
}

// accepted returns how many connections the backend has accepted so far.
func accepted(backend string) (int64, error) {
	var count bytes.Buffer
	if err := (target{addr: backend}).get("/accepted", -1, &count); err != nil {
		return 0, err
	}
	return strconv.ParseInt(count.String(), 10, 64)
}

// loadHandshakes sends so many requests over TLS, each on a new connection, a few at a time.
func loadHandshakes(to target, requests int) (load, error) {
	return loadBy(16, requests, func(int) error { return to.get("/small", smallSize, io.Discard) })
}

// loadBy has workers send so many requests, each worker one at a time.
func loadBy(workers, requests int, send func(worker int) error) (l load, err error) {
	var group sync.WaitGroup
	faults, took := make([]error, workers), make([][]time.Duration, workers)
	before, begin := ownCPU(), time.Now()
	for w := range workers {
		group.Go(func() {
			for i := w; i < requests && faults[w] == nil; i += workers {
				start := time.Now()
				faults[w] = send(w)
				took[w] = append(took[w], time.Since(start))
			}
		})
	}
	group.Wait()
	l.requests, l.seconds, l.cpu = float64(requests), time.Since(begin).Seconds(), (ownCPU() - before).Seconds()
	l.quantiles(slices.Concat(took...))
	return l, errors.Join(faults...)
}
