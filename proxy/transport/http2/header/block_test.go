package header

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// encoder makes header blocks of one connection.
type encoder struct {
	*hpack.Encoder
	bytes.Buffer
}

func newEncoder() *encoder {
	e := new(encoder)
	e.Encoder = hpack.NewEncoder(&e.Buffer)
	return e
}

func (e *encoder) block(fields ...string) []byte {
	e.Reset()
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return e.Bytes()
}

func TestBlock_ReadsOneAfterTheOther(t *testing.T) {
	var b Block
	b.Begin(1000)
	e := newEncoder()
	for range 3 { // from the second one on, all fields are in the table
		b.Reset(true)
		if err := b.Add(e.block(":status", "200", "content-type", "text/plain", "x-own", " a ", "set-cookie", "a=1", "set-cookie", "b=2"), true); err != nil {
			t.Fatal(err)
		}
		want := "200 [{Content-Type text/plain} {X-Own a} {Set-Cookie a=1} {Set-Cookie b=2}] true"
		if got := fmt.Sprint(b.Status, b.Fields, b.End); got != want || b.Malformed || b.TooLarge {
			t.Errorf("got %s, %+v", got, b)
		}
	}
}

// One that is too large is dropped, and the next one is read as if it had not been.
func TestBlock_DropsWhatIsTooLarge(t *testing.T) {
	var b Block
	b.Begin(200)
	e := newEncoder()
	b.Reset(false)
	if err := b.Add(e.block(":status", "200", "x-one", strings.Repeat("1", 50), "x-two", strings.Repeat("2", 100), "x-three", "3"), true); err != nil || !b.TooLarge || len(b.Fields) != 1 {
		t.Errorf("%v, %+v", err, b)
	}
	b.Reset(false)
	if err := b.Add(e.block(":status", "204", "x-three", "3"), true); err != nil || b.TooLarge || fmt.Sprint(b.Status, b.Fields) != "204 [{X-Three 3}]" {
		t.Errorf("%v, %+v", err, b)
	}
}

// A block of a few bytes may name a large field of the table again and again.
func TestBlock_KeepsNothingOfABomb(t *testing.T) {
	var b Block
	b.Begin(64 << 10)
	e := newEncoder()
	b.Reset(false)
	if err := b.Add(e.block("x", strings.Repeat("x", 4000)), true); err != nil {
		t.Fatal(err)
	}
	bomb := bytes.Repeat([]byte{0x80 | 62}, 100_000)
	b.Reset(false)
	if err := b.Add(bomb, true); err != nil || !b.TooLarge || b.Size > 70<<10 || len(b.Fields) > 17 {
		t.Errorf("%v, %d bytes, %d fields", err, b.Size, len(b.Fields))
	}
}

func TestBlock_EndsTheConnection(t *testing.T) {
	for name, tt := range map[string]struct {
		block []byte
		code  http2.ErrCode
		large bool
	}{
		"a string over four limits": {newEncoder().block("x", strings.Repeat("~", 5000)), http2.ErrCodeEnhanceYourCalm, true},
		"a block over four limits":  {bytes.Repeat([]byte{0x88}, 5000), http2.ErrCodeEnhanceYourCalm, true},
		"no such index":             {[]byte{0xfe}, http2.ErrCodeCompression, false},
		"a cut field":               {[]byte{0, 5, 'a'}, http2.ErrCodeCompression, false},
	} {
		var b Block
		b.Begin(1000)
		b.Reset(false)
		if err := b.Add(tt.block, true); !errors.Is(err, http2.ConnectionError(tt.code)) || b.TooLarge != tt.large {
			t.Errorf("%s: %v, too large: %v", name, err, b.TooLarge)
		}
	}
}

// FuzzBlock reads any blocks of a connection, in two parts. What is kept is valid, and of limited size.
func FuzzBlock(f *testing.F) {
	f.Add(newEncoder().block(":status", "200", "a", "b"), uint8(3))
	f.Add(newEncoder().block("a", "b", ":status", "200"), uint8(0))
	f.Fuzz(func(t *testing.T, block []byte, at uint8) {
		var b Block
		b.Begin(500)
		for range 2 {
			b.Reset(false)
			cut := min(int(at), len(block))
			if b.Add(block[:cut], false) != nil || b.Add(block[cut:], true) != nil {
				return
			}
			size := 0
			for _, f := range b.Fields {
				size += len(f.Name) + len(f.Value) + fieldOverhead
				if strings.ContainsAny(f.Name, "\r\n: \x00") || strings.ContainsAny(f.Value, "\r\n\x00") || f.Name == "" {
					t.Errorf("%q", f)
				}
			}
			if size > 500 || b.Status != 0 && (b.Status < 100 || b.Status > 999) {
				t.Errorf("%d bytes, status %d", size, b.Status)
			}
		}
	})
}
