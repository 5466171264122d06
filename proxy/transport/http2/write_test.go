package http2

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"

	"pace/proxy/frames"
	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// noting notes which frames of streams go out together.
type noting struct {
	net.Conn
	mu     sync.Mutex
	skip   int // bytes of the preface
	frames frames.Reader
	writes []string
	first  []byte        // of each header
	refuse error         // what each write fails with
	halt   chan struct{} // each write waits until it is closed; nil: none does
}

func (n *noting) Write(b []byte) (int, error) {
	n.mu.Lock()
	halt := n.halt
	n.mu.Unlock()
	if halt != nil {
		<-halt
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		return 0, n.refuse
	}
	var one []string
	skip := min(n.skip, len(b))
	n.skip -= skip
	for rest := b[skip:]; len(rest) > 0; {
		var whole bool
		if rest, whole = n.frames.Next(rest, func(*frames.Reader) int { return 1 }); whole && n.frames.Stream() > 0 {
			if n.frames.Kind() == frames.Headers {
				n.first = append(n.first, n.frames.Payload[0])
			}
			word := fmt.Sprint(http2.FrameType(n.frames.Kind()))
			if n.frames.Kind() <= frames.Headers && n.frames.Has(frames.EndStream) {
				word += "+END"
			}
			one = append(one, word)
		}
	}
	if len(one) > 0 {
		n.writes = append(n.writes, strings.Join(one, " "))
	}
	return n.Conn.Write(b)
}

func (n *noting) taken() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.writes)
}

func (n *noting) set(halt chan struct{}, refuse error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.halt, n.refuse = halt, refuse
}

// notingPool returns a pool to a, and its first connection once it is dialed.
func notingPool(t testing.TB, a dial.Address, o Options) (*Pool, func() *noting) {
	first := make(chan *noting, 1)
	o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		n := &noting{Conn: c, skip: len(http2.ClientPreface)}
		select {
		case first <- n:
		default:
		}
		return n, err
	}
	return pool(t, a, o), sync.OnceValue(func() *noting { return <-first })
}

// readsAll is a backend that responds when it has read the request.
func readsAll(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	io.WriteString(w, "hello")
}

// comingBody is a body that comes in pieces. Ready tells the truth: the next piece is there, or the end.
type comingBody struct {
	next []string
	wait chan struct{} // before the last piece; nil: all are there
}

func (p *comingBody) Ready() bool {
	if p.wait == nil || len(p.next) != 1 {
		return true
	}
	select {
	case <-p.wait:
		return true
	default:
		return false
	}
}

func (p *comingBody) Read(b []byte) (int, error) {
	if len(p.next) == 0 {
		return 0, io.EOF
	}
	if p.wait != nil && len(p.next) == 1 {
		<-p.wait
	}
	n := copy(b, p.next[0])
	if p.next[0] = p.next[0][n:]; p.next[0] == "" {
		p.next = p.next[1:]
	}
	return n, nil
}

func TestDo_WritesWhatIsThereAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name    string
		body    *comingBody // nil: none
		trailer bool
		length  int64
		want    string // all writes
	}{
		{"a request without a body", nil, false, 0, "HEADERS+END"},
		{"a body that is there", &comingBody{next: []string{"hello"}}, false, -1, "HEADERS DATA+END"},
		{"one of known length", &comingBody{next: []string{"hello"}}, false, 5, "HEADERS DATA+END"},
		{"one in several pieces", &comingBody{next: []string{"hello", " ", "world"}}, false, -1, "HEADERS DATA+END"},
		{"one that may have a trailer", &comingBody{next: []string{"hello"}}, true, -1, "HEADERS DATA HEADERS+END"},
		{"one of known length with a trailer", &comingBody{next: []string{"hello"}}, true, 5, "HEADERS DATA HEADERS+END"},
		{"an empty one", &comingBody{}, false, -1, "HEADERS DATA+END"},
		{"an empty one with a trailer", &comingBody{}, true, -1, "HEADERS HEADERS+END"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, conn := notingPool(t, backend(t, readsAll), Options{})
			fetch(t, p, get("/")) // what a connection begins with may go out with the first request, or a part of it
			before := len(conn().taken())
			req := get("/")
			if tt.body != nil {
				req = post("")
				req.Body, req.BodyReady, req.ContentLength = tt.body, tt.body.Ready, tt.length
			}
			if tt.trailer {
				req.Trailer = func() http.Header { return http.Header{"X-Sum": {"5"}} }
			}
			fetch(t, p, req)
			if got := conn().taken()[before:]; len(got) != 1 || got[0] != tt.want {
				t.Errorf("the writes were %q, want %q", got, tt.want)
			}
		})
	}
}

