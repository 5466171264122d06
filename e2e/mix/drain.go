package mix

import (
	"fmt"
	"syscall"

	"pace/e2e/pacetest"
)

// latecomers is how many requests arrive while main drains.
const latecomers = 20

// Drain is the drain of the house main: one exchange is in flight while the latecomers are rejected.
type Drain struct {
	mx   *Mix
	over chan struct{}
}

// BeginDrain returns while main drains, so that its metrics can still be scraped.
func (mx *Mix) BeginDrain() *Drain {
	main, d := mx.houses["main"], &Drain{mx, make(chan struct{})}
	own := mx.newClients()
	go func() {
		defer close(d.over)
		mx.held.run(own)
	}()
	<-mx.held.began
	late := make([]*wire, len(mx.late))
	for i, x := range mx.late {
		x.begin()
		late[i] = x.dial()
		head := x.head("")
		late[i].send(head[:len(head)-2]) // the header's end comes while pace is ending
	}
	// pace has accepted all of their connections before it closes the listener, and no other client is left.
	pacetest.Eventually(mx.t, func() error {
		mx.HangUp() // again: a stream that was cancelled keeps its connection for a moment
		m := main.Metrics()
		if active, all := m.Sum("pace_connections", "state", "active"), m.Sum("pace_connections"); active != 1 || all != 1+latecomers {
			return fmt.Errorf("pace_connections: %v active of %v, want 1 of %d", active, all, 1+latecomers)
		}
		return nil
	})
	main.Signal(syscall.SIGTERM)
	main.AwaitRejecting()
	for i, x := range mx.late {
		late[i].send("\r\n")
		x.got = late[i].response(x.method)
		late[i].close()
		x.cancel()
	}
	return d
}

// End lets the exchange in flight end, compares what its client saw with the script, and stops every
// pace.
func (d *Drain) End(tr *Truth) {
	d.mx.held.saw()
	<-d.over
	tr.adopt(d.mx.held)
	tr.client(d.mx.held)
	d.mx.End()
}

// End stops every pace. After that, their logs and spans are complete.
func (mx *Mix) End() {
	for name, h := range mx.houses {
		if name != "main" || mx.held == nil {
			h.Signal(syscall.SIGTERM)
		}
		if code := h.Wait(); code != 0 {
			mx.t.Errorf("%s exited with %d", name, code)
		}
	}
}
