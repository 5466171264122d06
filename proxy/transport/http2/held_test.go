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
	"time"

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
	refuse error // what each write fails with
}

func (n *noting) Write(b []byte) (int, error) {
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
		if rest, whole = n.frames.Next(rest, keepNothing); whole && n.frames.Stream() > 0 {
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
	p.next = p.next[1:]
	return n, nil
}

func TestDo_WritesWhatIsThereAtOnce(t *testing.T) {
	for _, tt := range []struct {
		name    string
		body    *comingBody // nil: none
		trailer bool
		length  int64
		want    []string
	}{
		{"a request without a body", nil, false, 0, []string{"HEADERS+END"}},
		{"a body that is there", &comingBody{next: []string{"hello"}}, false, -1, []string{"HEADERS DATA+END"}},
		{"one of known length", &comingBody{next: []string{"hello"}}, false, 5, []string{"HEADERS DATA+END"}},
		{"one in several pieces", &comingBody{next: []string{"hello", " ", "world"}}, false, -1, []string{"HEADERS DATA+END"}},
		{"one that may have a trailer", &comingBody{next: []string{"hello"}}, true, -1, []string{"HEADERS DATA HEADERS+END"}},
		{"one that is too large to wait", &comingBody{next: []string{strings.Repeat("x", frames.MaxHeld), "y"}}, false, -1, []string{"HEADERS", "DATA", "DATA+END"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, conn := notingPool(t, backend(t, readsAll), Options{})
			p.patience = time.Hour
			req := get("/")
			if tt.body != nil {
				req = post("")
				req.Body, req.BodyReady, req.ContentLength = tt.body, tt.body.Ready, tt.length
			}
			if tt.trailer {
				req.Trailer = func() http.Header { return http.Header{"X-Sum": {"5"}} }
			}
			fetch(t, p, req)
			eventually(t, "the request has come to its end", func() bool {
				all := conn().taken()
				return len(all) > 0 && strings.HasSuffix(all[len(all)-1], "END")
			})
			if got := conn().taken(); !slices.Equal(got, tt.want) {
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
			p.patience = time.Hour
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

// Requests that begin at the same time go out together.
func TestConn_WritesRequestsTogether(t *testing.T) {
	p, conn := notingPool(t, backend(t, readsAll), Options{})
	p.patience = time.Hour
	fetch(t, p, get("/")) // the connection is there
	p.mu.Lock()
	c := p.conns[0]
	p.mu.Unlock()
	other := newExchange()
	c.expect(other, true)
	var done sync.WaitGroup
	for range 3 {
		done.Go(func() { fetch(t, p, get("/")) })
	}
	eventually(t, "all are written", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.newest.id == 7 && c.newest.taken && c.following == 1
	})
	if got := conn().taken(); len(got) != 1 {
		t.Errorf("the writes were %q, although one more request was about to be written", got)
	}
	c.expect(other, false)
	c.sendUnlessMore()
	done.Wait()
	if got := conn().taken(); len(got) != 2 {
		t.Errorf("the writes were %q, want one for three requests", got)
	}
}

// What does not come holds up nothing.
func TestConn_WaitsForNothingLong(t *testing.T) {
	p, conn := notingPool(t, backend(t, readsAll), Options{})
	body := &comingBody{next: []string{"hello"}, wait: make(chan struct{})}
	req := post("")
	req.Body, req.ContentLength, req.BodyReady = body, -1, func() bool { return true } // it lies
	done := make(chan struct{})
	go func() {
		defer close(done)
		fetch(t, p, req)
	}()
	eventually(t, "the header has gone out", func() bool { return len(conn().taken()) == 1 })
	fetch(t, p, get("/"))
	close(body.wait)
	<-done
}

// A request that waited when the connection broke fails as one that could not be written.
func TestConn_FailsWhatCannotBeSent(t *testing.T) {
	p, conn := notingPool(t, backend(t, readsAll), Options{})
	fetch(t, p, get("/"))
	conn().mu.Lock()
	conn().refuse = &net.OpError{Op: "write", Err: os.ErrClosed}
	conn().mu.Unlock()
	e := failure(t, p, get("/"))
	if e.Kind != transport.Reset || e.BytesSent != 0 || !errors.Is(e, os.ErrClosed) {
		t.Errorf("got %+v", e)
	}
	eventually(t, "no connection is left", func() bool { return p.Open() == 0 })
}
