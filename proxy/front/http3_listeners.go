package front

import (
	"net"
	"slices"
	"sync/atomic"

	"pace/proxy/front/handshake"
)

// quicListeners are those over UDP:
//
//	served ── retire ──▶ retired ── closeRetired, once its last client has left ──▶ (gone)
//	   ▲                 │     ▲
//	   │           reserve     release
//	   │                 ▼     │
//	   └── takeUp ───── reserved
//
// The zero value is ready. Safe for concurrent use.
type quicListeners struct {
	served[*quicListener]
	begun atomic.Int64 // connections that have not ended
}

// of returns the listener that serves pc, nil if there is none.
func (q *quicListeners) of(pc net.PacketConn) *quicListener {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.servedLocked(pc)
}

// find returns the first listener that is so, nil if none is. q.mu is held.
func (q *quicListeners) find(is func(*quicListener) bool) *quicListener {
	if i := slices.IndexFunc(q.list, is); i >= 0 {
		return q.list[i]
	}
	return nil
}

func (q *quicListeners) servedLocked(pc net.PacketConn) *quicListener {
	return q.find(func(l *quicListener) bool { return l.from == pc && !l.retired.Load() })
}

func (q *quicListeners) reservedLocked(pc net.PacketConn) *quicListener {
	return q.find(func(l *quicListener) bool { return l.from == pc && l.reserved })
}

// retire returns the listener that serves pc, which it retires; nil if there is none.
func (q *quicListeners) retire(pc net.PacketConn) *quicListener {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.servedLocked(pc)
	if l != nil {
		l.retired.Store(true)
	}
	return l
}

// reserve keeps a retired listener at an address from being closed. It returns the socket, nil if there is none.
func (q *quicListeners) reserve(of net.Addr) net.PacketConn {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.find(func(l *quicListener) bool { return l.retired.Load() && l.from.LocalAddr().String() == of.String() })
	if l == nil {
		return nil
	}
	l.reserved = true
	return l.from
}

// release undoes reserve. It returns the listener of pc, nil if none was reserved.
func (q *quicListeners) release(pc net.PacketConn) *quicListener {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.reservedLocked(pc)
	if l != nil {
		l.reserved = false
	}
	return l
}

// takeUp serves a listener again that was reserved, with other settings. It reports whether pc has one.
func (q *quicListeners) takeUp(pc net.PacketConn, o handshake.Options) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.reservedLocked(pc)
	if l == nil {
		return false
	}
	l.terminator.Change(o)
	l.reserved = false
	l.retired.Store(false)
	return true
}

// closeRetired closes the socket of a listener without clients, unless it is taken up again, or is closed already.
func (q *quicListeners) closeRetired(l *quicListener) {
	q.mu.Lock()
	at := slices.Index(q.list, l)
	gone := at >= 0 && l.retired.Load() && !l.reserved
	if gone {
		q.list = slices.Delete(q.list, at, at+1)
	}
	q.mu.Unlock()
	if gone {
		l.h3.Close()
	}
}

// goodbye sends GOAWAY on every connection. Who begins one from now on is refused at once: pace drains.
func (q *quicListeners) goodbye() {
	for _, l := range q.stop() {
		l.goodbye()
	}
}

// open returns how many connections there are.
func (q *quicListeners) open() (n int64) {
	for _, l := range q.all() {
		n += l.open()
	}
	return n
}

// close closes the sockets, and with them what is left of the connections.
func (q *quicListeners) close() {
	for _, l := range q.all() {
		l.h3.Close()
	}
}
