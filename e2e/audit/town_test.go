package audit

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/wiretap"
)

const (
	maxBody = 100_000 // server.max_body_bytes of the house main
	places  = 3       // rate_limit.max_requests of the house main
	clients = 48      // how many exchanges go on at a time
)

// house is one pace and the world around it. A mix needs several, since some outcomes need settings
// or backends that would harm all others.
type house struct {
	*pacetest.Pace
	name     string
	unseen   map[string]ending // addresses where attempts fail before a backend sees them, and how
	wired    []string          // addresses of which the wire knows of attempts that no backend saw
	backends int               // how many there are
	places   int               // rate_limit.max_requests, 0: no limit
}

// town is all that takes part in one mix.
type town struct {
	t      *testing.T
	random *rand.Rand
	spans  *otlp.Recv
	tap    *wiretap.Tap
	houses map[string]*house
	byPath map[string]*exchange // made before the mix begins, and then only read
	source uint32
	mortal [2]*mortal
	own    []*ownClients // of all who send

	mix    []*exchange
	dying  [massacres][]*exchange // who is at hand when a mortal dies
	held   *exchange              // in flight while main drains
	late   []*exchange            // arriving then
	season sync.RWMutex           // held for reading by each exchange of the house mortal; see massacre
}

func newTown(t *testing.T, seed uint64) *town {
	tw := &town{
		t: t, random: rand.New(rand.NewPCG(seed, 6)), spans: otlp.Receiver(t),
		houses: map[string]*house{}, byPath: map[string]*exchange{},
	}
	closed := func() address { return pacetest.NewClosed(t) }
	blackhole := func() address { return pacetest.NewBlackhole(t) }
	half, dead1, dead2 := closed(), closed(), closed()
	far1, far2, halffar := blackhole(), blackhole(), blackhole()
	tw.mortal = [2]*mortal{startMortal(t), startMortal(t)}
	fickle := tw.backend()
	tw.tap = wiretap.Open(t, half, dead1, dead2, far1, far2, halffar, fickle, tw.mortal[0], tw.mortal[1])

	tw.build("main", pacetest.Config{
		"server":     {"max_body_bytes": maxBody, "drain_timeout": "2m", "read_header_timeout": "1m"},
		"rate_limit": {"max_requests": places, "window_seconds": 3600},
	}, tw.backend(), tw.backend()).places = places
	tw.build("strict", pacetest.Config{"upstreams": {"response_timeout": "300ms"}}, tw.backend(), tw.backend())
	tw.build("patient", pacetest.Config{"upstreams": {"response_timeout": "2s"}}, tw.backend(), tw.backend())
	tw.build("brief", pacetest.Config{"server": {"body_timeout": "200ms", "read_header_timeout": "300ms"}}, tw.backend())
	tw.build("lone", pacetest.Config{}, tw.backend())
	tw.build("fickle", pacetest.Config{}, fickle)
	tw.build("half", pacetest.Config{}, half, tw.backend())
	tw.build("dead", pacetest.Config{}, dead1, dead2)
	tw.build("far", pacetest.Config{"upstreams": {"connect_timeout": "150ms"}}, far1, far2)
	tw.build("halffar", pacetest.Config{"upstreams": {"connect_timeout": "500ms"}}, halffar, tw.backend())
	tw.build("mortal", pacetest.Config{}, tw.mortal[0], tw.mortal[1])
	return tw
}

// address is whatever has one, host:port.
type address interface{ Address() string }

// backend starts a backend that writes each attempt down before it behaves as the exchange's kind says.
func (tw *town) backend() *pacetest.Backend {
	var address string
	known := make(chan struct{})
	b := pacetest.NewBackend(tw.t, func(p *pacetest.Exchange) {
		<-known
		tw.serve(address, p)
	})
	address = b.Address()
	close(known)
	return b
}

