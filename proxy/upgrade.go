package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"pace/proxy/transport"
	"pace/telemetry"
)

// upgrade answers 101 and joins the two connections until both have ended. The request's metrics
// are written as the stream begins: a connection that lives for hours is not a request of hours.
func (q *request) upgrade() {
	server, early := q.resp.Hijack()
	defer server.Close()
	client, buffered, err := http.NewResponseController(q.w).Hijack()
	if err != nil {
		panic("pace: BUG: a switch that net/http does not allow: " + err.Error())
	}
	q.answered = true
	defer client.Close()
	q.living.BecomeStream(client)
	client.SetDeadline(time.Time{})
	q.rec.Outcome = telemetry.Upgraded
	if err := q.writeSwitch(client, early); err != nil {
		q.rec.Outcome, q.rec.LeftIn = telemetry.ClientAborted, telemetry.Deliver
		return
	}
	q.h.Telemetry.BecomeStream(q.rec, streamKind(q.out.Upgrade))
	q.rec.Moved(0, int64(len(early)))
	s := &stream{q: q, client: client, server: server}
	s.join(buffered.Reader)
	q.rec.BytesOut += int64(len(early))
}

func streamKind(protocol string) telemetry.StreamKind {
	if strings.EqualFold(protocol, "websocket") {
		return telemetry.WebSocket
	}
	return telemetry.OtherUpgrade
}

// writeSwitch writes the 101 and what the backend sent right behind it.
func (q *request) writeSwitch(client net.Conn, early []byte) error {
	h := http.Header{}
	q.copyFields(h)
	delete(h, "Content-Length") // a 101 has no body (RFC 9110 §8.6)
	delete(h, "Trailer")
	sayUpgrade(h, q.resp.Fields)
	w := bufio.NewWriter(client)
	io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\n")
	h.Write(w)
	io.WriteString(w, "\r\n")
	w.Write(early)
	return w.Flush()
}

// sayUpgrade keeps the protocols that the backend names, which are hop-by-hop fields, in an answer over
// HTTP/1: of a 101, and of a 426, which would mean nothing without them (RFC 9110 §15.5.22).
func sayUpgrade(h http.Header, fields []transport.Field) {
	for _, f := range fields {
		if f.Name == "Upgrade" {
			h["Upgrade"] = append(h["Upgrade"], f.Value)
		}
	}
	if h["Upgrade"] != nil {
		h["Connection"] = append(h["Connection"], "Upgrade")
	}
}
