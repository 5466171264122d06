package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

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
	defer q.h.streams.add(client)()
	client.SetDeadline(time.Time{})
	q.rec.Outcome = telemetry.Upgraded
	if err := q.writeSwitch(client, early); err != nil {
		q.rec.Outcome = telemetry.ClientAborted
		return
	}
	q.rec.BecomeStream(streamKind(q.out.Upgrade))
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
	h["Connection"] = []string{"Upgrade"}
	for _, f := range q.resp.Fields {
		if f.Name == "Upgrade" {
			h["Upgrade"] = []string{f.Value}
		}
	}
	w := bufio.NewWriter(client)
	io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\n")
	h.Write(w)
	io.WriteString(w, "\r\n")
	w.Write(early)
	return w.Flush()
}
