package audit

import (
	"fmt"
	"syscall"

	"pace/e2e/pacetest"
)

// latecomers is how many requests arrive while main drains.
const latecomers = 20

// drain is the end of the house main: one exchange is in flight while the latecomers are turned away.
type drain struct {
	tw   *town
	over chan struct{}
}

// beginDrain leaves main in the midst of it, so that its metrics can still be asked for.
func (tw *town) beginDrain() *drain {
	main, d := tw.houses["main"], &drain{tw, make(chan struct{})}
	own := tw.newClients()
	go func() {
		defer close(d.over)
		tw.held.run(own)
	}()
	<-tw.held.began
	late := make([]*wire, len(tw.late))
	for i, x := range tw.late {
		x.begin()
		late[i] = x.dial()
		head := x.head("")
		late[i].send(head[:len(head)-2]) // the header's end comes while pace is ending
	}
	// All have been taken off the listener before it closes, and everybody else is gone.
	pacetest.Eventually(tw.t, func() error {
		tw.hangUp() // again: a stream that was cancelled keeps its connection for a moment
		m := main.Metrics()
		if active, all := m.Sum("pace_connections", "state", "active"), m.Sum("pace_connections"); active != 1 || all != 1+latecomers {
			return fmt.Errorf("pace_connections: %v active of %v, want 1 of %d", active, all, 1+latecomers)
		}
		return nil
	})
	main.Signal(syscall.SIGTERM)
	main.AwaitDraining()
	for i, x := range tw.late {
		late[i].send("\r\n")
		x.got = late[i].response(x.method)
		late[i].close()
		x.cancel()
	}
	return d
}

// end lets the exchange in flight come to its end, and all paces.
func (d *drain) end() {
	d.tw.held.saw()
	<-d.over
	for name, h := range d.tw.houses {
		if name != "main" {
			h.Signal(syscall.SIGTERM)
		}
		if code := h.Wait(); code != 0 {
			d.tw.t.Errorf("%s exited with %d", name, code)
		}
	}
}