func (tw *town) serve(backend string, p *pacetest.Exchange) {
	path, _, _ := strings.Cut(p.Target, "?")
	x := tw.byPath[path]
	if x == nil || x.serve == nil {
		tw.t.Errorf("%s got a request that was not for it: %s %s", backend, p.Method, p.Target)
		p.Close()
		return
	}
	a := attempt{backend: backend, nth: p.Nth, requestID: p.Header.Get("X-Request-Id"), body: -1}
	a.trace, a.span, a.flags = pacetest.Traceparent(p.Header.Get("Traceparent"))
	if !x.unread {
		if p.ReadBody(); p.BodyErr == nil {
			a.body = len(p.Body)
		}
	}
	x.mu.Lock()
	nth := len(x.attempts)
	end, act := x.serve(x, nth, p)
	a.ending = end
	x.attempts = append(x.attempts, a)
	x.mu.Unlock()
	if !x.unread {
		x.ready()
	}
	act(x, p)
}

func (tw *town) build(name string, cfg pacetest.Config, backends ...address) *house {
	h := &house{name: name, unseen: map[string]ending{}, backends: len(backends)}
	for _, b := range backends {
		switch b.(type) {
		case *pacetest.Closed:
			h.unseen[b.Address()] = ending{failure: "connect_failed"}
		case *pacetest.Blackhole:
			h.unseen[b.Address()] = ending{failure: "connect_timeout"}
		case *mortal:
			h.unseen[b.Address()] = ending{failure: "connect_failed"}
			h.wired = append(h.wired, b.Address())
		default:
			if name == "fickle" {
				h.wired = append(h.wired, b.Address())
			}
		}
	}
	pool := pacetest.Table{}
	for _, b := range backends {
		urls, _ := pool["backends"].([]string)
		pool["backends"] = append(urls, "http://"+b.Address())
	}
	maps.Copy(pool, cfg["upstreams"])
	server := pacetest.Table{"trusted_proxies": []string{"127.0.0.1/32"}} // the clients say by X-Forwarded-For who they are
	maps.Copy(server, cfg["server"])
	cfg["upstreams"], cfg["server"] = pool, server
	cfg["log"] = pacetest.Table{"file": filepath.Join(tw.t.TempDir(), "log"), "slow_after": "0s"}
	h.Pace = pacetest.Start(tw.t, cfg, append(pacetest.ExportTo(tw.spans), "OTEL_SERVICE_NAME="+name, "OTEL_BSP_MAX_QUEUE_SIZE=100000")...)
	tw.houses[name] = h
	return h
}

// admins are the addresses that Prometheus scrapes.
func (tw *town) admins() (list []string) {
	for _, h := range tw.houses {
		list = append(list, h.Admin)
	}
	return list
}

// task is exchanges of which each waits for the one before, unless they are together.
type task struct {
	exchanges []*exchange
	together  bool
}

// write makes a script of about n exchanges.
func (tw *town) write(n int) {
	for i := range kinds {
		k := &kinds[i]
		for range n * k.share / 1000 {
			tw.mix = append(tw.mix, tw.exchange(k))
		}
	}
	for i := range tw.dying {
		for j := range victims {
			name := [...]string{"dying", "dyingpost", "flow"}[j%3]
			tw.dying[i] = append(tw.dying[i], tw.exchange(kindNamed(name)))
		}
	}
	tw.held = tw.exchange(kindNamed("held"))
	for range latecomers {
		tw.late = append(tw.late, tw.exchange(kindNamed("late")))
	}
}

func (tw *town) exchange(k *kind) *exchange {
	tw.source++
	x := &exchange{
		kind: k, house: tw.houses[k.house], mode: pacetest.H1, method: k.method, luck: tw.random.Float64(), patience: time.Minute,
		path:   fmt.Sprintf("/%s/%d-%08x", k.name, tw.source, tw.random.Uint32()),
		source: fmt.Sprintf("10.%d.%d.%d", byte(tw.source>>16), byte(tw.source>>8), byte(tw.source)),
		trace:  fmt.Sprintf("%016x%016x", tw.random.Uint64(), tw.random.Uint64()|1),
		parent: fmt.Sprintf("%016x", tw.random.Uint64()|1),
	}
	if unsampled := tw.random.IntN(20) == 0; x.house != nil {
		x.proxy = x.house.Proxy
		x.quiet = unsampled && len(x.house.unseen) == 0 // each has to speak of what no backend has seen
	}
	if x.method == "" {
		x.method = "GET"
	}
	if !k.h1 && tw.random.IntN(3) == 0 {
		x.mode = pacetest.H2C
	}
	if tw.random.IntN(4) == 0 {
		x.query = fmt.Sprintf("token=%08x", tw.random.Uint32())
	}
	if size := k.body; size > 0 {
		x.body = strings.Repeat("x", size)
	} else if x.method == "POST" || x.method == "PUT" {
		x.body = strings.Repeat("x", 1+tw.random.IntN(20_000))
	}
	x.ready, x.began = flagOf()
	x.saw, x.seen = flagOf()
	tw.byPath[x.path] = x
	return x
}

