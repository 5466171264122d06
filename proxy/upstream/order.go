package upstream

import (
	"time"

	"pace/lb/health"
)

// Order is what an operator may want of a backend.
type Order uint8

// The orders.
const (
	Drain   Order = iota // it gets no requests until Undrain
	Undrain              // it may be picked again, unless something else speaks against it
	Eject                // it gets no requests until Readmit, unless there is panic
	Readmit              // no ejection holds any more
	OrderCount
)

var orders = [OrderCount]struct {
	word, done string
	do         func(*health.Machine, *health.Rules, time.Time, string) (health.Transition, bool)
}{
	Drain:   {"drain", "drained", (*health.Machine).Drain},
	Undrain: {"undrain", "undrained", (*health.Machine).Undrain},
	Eject:   {"eject", "ejected", (*health.Machine).Eject},
	Readmit: {"readmit", "readmitted", func(m *health.Machine, r *health.Rules, now time.Time, why string) (health.Transition, bool) {
		return m.Readmit(r, now, health.Operator, why)
	}},
}

// String returns the word of the order.
func (o Order) String() string { return orders[o].word }

// Command carries out an order about the backend at an address, and returns how that is then; false: there is none.
// who asks for it.
func (u *Upstream) Command(address string, o Order, who string) (Member, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for i := range u.members {
		if b := u.members[i].Backend; b.Addr == address {
			now := time.Now()
			u.learn(b, now, func(m *health.Machine) (health.Transition, bool) {
				return orders[o].do(m, &u.o.Health, now, orders[o].done+" by "+who)
			})
			u.applyAll(now)
			b.condition.idleAndStreams(u.o.DrainStreams)
			return u.members[i].now(), true
		}
	}
	return Member{}, false
}

// idleAndStreams does what becomes of the connections of a backend by an order. While it is drained, it keeps no idle
// connection, so that nothing is left of pace at it when the last request has ended. Its streams get a time to end.
// u.mu is held.
func (c *condition) idleAndStreams(within time.Duration) {
	state, _, _ := c.machine.State()
	drained := state == health.Drained
	if drained {
		c.streams.drain(within)
	} else {
		c.streams.undrain()
	}
	for _, b := range c.of {
		if conns := owner(b).conns; conns != nil {
			conns.KeepIdle(!drained)
		}
	}
}

// orderAs orders for the addresses of a name what an operator has ordered for the name, before it was resolved. u.mu is
// held.
func (u *Upstream) orderAs(name *Backend, addresses []*Backend) {
	state, _, why := name.condition.machine.State()
	_, byHand, _ := name.condition.machine.Ejected()
	now := time.Now()
	for _, b := range addresses {
		u.learn(b, now, func(m *health.Machine) (t health.Transition, changed bool) {
			if byHand {
				t, changed = m.Eject(&u.o.Health, now, why)
			}
			if state == health.Drained {
				t, changed = m.Drain(&u.o.Health, now, why)
			}
			return t, changed
		})
		b.condition.idleAndStreams(u.o.DrainStreams)
	}
}
