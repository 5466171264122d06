package main

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// scenario is one kind of traffic, and the columns of its table.
type scenario struct {
	name, title string
	wire        wire
	unit        string   // of sample.cost
	rounds      int      // maximum number of rounds
	short       bool     // part of the short form
	target      float64  // cost of pace with everything on, against the bare ReverseProxy; margin times that fails. 0: none is held
	promise     string   // the row of the target in the report; "": the report has its own
	without     []string // peers that are left out, because they would show nothing new
	floors      bool     // the peers of that name take part
	columns     []column // the first is cost
	run         func(b *bench, to target, proc *process) (sample, error)
}

// measures reports whether p takes part.
func (s scenario) measures(p peer) bool {
	return !slices.Contains(s.without, p.name) && (s.floors || !slices.Contains(floors, p.name))
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

// clearOnly are the peers that are not measured over TLS.
var clearOnly = []string{direct, "fasthttp-proxy", "traefik"}

var scenarios = []scenario{
	{
		name: "small", title: "Small JSON: GET, 300 B, 64 connections", unit: "CPU µs/request",
		rounds: 5, short: true, target: maxRatio, columns: perRequest,
		run: func(b *bench, to target, proc *process) (sample, error) { return b.load(to, "/small", 64, proc) },
	},
	{
		name: "1mib", title: "1 MiB bodies: GET, 16 connections", unit: "CPU µs/request",
		rounds: 3, without: everyTrace, columns: perRequest,
		run: func(b *bench, to target, proc *process) (sample, error) { return b.load(to, "/mib", 16, proc) },
	},
	{
		name: "1gib", title: "1 GiB bodies: GET, one at a time", unit: "CPU ms/GiB",
		rounds: 5, without: everyTrace, columns: perGiB, run: (*bench).download,
	},
	{
		name: "1gib-up", title: "1 GiB bodies: PUT, one at a time", unit: "CPU ms/GiB",
		rounds: 5, without: append(everyTrace, "fasthttp-proxy"), columns: perGiB,
		run: func(b *bench, to target, proc *process) (sample, error) { return b.transfer(proc, to.put) },
	},
	{
		name: "idle", title: "10,000 idle connections, one request on each before", unit: "RSS MiB",
		rounds: 1, without: append(everyTrace, direct), columns: perIdle, run: (*bench).idle,
	},
	{
		name: "tls", title: "Small JSON over TLS 1.3: GET, 300 B, 64 connections", unit: "CPU µs/request",
		promise: "CPU per small request over TLS 1.3",
		wire:    wire{TLS: true}, rounds: 5, short: true, target: 0.75, without: clearOnly, columns: perRequest,
		run: func(b *bench, to target, proc *process) (sample, error) { return b.load(to, "/small", 64, proc) },
	},
	{
		name: "handshake", title: "TLS 1.3 handshakes: GET, 300 B, each on a new connection, none resumed, 16 at a time", unit: "CPU µs/request",
		promise: "CPU per request with a handshake of TLS 1.3",
		wire:    wire{TLS: true}, rounds: 5, target: 0.75, without: append(everyTrace, clearOnly...), floors: true, columns: perRequest,
		run: func(b *bench, to target, proc *process) (sample, error) {
			return b.counted(proc, 3000, func(n int) (load, error) { return loadHandshakes(to, n) })
		},
	},
	{
		name: "h2", title: "Small JSON over HTTP/2: GET, 300 B, 8 connections, 8 streams on each", unit: "CPU µs/request",
		promise: "CPU per small request over HTTP/2",
		wire:    wire{TLS: true}, rounds: 5, short: true, target: 0.75, without: clearOnly, columns: perRequest,
		run: func(b *bench, to target, proc *process) (sample, error) {
			return b.streams(to, smallCall(to.addr), proc)
		},
	},
	{
		name: "h2-h2c", title: "Small JSON over HTTP/2 on both sides: the same, the backend in clear text", unit: "CPU µs/request",
		promise: "the same, with HTTP/2 to the backend",
		wire:    wire{TLS: true, H2C: true}, rounds: 5, target: 0.75, without: append([]string{"nginx"}, clearOnly...), columns: perRequest,
		run: func(b *bench, to target, proc *process) (sample, error) {
			return b.streams(to, smallCall(to.addr), proc)
		},
	},
	{
		name: "grpc", title: "gRPC unary: messages of 100 B and 300 B, 8 connections, 8 calls on each", unit: "CPU µs/request",
		promise: "CPU per unary call of gRPC",
		wire:    wire{TLS: true, H2C: true}, rounds: 5, target: 0.75, without: clearOnly, columns: perRequest,
		run: func(b *bench, to target, proc *process) (sample, error) {
			return b.streams(to, grpcCall(to.addr), proc)
		},
	},
	{
		name: "h3", title: "Small JSON over HTTP/3: GET, 300 B, 8 connections, 8 streams on each", unit: "CPU µs/request",
		promise: "CPU per small request over HTTP/3",
		wire:    wire{TLS: true, H3: true}, rounds: 5, target: 1, without: append([]string{"nginx", "haproxy"}, clearOnly...), columns: perRequest,
		run: func(b *bench, to target, proc *process) (sample, error) {
			return b.counted(proc, 20_000, func(n int) (load, error) { return loadHTTP3(to, n) })
		},
	},
	{
		name: "1gib-tls", title: "1 GiB bodies over TLS 1.3: GET, one at a time", unit: "CPU ms/GiB",
		promise: "CPU per GiB over TLS 1.3",
		wire:    wire{TLS: true}, rounds: 5, target: 1.05, without: append(everyTrace, clearOnly...), columns: perGiB, run: (*bench).download,
	},
}

// everyTrace are the peers that export every trace. They are left out where requests are large or few.
var everyTrace = []string{"reverseproxy-otel-100", paceAll}

// load measures a closed loop of wrk on several connections, after one second of warm-up.
func (b *bench) load(to target, path string, connections int, proc *process) (sample, error) {
	url := "http://" + to.addr + path
	if to.tls != nil {
		url = "https://" + to.addr + path
	}
	warm, err := wrk(b.ctx, b.dir, url, connections, 1)
	if err != nil {
		return sample{}, err
	}
	return b.loaded(proc, warm.requests, func() (load, error) { return wrk(b.ctx, b.dir, url, connections, b.seconds) })
}

// streams measures calls over HTTP/2.
func (b *bench) streams(to target, c call, proc *process) (sample, error) {
	return b.counted(proc, 20_000, func(n int) (load, error) { return loadStreams(to, c, n) })
}

// counted measures a load of so many requests in each second of a window, after a quarter of them as warm-up.
func (b *bench) counted(proc *process, requests int, run func(int) (load, error)) (sample, error) {
	warm, err := run(requests / 4)
	if err != nil {
		return sample{}, err
	}
	return b.loaded(proc, warm.requests, func() (load, error) { return run(requests * b.seconds / 2) })
}

// loaded measures what run sends. warm is the number of requests before it.
func (b *bench) loaded(proc *process, warm float64, run func() (load, error)) (sample, error) {
	var l load
	s, err := b.window(proc, func() (err error) {
		l, err = run()
		return err
	})
	if err != nil {
		return s, err
	}
	s.cost *= 1e6 / l.requests
	s.rate, s.requests = l.requests/l.seconds, l.requests+warm
	s.p50, s.p99, s.load = l.p50, l.p99, l.cpu/l.seconds
	return s, nil
}

func (b *bench) download(to target, proc *process) (sample, error) {
	return b.transfer(proc, func() error { return to.get("/gib", gib, io.Discard) })
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
func (b *bench) idle(to target, proc *process) (s sample, err error) {
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
				if conns[i], faults[w] = net.Dial("tcp", to.addr); faults[w] == nil {
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
