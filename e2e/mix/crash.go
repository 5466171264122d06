package mix

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pace/e2e/pacetest"
)

// crasher is a backend in its own process, which is killed by SIGKILL and started again.
type crasher struct {
	*pacetest.Process
	t testing.TB
}

func startCrasher(t testing.TB) *crasher { return &crasher{pacetest.StartProcess(t), t} }

// doom makes it hold those exchanges that must be in flight when it is killed.
func (c *crasher) doom() {
	resp, err := http.Get("http://" + c.Address() + doom)
	if err != nil {
		c.t.Errorf("doom: %v", err)
		return
	}
	resp.Body.Close()
}

// served returns the attempts that it got, by span.
func (c *crasher) served() map[string]attempt {
	all := map[string]attempt{}
	for _, s := range c.Served() {
		if s.Target == doom {
			continue
		}
		a := attempt{backend: c.Address(), nth: int(s.Nth), requestID: s.RequestID, body: int(s.Body)}
		a.trace, a.span, a.flags = pacetest.Traceparent(s.Traceparent)
		if _, twice := all[a.span]; twice {
			c.t.Errorf("%s got the attempt %s twice", c.Address(), s.Traceparent)
		}
		all[a.span] = a
	}
	return all
}

// doom is the path of the request that tells a crasher that it will be killed.
const doom = "/doom"

// doomed is true in the process of a crasher that will be killed.
var doomed atomic.Bool

// Live is the handler of a crasher's process: it responds, unless the crasher will be killed. A package
// that uses the house crashing passes it to pacetest.ServeProcess in its TestMain.
func Live(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == doom:
		doomed.Store(true)
	case strings.HasPrefix(r.URL.Path, "/dying") && doomed.Load():
		select {}
	case strings.HasPrefix(r.URL.Path, "/flow"):
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, strings.Repeat("x", part))
		if doomed.Load() {
			http.NewResponseController(w).Flush()
			select {}
		}
		io.WriteString(w, strings.Repeat("x", 1000-part))
	default:
		io.WriteString(w, "fine")
	}
}

const (
	crashes = 6
	atHand  = 12 // exchanges in flight when a backend is killed; about half of them are at that backend
)

// crash kills the crashers in turn while the mix runs. Each time, some exchanges wait for the victim, or
// have a part of its response.
func (mx *Mix) crash(deaths <-chan []*exchange, own *ownClients) {
	i := 0
	for dying := range deaths {
		victim := mx.crashers[i%len(mx.crashers)]
		i++
		victim.doom()
		mx.die(victim, dying, own)
	}
}

func (mx *Mix) die(victim *crasher, dying []*exchange, own *ownClients) {
	var group sync.WaitGroup
	over := make([]atomic.Bool, len(dying))
	for i, x := range dying {
		group.Go(func() {
			x.run(own)
			over[i].Store(true)
		})
	}
	pacetest.Eventually(mx.t, func() error {
		there := victim.served()
		for i, x := range dying {
			if !over[i].Load() && !waits(x, there) {
				return errors.New(x.path + " has not come to where it is to die")
			}
		}
		return nil
	})
	victim.Kill()
	group.Wait()
	victim.Restart()
	mx.awaitBystanders()
}

// awaitBystanders returns when all exchanges have ended that were in flight when a backend was killed,
// because a second crash must not affect them.
func (mx *Mix) awaitBystanders() {
	mx.bystanders.Lock()
	//lint:ignore SA2001 the lock is only waited for
	mx.bystanders.Unlock()
}

// waits reports whether the exchange waits for the victim, with the part of the response that it should have.
func waits(x *exchange, there map[string]attempt) bool {
	for _, a := range there {
		if a.trace == x.trace {
			if x.name != "flow" {
				return true
			}
			select {
			case <-x.seen:
				return true
			default:
				return false
			}
		}
	}
	return false
}
