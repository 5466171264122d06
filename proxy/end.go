package proxy

import (
	"context"
	"net/http"
	"runtime/debug"

	"pace/proxy/upstream"
	"pace/telemetry"
)

// end lets go of the request's and the response's body, whatever happened, and then closes the record.
func (q *request) end() {
	defer q.close()
	if p := recover(); p != nil {
		q.failed(p, string(debug.Stack()))
	}
	q.h.at(inEnd)
	if q.body != nil {
		q.rec.Enter(telemetry.ReadRequest) // what is left of it may keep us a moment
		q.body.NoFurther()
	}
	bug := q.resp.Close()
	q.leaveBackend(q.said()) // only now, since others may use the room
	if bug != nil {
		q.failed(bug, string(debug.Stack()))
	}
	if q.body != nil {
		q.rec.Enter(telemetry.Own)
		q.body.HandOver(q.client.broken)
		q.rec.BytesIn += q.body.Received() // beside a stream's own
	}
	q.endCopy()
}

// close closes the record, also after a panic of end.
func (q *request) close() {
	if bug := recover(); bug != nil {
		q.spoiled = true
		q.failedTwice(bug)
		q.dropCopy()
	}
	q.leaveBackend(upstream.Result{}) // if end did not come so far
	q.timeout.release()
	q.client.countRest()
	q.living.Hide() // from here on nobody looks at the record, nor interrupts
	if q.body != nil {
		q.body.Rest()
		q.body.Release()
	}
	q.h.at(inRecord)
	q.h.Telemetry.End(q.rec)
}

// leave lets draining know that the request is over, and aborts the client's connection if its response is
// not whole. A panic that comes this far came from closing the record: the request cannot be counted any
// more, and its client's connection ends.
func (q *request) leave() {
	p := recover()
	broken := q.client.broken || q.living.Stalled()
	q.living.End()
	if p != nil {
		q.h.logPanic(context.Background(), p, "")
		panic(http.ErrAbortHandler)
	}
	if !q.spoiled {
		q.release()
	}
	if broken {
		panic(http.ErrAbortHandler)
	}
}

// abort ends a response that is not whole.
func (q *request) abort(e ending) {
	q.client.abort()
	if e.unread != nil {
		q.client.flush() // the status that the record has
	}
}
