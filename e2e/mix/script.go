package mix

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"pace/e2e/pacetest"
)

// write makes a script of about n exchanges, of the kinds whose house is there.
func (mx *Mix) write(n int, drain bool) {
	for i := range kinds {
		k := &kinds[i]
		if mx.houses[k.house] == nil || mx.kinds != nil && !slices.Contains(mx.kinds, k.name) || k.h1 && mx.mode != "" && mx.mode != pacetest.H1 || k.share == 0 {
			continue
		}
		for range max(1, n*k.share/1000) {
			mx.script = append(mx.script, mx.exchange(k))
		}
	}
	if mx.crashers != nil {
		mx.dying = make([][]*exchange, crashes)
	}
	for i := range mx.dying {
		for j := range atHand {
			name := [...]string{"dying", "dyingpost", "flow"}[j%3]
			mx.dying[i] = append(mx.dying[i], mx.exchange(kindNamed(name)))
		}
	}
	if !drain {
		return
	}
	mx.held = mx.exchange(kindNamed("held"))
	for range latecomers {
		mx.late = append(mx.late, mx.exchange(kindNamed("late")))
	}
}

func (mx *Mix) exchange(k *kind) *exchange {
	mx.source++
	x := &exchange{
		kind: k, house: mx.houses[k.house], mode: pacetest.H1, method: k.method, luck: mx.random.Float64(), patience: time.Minute,
		path:   fmt.Sprintf("/%s/%d-%08x", k.name, mx.source, mx.random.Uint32()),
		source: fmt.Sprintf("10.%d.%d.%d", byte(mx.source>>16), byte(mx.source>>8), byte(mx.source)),
		trace:  fmt.Sprintf("%016x%016x", mx.random.Uint64(), mx.random.Uint64()|1),
		parent: fmt.Sprintf("%016x", mx.random.Uint64()|1),
	}
	if unsampled := mx.random.Float64() >= mx.sampled; x.house != nil {
		x.proxy = x.house.Proxy
		if mx.ca != nil && mx.random.Float64() < mx.tls {
			x.proxy, x.tls = x.house.secure, mx.ca.Config(serverName)
		}
		if len(x.house.wired) == 0 { // there, each has to speak of what no backend has seen
			x.quiet = unsampled
			x.orphan = mx.ratio > 0 && mx.random.IntN(2) == 0
		}
	}
	if x.orphan {
		x.trace, x.parent = "", ""
	}
	if x.method == "" {
		x.method = "GET"
	}
	if !k.h1 && mx.random.IntN(3) == 0 {
		x.mode = pacetest.H2C
	}
	if mx.mode != "" {
		x.mode = mx.mode
	}
	if mx.random.IntN(4) == 0 {
		x.query = fmt.Sprintf("token=%08x", mx.random.Uint32())
	}
	if size := k.body; size > 0 {
		x.body = strings.Repeat("x", size)
	} else if x.method == "POST" || x.method == "PUT" {
		x.body = strings.Repeat("x", 1+mx.random.IntN(20_000))
	}
	x.ready, x.began = flagOf()
	x.saw, x.seen = flagOf()
	mx.byPath[x.path] = x
	return x
}

// Played returns how many exchanges of these kinds the script has.
func (mx *Mix) Played(kinds ...string) (n int) {
	for _, x := range mx.script {
		if slices.Contains(kinds, x.name) {
			n++
		}
	}
	return n
}

// task is exchanges of which each waits for the one before, unless they are together.
type task struct {
	exchanges []*exchange
	together  bool
}

// tasks puts a script in order: at random, but what shares a client's places belongs together.
func (mx *Mix) tasks() (tasks []task) {
	var limited, crowd, fine []*exchange
	for _, x := range mx.script {
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
	mx.random.Shuffle(len(limited), func(i, j int) { limited[i], limited[j] = limited[j], limited[i] })
	for len(limited) > 0 && len(fine) >= quota { // who takes all places, and then asks for more
		n := min(len(limited), 1+mx.random.IntN(10))
		var over []*exchange
		over, fine = append(over, fine[:quota]...), fine[quota:]
		over, limited = append(over, limited[:n]...), limited[n:]
		tasks = append(tasks, task{exchanges: sameSource(over)})
	}
	for len(crowd) > 0 {
		n := min(len(crowd), quota+1+mx.random.IntN(8))
		tasks = append(tasks, task{exchanges: sameSource(crowd[:n]), together: true})
		crowd = crowd[n:]
	}
	for _, x := range fine {
		tasks = append(tasks, task{exchanges: []*exchange{x}})
	}
	mx.random.Shuffle(len(tasks), func(i, j int) { tasks[i], tasks[j] = tasks[j], tasks[i] })
	return tasks
}

func sameSource(xs []*exchange) []*exchange {
	for _, x := range xs {
		x.source = xs[0].source
	}
	return xs
}

// Play carries the script out, but for its end.
func (mx *Mix) Play() {
	queue := make(chan task)
	var group sync.WaitGroup
	for range mx.clients {
		own := mx.newClients()
		group.Go(func() {
			for task := range queue {
				mx.carryOut(task, own)
			}
		})
	}
	deaths, own := make(chan []*exchange, crashes), mx.newClients()
	group.Go(func() { mx.crash(deaths, own) })
	tasks := mx.tasks()
	for i, task := range tasks {
		if n := len(mx.dying); n > 0 && (i == 0 || i*n/len(tasks) > (i-1)*n/len(tasks)) {
			deaths <- mx.dying[i*n/len(tasks)]
		}
		queue <- task
	}
	close(queue)
	close(deaths)
	group.Wait()
}

func (mx *Mix) carryOut(task task, own *ownClients) {
	var together sync.WaitGroup
	for _, x := range task.exchanges {
		one := func() {
			if x.kind.house == "crashing" {
				mx.bystanders.RLock()
				defer mx.bystanders.RUnlock()
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
	speak  map[pacetest.Mode]*http.Client
	secure map[pacetest.Mode]*http.Client // over TLS
	h3     *pacetest.H3Client             // the one of secure that speaks HTTP/3

	mu   sync.Mutex
	last map[string]*exchange // by the client's side of a connection; guarded by mu
}

func (mx *Mix) newClients() *ownClients {
	own := &ownClients{speak: map[pacetest.Mode]*http.Client{
		pacetest.H1: pacetest.H1.Client(mx.t), pacetest.H2C: pacetest.H2C.Client(mx.t),
	}, secure: map[pacetest.Mode]*http.Client{}, last: map[string]*exchange{}}
	if mx.ca != nil {
		own.secure[pacetest.H1], own.secure[pacetest.H2C] = mx.ca.Client(pacetest.H1, serverName), mx.ca.Client(pacetest.H2C, serverName)
		own.h3 = mx.ca.H3(serverName)
		own.secure[pacetest.H3] = own.h3.Client
	}
	mx.own = append(mx.own, own)
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

// HangUp closes the connections that are of no more use.
func (mx *Mix) HangUp() {
	for _, own := range mx.own {
		for _, clients := range []map[pacetest.Mode]*http.Client{own.speak, own.secure} {
			for _, client := range clients {
				client.CloseIdleConnections()
			}
		}
	}
}
