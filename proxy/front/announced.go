package front

import (
	"errors"
	"io"
	"log/slog"

	"pace/proxy/front/announced"
	"pace/proxy/message"
	"pace/telemetry"
)

// announcement is what a connection has to do with the PROXY protocol. The goroutine that reads owns it.
type announcement uint8

const (
	noAnnouncement announcement = iota // nothing, or its header has been read
	mustAnnounce                       // it must begin with a header
	mustNotClaim                       // it must not
	shut                               // it is refused, and nothing more is read
)

// announcementOf returns what a peer's connection must begin with.
func (n *ListenerSettings) announcementOf(p *message.Peer) announcement {
	switch {
	case len(n.Announced) == 0:
		return noAnnouncement
	case message.Contains(n.Announced, p.Addr):
		return mustAnnounce
	}
	return mustNotClaim
}

// readAnnouncement reads the header of a connection, before anything else of it. Whoever it names is the peer from
// then on. It reports whether the connection goes on.
func (c *Conn) readAnnouncement() bool {
	client, err := announced.Read(c.under())
	if err != nil {
		c.announcement = shut
		if !errors.Is(err, io.EOF) { // else the peer has closed it, as a health check does
			c.refuseAnnouncement(err)
		}
		return false
	}
	c.announcement = noAnnouncement
	if client.IsValid() {
		c.Peer = message.NewPeer(client, c.Peer.Scheme)
	}
	if !c.admitClient() {
		c.announcement = shut
		return false
	}
	return true
}

var errClaim = errors.New("a PROXY header of a peer that may not send one")

// claims refuses the connection of a peer that must not send a header, if its first bytes begin one.
func (c *Conn) claims(first []byte) bool {
	c.announcement = noAnnouncement
	if !announced.Begins(first) {
		return false
	}
	c.announcement = shut
	c.refuseAnnouncement(errClaim)
	return true
}

func (c *Conn) refuseAnnouncement(err error) {
	c.server.refuse(telemetry.RefusedProxyHeader, c, slog.String("error", err.Error()))
}
