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

// crasher is a backend in a process of its own, which dies by SIGKILL and comes back.
type crasher struct {
	*pacetest.Process
	t testing.TB
}

func startCrasher(t testing.TB) *crasher { return &crasher{pacetest.StartProcess(t), t} }

// doom makes it leave those exchanges hanging that are to be there when it is killed.
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

// doom is the target by which a crasher learns that it is to be killed.
const doom = "/doom"

// doomed is true in the process of a crasher that is to be killed.
var doomed atomic.Bool

// Live is what a crasher's process does: it answers, unless it is to be killed. A package that has the
// house crashing passes it to pacetest.ServeProcess in its TestMain.
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
	atHand  = 12 // exchanges that are there when a backend dies, of which about half are at it
)

// crash kills the crashers in turn while the mix goes on. Each time some exchanges are known to
// wait for the victim, or to be in the midst of its response.
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

// awaitBystanders returns when all exchanges have ended that were under way when a backend died: they
// must not meet a second crash.
func (mx *Mix) awaitBystanders() {
	mx.bystanders.Lock()
	//lint:ignore SA2001 to have waited is all
	mx.bystanders.Unlock()
}

// waits says whether the exchange hangs at the victim, with what it is to have of the response.
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
