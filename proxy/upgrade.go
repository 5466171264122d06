package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"

	"pace/telemetry"
)

// upgrade answers 101 and joins the two connections until one of them ends. The request's metrics
// are written as the stream begins: a connection that lives for hours is not a request of hours.
func (q *request) upgrade() {
	server, early := q.resp.Hijack()
	defer server.Close()
	client, buffered, err := http.NewResponseController(q.w).Hijack()
	if err != nil {
		q.answer(telemetry.BadRequest)
		return
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
	q.rec.BecomeStream()
	q.rec.BytesIn, q.rec.BytesOut = join(client, buffered.Reader, server)
	q.rec.BytesOut += int64(len(early))
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

// join copies both ways until both have ended, and returns the bytes from and to the client. When
// one side has no more to say, the other is told so, and may finish.
func join(client net.Conn, read *bufio.Reader, server net.Conn) (in, out int64) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		in = pump(server, read, client)
	}()
	out = pump(client, server, server)
	<-done
	return in, out
}

// pump copies src to dst and hands on its end; an error ends both connections.
func pump(dst net.Conn, src io.Reader, from net.Conn) int64 {
	n, err := io.Copy(dst, src)
	if w, ok := dst.(interface{ CloseWrite() error }); err == nil && ok {
		w.CloseWrite()
		return n
	}
	dst.Close()
	from.Close()
	return n
}
