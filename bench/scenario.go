package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// scenario is one kind of traffic, and the columns of its table.
type scenario struct {
	name, title string
	unit        string   // of sample.cost
	rounds      int      // maximum number of rounds
	short       bool     // part of the short form
	without     []string // peers that are left out, because they would show nothing new
	columns     []column // the first is cost
	run         func(b *bench, addr string, proc *process) (sample, error)
}

// sample is what one window measured of one peer. A field that a scenario does not measure is 0.
type sample struct {
	cost        float64 // what the plot shows: the proxy's CPU, or its memory
	rate        float64 // requests a second, or GiB a second
	p50, p99    time.Duration
	rss, peak   int64
	requests    float64 // including the warm-up
	spans       float64 // that reached the sink, per request
	load, serve float64 // busy cores of the load tool and of the backend
}

// column is one figure of the report's table.
type column struct {
	head  string
	value func(sample) float64
	verb  string
	ratio bool // a second column compares it with the bare ReverseProxy
}

func cost(s sample) float64 { return s.cost }
func rate(s sample) float64 { return s.rate }

var (
	memory = []column{
		{"RSS MiB", func(s sample) float64 { return float64(s.rss) / mib }, "%.0f", false},
		{"peak MiB", func(s sample) float64 { return float64(s.peak) / mib }, "%.0f", false},
	}
	perRequest = append([]column{
		{"CPU µs/request", cost, "%.1f", true},
		{"requests/s", rate, "%.0f", true},
		{"p50 µs", func(s sample) float64 { return float64(s.p50.Microseconds()) }, "%.0f", false},
		{"p99 µs", func(s sample) float64 { return float64(s.p99.Microseconds()) }, "%.0f", false},
		{"spans/request", func(s sample) float64 { return s.spans }, "%.3f", false},
	}, memory...)
	perGiB  = append([]column{{"CPU ms/GiB", cost, "%.0f", true}, {"GiB/s", rate, "%.2f", true}}, memory...)
	perIdle = []column{
		{"RSS MiB", cost, "%.1f", true},
		{"KiB/connection", func(s sample) float64 { return s.cost * 1024 / idleConns }, "%.1f", false},
	}
)

var scenarios = []scenario{
	{"small", "Small JSON: GET, 300 B, 64 connections", "CPU µs/request", 5, true, nil, perRequest,
		func(b *bench, addr string, proc *process) (sample, error) { return b.load(addr, "/small", 64, proc) }},
	{"1mib", "1 MiB bodies: GET, 16 connections", "CPU µs/request", 3, false, []string{"reverseproxy-otel-100", paceAll}, perRequest,
		func(b *bench, addr string, proc *process) (sample, error) { return b.load(addr, "/mib", 16, proc) }},
	{"1gib", "1 GiB bodies: GET, one at a time", "CPU ms/GiB", 5, false, []string{"reverseproxy-otel-100", paceAll}, perGiB,
		func(b *bench, addr string, proc *process) (sample, error) {
			return b.transfer(proc, func() error { return get(addr, "/gib", gib, io.Discard) })
		}},
	{"1gib-up", "1 GiB bodies: PUT, one at a time", "CPU ms/GiB", 5, false, []string{"reverseproxy-otel-100", paceAll}, perGiB,
		func(b *bench, addr string, proc *process) (sample, error) {
			return b.transfer(proc, func() error { return put(addr) })
		}},
	{"idle", "10,000 idle connections, one request on each before", "RSS MiB", 1, false, []string{"reverseproxy-otel-100", paceAll, direct}, perIdle, (*bench).idle},
}

// load measures a closed loop on several connections, after one second of warm-up.
func (b *bench) load(addr, path string, connections int, proc *process) (sample, error) {
	url := "http://" + addr + path
	warm, err := wrk(b.ctx, b.dir, url, connections, 1)
	if err != nil {
		return sample{}, err
	}
	var l load
	s, err := b.window(proc, func() (err error) {
		l, err = wrk(b.ctx, b.dir, url, connections, b.seconds)
		return err
	})
	if err != nil {
		return s, err
	}
	s.cost *= 1e6 / l.requests
	s.rate, s.requests = l.requests/l.seconds, l.requests+warm.requests
	s.p50, s.p99, s.load = l.p50, l.p99, l.cpu/l.seconds
	return s, nil
}

// transfer measures two bodies of 1 GiB, after one as warm-up.
func (b *bench) transfer(proc *process, body func() error) (sample, error) {
	const times = 2
	if err := body(); err != nil {
		return sample{}, err
	}
	begin := time.Now()
	s, err := b.window(proc, func() error { return errors.Join(body(), body()) })
	s.cost *= 1000. / times
	s.rate = times / time.Since(begin).Seconds()
	return s, err
}

const idleConns = 10_000

// idle opens connections, gets one response on each, and reads the proxy's memory 3 s later.
func (b *bench) idle(addr string, proc *process) (s sample, err error) {
	conns := make([]net.Conn, idleConns)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				conn.(*net.TCPConn).SetLinger(0) // Close resets: 10,000 ports in TIME_WAIT would slow the next peer down
				conn.Close()
			}
		}
	}()
	const workers = 16
	var group sync.WaitGroup
	var faults [workers]error
	for w := range workers {
		group.Go(func() {
			for i := w; i < idleConns && faults[w] == nil; i += workers {
				if conns[i], faults[w] = net.Dial("tcp", addr); faults[w] == nil {
					faults[w] = ask(conns[i], "/small", smallSize, io.Discard)
				}
			}
		})
	}
	group.Wait()
	if err := errors.Join(faults[:]...); err != nil {
		return s, err
	}
	select { // Go returns freed pages slowly, and we want what open connections hold, not what opening them took
	case <-b.ctx.Done():
		return s, b.ctx.Err()
	case <-time.After(3 * time.Second):
	}
	u, err := proc.usage()
	return sample{cost: float64(u.rss) / mib, rss: u.rss, peak: u.peak}, err
}

// window runs do and returns what the processes used meanwhile. cost is the CPU seconds of proc, which is
// nil without a proxy.
func (b *bench) window(proc *process, do func() error) (s sample, err error) {
	before, err := b.usages(proc)
	if err != nil {
		return s, err
	}
	begin := time.Now()
	if err := do(); err != nil {
		return s, err
	}
	wall := time.Since(begin).Seconds()
	after, err := b.usages(proc)
	s.cost, s.rss, s.peak = (after[0].cpu - before[0].cpu).Seconds(), after[0].rss, after[0].peak
	s.serve = (after[1].cpu - before[1].cpu).Seconds() / wall
	return s, err
}

// usages returns the usage of the proxy and of the backend.
func (b *bench) usages(proc *process) (u [2]usage, err error) {
	if proc != nil {
		if u[0], err = proc.usage(); err != nil {
			return u, err
		}
	}
	u[1], err = b.backend.usage()
	return u, err
}
