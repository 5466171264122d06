package header

import (
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pace/proxy/transport"
)

// Block is a header block that is being read: the header of a response, or its trailer. Blocks must be read one after the
// other, also those of streams that have ended, since each may add to the table that the next one refers to.
type Block struct {
	End       bool              // its frame ends the stream
	Status    int               // 0: none
	Fields    []transport.Field // the next block has their array
	Size      int               // bytes so far, as RFC 9113 §6.5.2 counts them
	TooLarge  bool              // Size is over the limit; the rest of the fields was dropped
	Malformed bool

	decoder *hpack.Decoder
	limit   int // of Size
	raw     int // bytes of the block so far
}

const (
	// tableBytes is the size of the table that the backend may use. It is the one without any setting.
	tableBytes = 4096

	// patience is how many times as large as the limit a header may be before the connection is ended. Until then, only
	// its stream is.
	patience = 4
)

// Begin prepares b for the blocks of a connection. limit is that of their sizes.
func (b *Block) Begin(limit int) {
	b.limit = limit
	b.decoder = hpack.NewDecoder(tableBytes, b.field)
	b.decoder.SetMaxStringLength(patience * limit)
}

// Reset prepares b for the next block. end says that its frame ends the stream.
func (b *Block) Reset(end bool) {
	b.End, b.Status, b.Size, b.raw, b.TooLarge, b.Malformed = end, 0, 0, 0, false, false
	clear(b.Fields)
	b.Fields = b.Fields[:0]
	b.decoder.SetEmitEnabled(true)
}

// Add reads a part of the block. whole says that it is the last one. The error is an
// [http2.ConnectionError]: after it, the connection cannot be read any further.
func (b *Block) Add(part []byte, whole bool) error {
	if b.raw += len(part); b.raw > patience*b.limit {
		b.TooLarge = true
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	_, err := b.decoder.Write(part)
	if err == nil && whole {
		err = b.decoder.Close()
	}
	switch err {
	case nil:
		return nil
	case hpack.ErrStringLength:
		b.TooLarge = true
		return http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
	}
	return http2.ConnectionError(http2.ErrCodeCompression)
}

// field notes a field that was decoded.
func (b *Block) field(f hpack.HeaderField) {
	if b.Size += int(f.Size()); b.Size > b.limit {
		b.TooLarge = true
		b.decoder.SetEmitEnabled(false)
		return
	}
	if f.IsPseudo() {
		ok := f.Name == ":status" && b.Status == 0 && len(b.Fields) == 0
		if b.Status = statusOf(f.Value); !ok || b.Status == 0 {
			b.Malformed = true
		}
		return
	}
	if !isName(f.Name) || !httpguts.ValidHeaderFieldValue(f.Value) {
		b.Malformed = true
		return
	}
	b.Fields = append(b.Fields, transport.Field{Name: canonical(f.Name), Value: strings.Trim(f.Value, " \t")})
}

// statusOf returns a status; 0: s is none.
func statusOf(s string) (status int) {
	if len(s) != 3 || s[0] == '0' {
		return 0
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0
		}
		status = 10*status + int(s[i]-'0')
	}
	return status
}

// isName reports whether s is the name of a field, in lower case (RFC 9113 §8.2.1).
func isName(s string) bool {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return false
		}
	}
	return httpguts.ValidHeaderFieldName(s)
}

// canonical returns a name of lower case in canonical form.
func canonical(name string) string {
	if c, ok := canonicals[name]; ok {
		return c
	}
	return textproto.CanonicalMIMEHeaderKey(name)
}

// canonicals are the names that most responses have.
var canonicals = func() map[string]string {
	m := map[string]string{}
	for name := range strings.FieldsSeq(`
		Accept-Ranges Access-Control-Allow-Credentials Access-Control-Allow-Headers Access-Control-Allow-Methods
		Access-Control-Allow-Origin Access-Control-Expose-Headers Age Allow Cache-Control Content-Disposition
		Content-Encoding Content-Language Content-Length Content-Location Content-Range Content-Security-Policy Content-Type
		Date Etag Expires Grpc-Accept-Encoding Grpc-Encoding Grpc-Message Grpc-Status Grpc-Status-Details-Bin Last-Modified
		Link Location Pragma Referrer-Policy Retry-After Server Set-Cookie Strict-Transport-Security Trailer Vary Via
		Www-Authenticate X-Content-Type-Options X-Frame-Options X-Powered-By X-Request-Id X-Xss-Protection`) {
		m[strings.ToLower(name)] = name
	}
	return m
}()
