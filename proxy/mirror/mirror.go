// Package mirror decides which requests are copied to another upstream, and keeps the copies until they can be
// sent. It is bounded: what would take more memory or more connections than it may is not copied, and counted
// as lost by whoever asked. Nothing of a copy delays or changes the exchange that it is made of.
//
// It must not know the client's side, records, or how a copy is sent.
package mirror

import (
	"bytes"
	"io"
	"math/rand/v2"

	"pace/proxy/transport"
	"pace/proxy/upstream"
)

const (
	maxCopies    = 64       // that a mirror may have at once, from the beginning of the request that is copied
	maxBodyBytes = 64 << 10 // of a request that is copied
)

// Mirror copies requests to an upstream. Safe for concurrent use.
type Mirror struct {
	Upstream *upstream.Upstream
	share    float64
	slots    chan struct{} // one for each copy
}

// New returns a Mirror that copies a share of the requests, from 0 to 1.
func New(up *upstream.Upstream, share float64) *Mirror {
	return &Mirror{Upstream: up, share: share, slots: make(chan struct{}, maxCopies)}
}

// Lack is why a request is not copied.
type Lack uint8

// The reasons.
const (
	Nothing      Lack = iota // it is copied
	NotChosen                // it is not in the share
	Slots                    // too many copies are on their way
	BodyTooLarge             // it is announced as larger than what may be kept
)

// Copy begins the copy of a request whose body has this length; -1: unknown. The caller ends it, by Close.
func (m *Mirror) Copy(length int64) (*Copy, Lack) {
	switch {
	case m.share < 1 && rand.Float64() >= m.share:
		return nil, NotChosen
	case length > maxBodyBytes:
		return nil, BodyTooLarge
	}
	select {
	case m.slots <- struct{}{}:
		return &Copy{Request: transport.Request{ContentLength: length}, mirror: m, whole: length == 0}, Nothing
	default:
		return nil, Slots
	}
}

// Copy is one request for the mirror. It belongs to one goroutine at a time.
type Copy struct {
	Request transport.Request // without its body until the copy is Ready

	mirror *Mirror
	kept   []byte // of the body
	whole  bool   // the body has been read to its end
	over   bool   // the body is too large
}

// Keep returns a reader of a request's body that keeps what is read of it for the copy.
func (c *Copy) Keep(body io.Reader) io.Reader { return &keeper{body, c} }

// keeper is a body on its way to the backend.
type keeper struct {
	body io.Reader
	copy *Copy
}

func (k *keeper) Read(p []byte) (int, error) {
	n, err := k.body.Read(p)
	c := k.copy
	switch {
	case c.over:
	case len(c.kept)+n > maxBodyBytes:
		c.kept, c.over = nil, true
	default:
		c.kept = append(c.kept, p[:n]...)
	}
	if err == io.EOF || c.Request.ContentLength >= 0 && int64(len(c.kept)) >= c.Request.ContentLength {
		c.whole = true
	}
	return n, err
}

// Again notes that the body is read once more from its beginning, for another attempt.
func (c *Copy) Again() { c.kept, c.whole, c.over = nil, false, false }

// Ready reports whether the whole request is there, and gives the copy its body. lost says that there was too
// much of it.
func (c *Copy) Ready() (ready, lost bool) {
	if c.over || !c.whole {
		return false, c.over
	}
	if n := len(c.kept); n > 0 {
		c.Request.Body, c.Request.ContentLength = bytes.NewReader(c.kept), int64(n)
	} else if c.Request.ContentLength < 0 {
		c.Request.ContentLength = 0
	}
	return true, false
}

// Close makes room for another copy.
func (c *Copy) Close() { <-c.mirror.slots }