// The backend must see the header of a request whose body comes later, and each piece of a body when it comes. The body
// goes on only when it has.
func TestDo_HoldsNothingThatNothingFollows(t *testing.T) {
	for _, tt := range []struct {
		name   string
		body   *comingBody
		knew   bool
		expect bool
		first  string // what has gone out before the last piece comes
	}{
		{"the body comes later", &comingBody{next: []string{"hello"}}, true, false, "HEADERS"},
		{"its second piece comes later", &comingBody{next: []string{"hello", "world"}}, true, false, "HEADERS DATA"},
		{"nobody knows when it comes", &comingBody{next: []string{"hello"}}, false, false, "HEADERS"},
		{"the backend has to ask for it", &comingBody{next: []string{"hello", "world"}}, true, true, "HEADERS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.body.wait = make(chan struct{})
			p, conn := notingPool(t, backend(t, readsAll), Options{})
			req := post("")
			req.Body, req.ContentLength, req.Expect = tt.body, -1, tt.expect
			if tt.knew {
				req.BodyReady = tt.body.Ready
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				fetch(t, p, req)
			}()
			eventually(t, "something has gone out", func() bool { return len(conn().taken()) > 0 })
			if got := conn().taken()[0]; got != tt.first {
				t.Errorf("%q went out, want %q", got, tt.first)
			}
			close(tt.body.wait)
			<-done
		})
	}
}

// Requests that come while another one is being written go out together.
func TestConn_WritesRequestsTogether(t *testing.T) {
	p, conn := notingPool(t, backend(t, readsAll), Options{})
	fetch(t, p, get("/")) // the connection is there
	halt := make(chan struct{})
	conn().set(halt, nil)
	var done sync.WaitGroup
	done.Go(func() { fetch(t, p, get("/")) })
	c := p.conns[0]
	queued := func(id uint32, due bool) func() bool {
		return func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.nextID == id && c.out.due == due
		}
	}
	eventually(t, "one is being written", queued(5, false))
	for range 3 {
		done.Go(func() { fetch(t, p, get("/")) })
	}
	eventually(t, "the others are queued", queued(11, true))
	conn().set(nil, nil)
	close(halt)
	done.Wait()
	if got := conn().taken(); len(got) != 3 || got[2] != "HEADERS+END HEADERS+END HEADERS+END" {
		t.Errorf("the writes were %q, want one for the last three requests", got)
	}
}

// What lies about being there holds up nobody else.
func TestConn_WaitsForNobody(t *testing.T) {
	p, conn := notingPool(t, backend(t, readsAll), Options{})
	body := &comingBody{next: []string{"hello"}, wait: make(chan struct{})}
	req := post("")
	req.Body, req.ContentLength, req.BodyReady = body, -1, func() bool { return true }
	done := make(chan struct{})
	go func() {
		defer close(done)
		fetch(t, p, req)
	}()
	eventually(t, "the first has its connection", func() bool { return carried(p) == 1 })
	fetch(t, p, get("/"))
	if got := len(conn().taken()); got == 0 {
		t.Error("nothing has gone out")
	}
	close(body.wait)
	<-done
}

// A request that waited when the connection broke fails as one that could not be written.
func TestConn_FailsWhatCannotBeSent(t *testing.T) {
	p, conn := notingPool(t, backend(t, readsAll), Options{})
	fetch(t, p, get("/"))
	conn().set(nil, &net.OpError{Op: "write", Err: os.ErrClosed})
	e := failure(t, p, get("/"))
	if e.Kind != transport.Reset || e.BytesSent != 0 || !errors.Is(e, os.ErrClosed) {
		t.Errorf("got %+v", e)
	}
	eventually(t, "no connection is left", func() bool { return p.Open() == 0 })
}

// slowly takes a little of each write until its deadline, and then all, or nothing.
type slowly struct {
	net.Conn
	mu     sync.Mutex
	pieces int // how often it takes a little
	stuck  bool
}

func (s *slowly) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.pieces > 0 && len(b) > 10:
		s.pieces--
		n, _ := s.Conn.Write(b[:10])
		return n, os.ErrDeadlineExceeded
	case s.stuck:
		return 0, os.ErrDeadlineExceeded
	}
	return s.Conn.Write(b)
}

// A backend that takes a little again and again gets the whole request. One that takes nothing any more is left.
func TestConn_WritesAsLongAsTheBackendTakesSome(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		var slow *slowly
		p := pool(t, backend(t, readsAll), Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			slow = &slowly{Conn: c}
			return slow, err
		}})
		fetch(t, p, get("/"))
		slow.mu.Lock()
		slow.pieces, slow.stuck = 3, stuck
		slow.mu.Unlock()
		req := get("/" + strings.Repeat("x", 100))
		if stuck {
			if e := failure(t, p, req); e.Kind != transport.ResponseTimeout || e.BytesSent == 0 {
				t.Errorf("got %+v", e)
			}
			continue
		}
		if h, body := fetch(t, p, req); h.Status != 200 || body != "hello" {
			t.Errorf("%d, %q", h.Status, body)
		}
		eventually(t, "such a connection serves no other request", func() bool { return p.Open() == 0 })
	}
}
