package http2

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
)

// A backend that opens no window for a body has stalled.
func TestUpload_Stalls(t *testing.T) {
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 10}}, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool { return true })
	p := pool(t, b.Address, Options{ResponseTimeout: 100 * time.Millisecond})
	for _, ready := range []bool{false, true} {
		req := post(strings.Repeat("x", 100))
		if ready {
			req.BodyReady = func() bool { return true }
		}
		if e := failure(t, p, req); e.Kind != transport.Stalled || e.Phase != transport.Send || e.BytesSent == 0 {
			t.Errorf("%+v", e)
		}
	}
}

// A body is sent as the backend opens its windows, also if it makes them smaller meanwhile.
func TestUpload_HeedsTheWindows(t *testing.T) {
	const size = 300_000
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1000}, {ID: http2.SettingMaxFrameSize, Val: 20000}}, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		id, stream, conn, got := f.StreamID, 1000, usualWindow, 0
		for step := 0; ; {
			f, err := c.ReadFrame()
			if err != nil {
				return false
			}
			d, ok := f.(*http2.DataFrame)
			if !ok {
				continue
			}
			step++
			got += len(d.Data())
			stream -= len(d.Data())
			conn -= len(d.Data())
			if stream < 0 && step > 3 || conn < 0 { // the first ones may have been on their way when the window became smaller
				t.Errorf("more than the windows: %d, %d", stream, conn)
			}
			if d.StreamEnded() {
				c.respond(id, false, ":status", "200")
				c.WriteData(id, true, fmt.Append(nil, got))
				return true
			}
			if step == 1 {
				c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
				stream -= 990 // below 0, for all of it was used
			}
			if stream < 500 {
				c.WriteWindowUpdate(id, 7000)
				stream += 7000
			}
			if conn < 20000 {
				c.WriteWindowUpdate(0, 50000)
				conn += 50000
			}
		}
	})
	p := pool(t, b.Address, Options{})
	for _, ready := range []bool{false, true} {
		req := post(strings.Repeat("x", size))
		if ready {
			req.BodyReady = func() bool { return true }
		}
		if h, body := fetch(t, p, req); h.Status != 200 || body != fmt.Sprint(size) {
			t.Errorf("%d, %q", h.Status, body)
		}
		p.retire(p.conns[0])
	}
}

// A response that is whole stays so if the rest of the request's body fails.
func TestUpload_FailsAfterAWholeResponse(t *testing.T) {
	b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		c.ok(f.StreamID, "hello")
		return true
	})
	p := pool(t, b.Address, Options{})
	fails := make(chan struct{})
	req := post("")
	req.ContentLength = -1
	req.Body = bodyOf(func([]byte) (int, error) { <-fails; return 0, errors.New("the client's") })
	var resp transport.Response
	defer resp.Close()
	if err := p.Do(t.Context(), req, &resp); err != nil {
		t.Fatal(err)
	}
	x := resp.Exchange.(*exchange)
	eventually(t, "the response is whole", func() bool { x.Mu.Lock(); defer x.Mu.Unlock(); return x.body.ended })
	close(fails)
	x.running.Wait()
	if body, err := readAll(&resp); body != "hello" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
}

// Nothing is queued behind a header that is not sent any more.
func TestPut_NothingAfterTheEnd(t *testing.T) {
	p := pool(t, backend(t, readsAll), Options{})
	x, c := waiter(t, p)
	if ok, err := x.useNew(c); !ok || err != nil {
		t.Fatal(err)
	}
	x.req.Body, x.req.ContentLength = strings.NewReader("hello"), 5
	x.upload.begin()
	x.header.Render(x.req, "http")
	if ok, err := x.open(c, false); !ok || err != nil {
		t.Fatal(err)
	}
	c.mu.Lock() // what end does until it reports to the exchanges
	c.over, c.lost, x.sent = true, io.EOF, 0
	c.queueLast(0)
	c.mu.Unlock()
	x.upload.read()
	if x.upload.put() || x.bytesSent() != 0 {
		t.Errorf("%d bytes count as sent", x.bytesSent())
	}
}

// A server of gRPC ends a call, and resets the stream because it needs no more of the request. The body is stopped, and once
// more when the response is closed: until then the caller may have left the client time.
func TestClose_StopsABodyThatWasStoppedBefore(t *testing.T) {
	reading := make(chan struct{})
	b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		<-reading
		c.ok(f.StreamID, "hello")
		c.WriteRSTStream(f.StreamID, http2.ErrCodeNo)
		return true
	})
	p := pool(t, b.Address, Options{})
	req, stops := post(""), make(chan bool, 2)
	req.ContentLength = -1
	req.StopBody = func() { stops <- true }
	req.Body = bodyOf(func([]byte) (int, error) {
		close(reading)
		<-stops
		<-stops
		return 0, io.ErrUnexpectedEOF
	})
	var resp transport.Response
	if err := p.Do(t.Context(), req, &resp); err != nil {
		t.Fatal(err)
	}
	x := resp.Exchange.(*exchange)
	eventually(t, "the body is stopped", func() bool { x.Mu.Lock(); defer x.Mu.Unlock(); return x.upload.closed })
	if body, err := readAll(&resp); body != "hello" || err != nil {
		t.Errorf("%q, %v", body, err)
	}
	resp.Close()
}

// What was read of a body is given back, all of it, if the backend has not processed the request, and an array holds it.
func TestUpload_IsGivenBack(t *testing.T) {
	refused := func(c *rawConn, id uint32) { c.WriteRSTStream(id, http2.ErrCodeRefusedStream) }
	for name, tt := range map[string]struct {
		size, piece int // of the body, and of what one Read returns
		unknown     bool
		ends        func(c *rawConn, id uint32)
		want        bool
	}{
		"refused":                           {5, 5, false, refused, true},
		"GOAWAY":                            {5, 5, true, func(c *rawConn, _ uint32) { c.WriteGoAway(0, http2.ErrCodeNo, nil) }, true},
		"a large array":                     {largeUpload, largeUpload, false, refused, true},
		"in pieces":                         {largeUpload, 1000, false, refused, true},
		"of unknown length":                 {smallUpload + 5, largeUpload, true, refused, true},
		"of unknown length, in pieces":      {smallUpload - 5, 1000, true, refused, true},
		"of unknown length, in many pieces": {smallUpload + 5, 1000, true, refused, false},
		"too large":                         {largeUpload + 1, largeUpload, false, refused, false},
		"perhaps processed":                 {5, 5, false, func(c *rawConn, id uint32) { c.WriteRSTStream(id, http2.ErrCodeCancel) }, false},
	} {
		b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			for got := 0; got < min(tt.size, usualWindow); {
				f, err := c.ReadFrame()
				if err != nil {
					return false
				}
				if d, ok := f.(*http2.DataFrame); ok {
					got += len(d.Data())
				}
			}
			tt.ends(c, f.StreamID)
			return true
		})
		whole := strings.Repeat("0123456789", tt.size/10+1)[:tt.size]
		req, left := post(whole), strings.NewReader(whole)
		if tt.unknown {
			req.ContentLength = -1
		}
		req.Body = bodyOf(func(p []byte) (int, error) { return left.Read(p[:min(len(p), tt.piece)]) })
		var got []string
		req.TakeBack = func(read []byte) { got = append(got, string(read)) }
		failure(t, pool(t, b.Address, Options{}), req)
		if (len(got) == 1 && got[0] == whole) != tt.want || len(got) > 1 {
			t.Errorf("%s: got back %d times, as it was: %v", name, len(got), len(got) == 1 && got[0] == whole)
		}
	}
}