// tasks puts a script in order: at random, but what shares a client's places belongs together.
func (tw *town) tasks() (tasks []task) {
	var limited, crowd, fine []*exchange
	for _, x := range tw.mix {
		switch x.name {
		case "limited", "limitedpost":
			limited = append(limited, x)
		case "crowd":
			crowd = append(crowd, x)
		case "fine":
			fine = append(fine, x)
		default:
			tasks = append(tasks, task{exchanges: []*exchange{x}})
		}
	}
	tw.random.Shuffle(len(limited), func(i, j int) { limited[i], limited[j] = limited[j], limited[i] })
	for len(limited) > 0 && len(fine) >= places { // who takes all places, and then asks for more
		n := min(len(limited), 1+tw.random.IntN(10))
		var over []*exchange
		over, fine = append(over, fine[:places]...), fine[places:]
		over, limited = append(over, limited[:n]...), limited[n:]
		tasks = append(tasks, task{exchanges: sameSource(over)})
	}
	for len(crowd) > 0 {
		n := min(len(crowd), places+1+tw.random.IntN(8))
		tasks = append(tasks, task{exchanges: sameSource(crowd[:n]), together: true})
		crowd = crowd[n:]
	}
	for _, x := range fine {
		tasks = append(tasks, task{exchanges: []*exchange{x}})
	}
	tw.random.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	return tasks
}

func sameSource(xs []*exchange) []*exchange {
	for _, x := range xs {
		x.source = xs[0].source
	}
	return xs
}

// play carries the script out, but for its end.
func (tw *town) play() {
	queue := make(chan task)
	var group sync.WaitGroup
	for range clients {
		own := tw.newClients()
		group.Go(func() {
			for task := range queue {
				tw.carryOut(task, own)
			}
		})
	}
	deaths, own := make(chan []*exchange, massacres), tw.newClients()
	group.Go(func() { tw.massacre(deaths, own) })
	tasks := tw.tasks()
	for i, task := range tasks {
		if nth := i * massacres / len(tasks); nth > (i-1)*massacres/len(tasks) || i == 0 {
			if tw.dying[nth] != nil {
				deaths <- tw.dying[nth]
			}
		}
		queue <- task
	}
	close(queue)
	close(deaths)
	group.Wait()
}

func (tw *town) carryOut(task task, own *ownClients) {
	var together sync.WaitGroup
	for _, x := range task.exchanges {
		one := func() {
			if x.kind.house == "mortal" {
				tw.season.RLock()
				defer tw.season.RUnlock()
			}
			x.run(own)
		}
		if task.together {
			together.Go(one)
		} else {
			one()
		}
	}
	together.Wait()
}

// ownClients are the clients, by protocol, that share no connection with others.
type ownClients struct {
	speak map[pacetest.Mode]*http.Client

	mu   sync.Mutex
	last map[string]*exchange // by the client's side of a connection; guarded by mu
}

func (tw *town) newClients() *ownClients {
	own := &ownClients{speak: map[pacetest.Mode]*http.Client{
		pacetest.H1: pacetest.H1.Client(tw.t), pacetest.H2C: pacetest.H2C.Client(tw.t),
	}, last: map[string]*exchange{}}
	tw.own = append(tw.own, own)
	return own
}

// follows notes that x has this connection now, and returns who had it before.
func (own *ownClients) follows(local net.Addr, x *exchange) *exchange {
	own.mu.Lock()
	defer own.mu.Unlock()
	before := own.last[local.String()]
	own.last[local.String()] = x
	return before
}

// hangUp closes the connections that are of no more use.
func (tw *town) hangUp() {
	for _, own := range tw.own {
		for _, client := range own.speak {
			client.CloseIdleConnections()
		}
	}
}
