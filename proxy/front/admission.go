package front

import (
	"log/slog"
	"net/netip"
	"sync"

	"pace/telemetry"
)

// admission counts the connections that are open, in all and of each client, so that the limits of the settings
// hold when one is accepted. The zero value is ready. Safe for concurrent use.
type admission struct {
	mu    sync.Mutex // guards what follows, and the place of each Conn
	total int
	of    map[netip.Addr]int // no entry is 0, so there are no more entries than connections
}

// place is how a connection is counted. admission.mu guards it.
type place struct {
	counted bool
	client  netip.Addr // the zero Addr: the client is not known yet
}

// clientOf returns what stands for a client: its address, or the /64 of an IPv6 address, which is the smallest
// network that one subscriber gets.
func clientOf(a netip.Addr) netip.Addr {
	if a.Is6() {
		p, _ := a.Prefix(64) // no address is shorter
		return p.Addr()
	}
	return a
}

// enter counts c, if there are fewer than limit connections; 0: there is no limit.
func (a *admission) enter(c *Conn, limit int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if limit > 0 && a.total >= limit {
		return false
	}
	a.total++
	c.place.counted = true
	return true
}

// identify counts c as one of its client's, if that has fewer than limit; 0: there is no limit.
func (a *admission) identify(c *Conn, limit int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	client := clientOf(c.Peer.Addr)
	if limit > 0 && a.of[client] >= limit {
		return false
	}
	if c.place.counted { // else it has been closed meanwhile
		if a.of == nil {
			a.of = map[netip.Addr]int{}
		}
		a.of[client]++
		c.place.client = client
	}
	return true
}

// leave counts c no more.
func (a *admission) leave(c *Conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !c.place.counted {
		return
	}
	a.total--
	if client := c.place.client; client.IsValid() {
		if a.of[client]--; a.of[client] == 0 {
			delete(a.of, client)
		}
	}
	c.place = place{}
}

// admit counts a connection that was just accepted. If there are too many, it refuses the connection and reports
// false. Whose connection it is may only be known when the header of the PROXY protocol has come.
func (c *Conn) admit() bool {
	limit := c.server.settings.Load().MaxConnections
	if !c.server.open.enter(c, limit) {
		c.refuseConnection("server.max_connections", limit)
		return false
	}
	return c.announcement == mustAnnounce || c.admitClient()
}

// admitClient counts the connection as one of its client's, or refuses it and reports false.
func (c *Conn) admitClient() bool {
	limit := c.server.settings.Load().MaxConnectionsPerClient
	if !c.server.open.identify(c, limit) {
		c.refuseConnection("server.max_connections_per_client", limit)
		return false
	}
	return true
}

// refuseConnection refuses a connection beyond a limit. Its end is a reset, so that the kernel keeps nothing of it.
func (c *Conn) refuseConnection(key string, limit int) {
	c.server.refuse(telemetry.RefusedTooManyConnections, c, slog.String("key", key), slog.Int("limit", limit))
	c.ResetOnClose()
}
