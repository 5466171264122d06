package audit

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

// mortal is a backend in a process of its own, which dies by SIGKILL and comes back.
type mortal struct {
	*pacetest.Process
	t testing.TB
}

func startMortal(t testing.TB) *mortal { return &mortal{pacetest.StartProcess(t), t} }

// doom makes it leave those hanging that come to die; their death is near.
func (m *mortal) doom() {
	resp, err := http.Get("http://" + m.Address() + doom)
	if err != nil {
		m.t.Errorf("doom: %v", err)
		return
	}
	resp.Body.Close()
}

// served returns the attempts that it got, by span.
func (m *mortal) served() map[string]attempt {
	all := map[string]attempt{}
	for _, s := range m.Served() {
		if s.Target == doom {
			continue
		}
		a := attempt{backend: m.Address(), nth: int(s.Nth), requestID: s.RequestID, body: int(s.Body)}
		a.trace, a.span, a.flags = pacetest.Traceparent(s.Traceparent)
		if _, twice := all[a.span]; twice {
			m.t.Errorf("%s got the attempt %s twice", m.Address(), s.Traceparent)
		}
		all[a.span] = a
	}
	return all
}

// doom is the target of those who tell a mortal that it is doomed.
const doom = "/doom"

// doomed is true in the process of a mortal that is to die.
var doomed atomic.Bool

// live is what a mortal's process does: it answers, unless its time has come.
func live(w http.ResponseWriter, r *http.Request) {
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
	massacres = 6
	victims   = 12 // exchanges that are there when a backend dies, of which about half are at it
)

// massacre kills the mortals in turn while the mix goes on. Each time some exchanges are known to
// wait for the victim, or to be in the midst of its answer.
func (tw *town) massacre(deaths <-chan []*exchange, own *ownClients) {
	i := 0
	for dying := range deaths {
		victim := tw.mortal[i%len(tw.mortal)]
		i++
		victim.doom()
		tw.die(victim, dying, own)
	}
}

func (tw *town) die(victim *mortal, dying []*exchange, own *ownClients) {
	var group sync.WaitGroup
	over := make([]atomic.Bool, len(dying))
	for i, x := range dying {
		group.Go(func() {
			x.run(own)
			over[i].Store(true)
		})
	}
	pacetest.Eventually(tw.t, func() error {
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
	tw.awaitTravellers()
}

// awaitTravellers returns when all are home who were on their way when a backend died: they must not
// meet a second death.
func (tw *town) awaitTravellers() {
	tw.season.Lock()
	//lint:ignore SA2001 to have waited is all
	tw.season.Unlock()
}

// waits says whether the exchange hangs at the victim, with what it is to have of the answer.
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
