package mirror

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pace/proxy/upstream"
)

func someUpstream() *upstream.Upstream {
	return upstream.New(upstream.Options{Name: "shadow", Addresses: []upstream.Address{{Addr: "10.0.0.1:80"}}}, nil)
}

func TestCopy_KeepsTheBody(t *testing.T) {
	for _, tt := range []struct {
		name        string
		length      int64 // as announced
		body        string
		read        int // of the body, -1: to its end
		ready, lost bool
	}{
		{"a body of known length is copied", 5, "12345", -1, true, false},
		{"also if nobody reads beyond its last byte", 5, "12345", 5, true, false},
		{"a body of unknown length is copied", -1, "12345", -1, true, false},
		{"also if it is empty", -1, "", -1, true, false},
		{"a body that was not read to its end is not", 5, "12345", 4, false, false},
		{"nor one of unknown length", -1, "12345", 5, false, false},
		{"the largest body is copied", -1, strings.Repeat("x", maxBodyBytes), -1, true, false},
		{"a larger one is not", -1, strings.Repeat("x", maxBodyBytes+1), -1, false, true},
	} {
		c, lack := New(someUpstream(), 1).Copy(tt.length)
		if lack != Nothing {
			t.Fatalf("%s: lacks %v", tt.name, lack)
		}
		var got bytes.Buffer
		r := c.Keep(iotest.OneByteReader(strings.NewReader(tt.body)))
		if tt.read < 0 {
			io.Copy(&got, r)
		} else {
			io.CopyN(&got, r, int64(tt.read))
		}
		if want := tt.body[:got.Len()]; got.String() != want {
			t.Errorf("%s: the backend gets %q", tt.name, got.String())
		}
		ready, lost := c.Ready()
		if ready != tt.ready || lost != tt.lost {
			t.Errorf("%s: ready %v, lost %v", tt.name, ready, lost)
		}
		if !ready {
			continue
		}
		var kept []byte
		if c.Request.Body != nil {
			kept, _ = io.ReadAll(c.Request.Body)
		}
		if string(kept) != tt.body || c.Request.ContentLength != int64(len(tt.body)) {
			t.Errorf("%s: the copy has %d bytes and announces %d, want %d", tt.name, len(kept), c.Request.ContentLength, len(tt.body))
		}
	}
}

func TestCopy_IsBounded(t *testing.T) {
	m := New(someUpstream(), 1)
	if _, lack := m.Copy(maxBodyBytes + 1); lack != BodyTooLarge {
		t.Errorf("a body that is too large: got %v", lack)
	}
	var copies []*Copy
	for range maxCopies {
		c, lack := m.Copy(0)
		if lack != Nothing {
			t.Fatalf("copy %d: got %v", len(copies), lack)
		}
		copies = append(copies, c)
	}
	if _, lack := m.Copy(0); lack != Slots {
		t.Errorf("one copy more: got %v", lack)
	}
	copies[0].Close()
	if _, lack := m.Copy(0); lack != Nothing {
		t.Errorf("after one has ended: got %v", lack)
	}
}

func TestCopy_OnlyOfTheShare(t *testing.T) {
	m, chosen := New(someUpstream(), 0.25), 0
	const n = 10_000
	for range n {
		if c, lack := m.Copy(0); lack == Nothing {
			chosen++
			c.Close()
		}
	}
	if chosen < n*22/100 || chosen > n*28/100 { // seven standard deviations
		t.Errorf("%d of %d are copied, want a quarter", chosen, n)
	}
	if _, lack := New(someUpstream(), 0).Copy(0); lack != NotChosen {
		t.Errorf("of a share of 0: got %v", lack)
	}
}
