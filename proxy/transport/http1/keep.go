package http1

import (
	"io"
	"slices"
	"time"
)

// Kept is a whole response that is on no connection any more.
type Kept struct {
	Head
	body []byte
}

// Keep reads the rest of the body, and closes r. It returns nil if the body has more than limit bytes; then r goes
// on, and Next returns all of the body. An error is of Next, or the body has not come whole within wait: then r must
// be closed.
func (r *Response) Keep(limit int, wait time.Duration) (*Kept, error) {
	if r.ContentLength > int64(limit) {
		return nil, nil
	}
	usual, until := r.BodyTimeout, time.Now().Add(wait)
	for {
		r.BodyTimeout = max(time.Until(until), time.Nanosecond)
		piece, err := r.read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if r.ahead = append(r.ahead, piece...); len(r.ahead) > limit {
			r.BodyTimeout = usual
			return nil, nil
		}
	}
	k := &Kept{r.Head, r.ahead}
	k.Fields = slices.Clone(k.Fields) // the array is reused
	err := r.Close()
	k.BytesSent = r.BytesSent
	return k, err
}

// Recall makes r, which is closed, the response that was kept.
func (r *Response) Recall(k *Kept) {
	r.Head, r.ahead, r.kept = k.Head, k.body, true
}
