package pacetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"
)

// H3 is HTTP/3, which is always over TLS: see [CA.H3].
const H3 Mode = "h3"

// H3Client speaks HTTP/3, over one connection to an address at a time.
type H3Client struct {
	*http.Client
	Transport *http3.Transport
	Dials     atomic.Int64
	conns     sync.Map // by address, the *quic.Conn that was dialled last
}

// Conn returns the connection to an address, which must have been dialled.
func (c *H3Client) Conn(addr string) *quic.Conn {
	conn, _ := c.conns.Load(addr)
	return conn.(*quic.Conn)
}

// H3 returns a client of the CA's that speaks HTTP/3 and asks for a name.
func (ca *CA) H3(name string) *H3Client { return H3Over(ca.t, ca.Config(name)) }

// H3Over returns a client that speaks HTTP/3 over TLS as c says.
func H3Over(t testing.TB, c *tls.Config) *H3Client {
	client := &H3Client{}
	client.Transport = &http3.Transport{
		TLSClientConfig: c, DisableCompression: true,
		Dial: func(ctx context.Context, addr string, tc *tls.Config, qc *quic.Config) (*quic.Conn, error) {
			client.Dials.Add(1)
			conn, err := quic.DialAddr(ctx, addr, tc, qc)
			if err == nil {
				client.conns.Store(addr, conn)
			}
			// http3 would call it itself if it dialled.
			if trace := httptrace.ContextClientTrace(ctx); trace != nil && trace.TLSHandshakeDone != nil {
				trace.TLSHandshakeDone(tls.ConnectionState{}, err)
			}
			return conn, err
		},
	}
	t.Cleanup(func() { client.Transport.Close() })
	client.Client = &http.Client{
		Transport: client.Transport, Timeout: 2 * Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return client
}

// H3Wire is a connection over HTTP/3 on which a test writes what it likes.
type H3Wire struct {
	*quic.Conn
	t testing.TB
}

// H3Wire connects to an address.
func (ca *CA) H3Wire(addr, name string) *H3Wire {
	ca.t.Helper()
	return ca.H3WireWith(addr, name, nil)
}

// H3WireWith connects to an address with settings of QUIC.
func (ca *CA) H3WireWith(addr, name string, over *quic.Config) *H3Wire {
	ca.t.Helper()
	c := ca.Config(name)
	c.NextProtos = []string{http3.NextProtoH3}
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := quic.DialAddr(ctx, addr, c, over)
	if err != nil {
		ca.t.Fatal(err)
	}
	ca.t.Cleanup(func() { conn.CloseWithError(0, "") })
	w := &H3Wire{conn, ca.t}
	control, err := conn.OpenUniStream()
	if err != nil {
		ca.t.Fatal(err)
	}
	control.Write([]byte{0, 4, 0}) // a control stream, and SETTINGS without any
	return w
}

// Stream opens a stream for a request, and writes bytes.
func (w *H3Wire) Stream(bytes []byte) *quic.Stream {
	w.t.Helper()
	s, err := w.OpenStream()
	if err != nil {
		w.t.Fatal(err)
	}
	s.Write(bytes)
	s.SetReadDeadline(time.Now().Add(Patience))
	return s
}

// Control returns the first stream that pace opens, its control stream.
func (w *H3Wire) Control() *quic.ReceiveStream {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), Patience)
	defer cancel()
	s, err := w.AcceptUniStream(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	s.SetReadDeadline(time.Now().Add(Patience))
	return s
}

// H3Headers is a HEADERS frame; pairs are names and values.
func H3Headers(pairs ...string) []byte {
	var block bytes.Buffer
	e := qpack.NewEncoder(&block)
	for i := 0; i < len(pairs); i += 2 {
		e.WriteField(qpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return append(quicvarint.Append([]byte{1}, uint64(block.Len())), block.Bytes()...)
}

// H3Data is a DATA frame.
func H3Data(data string) []byte {
	return append(quicvarint.Append([]byte{0}, uint64(len(data))), data...)
}

// H3Frame reads a frame of a stream.
func H3Frame(r *bufio.Reader) (kind uint64, payload []byte, err error) {
	if kind, err = quicvarint.Read(r); err != nil {
		return 0, nil, err
	}
	n, err := quicvarint.Read(r)
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(r, payload)
	return kind, payload, err
}

// H3Fields decodes the payload of a HEADERS frame.
func H3Fields(t testing.TB, payload []byte) map[string]string {
	t.Helper()
	fields := map[string]string{}
	next := qpack.NewDecoder().Decode(payload)
	for {
		f, err := next()
		if err == io.EOF {
			return fields
		}
		if err != nil {
			t.Fatal(err)
		}
		fields[f.Name] = f.Value
	}
}

// Never is a body of which nothing comes, until the test is over.
type Never struct{}

// Read implements io.Reader.
func (Never) Read([]byte) (int, error) {
	time.Sleep(3 * Patience)
	return 0, io.EOF
}
