package otlp

import (
	"net/http"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Later is a response that says: try again later.
type Later struct {
	Status int           // of HTTP; over gRPC 503 is UNAVAILABLE and 429 RESOURCE_EXHAUSTED
	After  time.Duration // Retry-After, in whole seconds, or RetryInfo; 0: the response does not say
}

// Delay makes the receiver give these responses to the next requests, in turn, before it responds as usual.
func (r *Recv) Delay(responses ...Later) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.later, r.arrivals = responses, []time.Time{}
}

// Arrivals returns when the requests came since [Recv.Delay] was called.
func (r *Recv) Arrivals() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.arrivals
}

// next returns the response to a request that is delayed.
func (r *Recv) next() (l Later, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.arrivals != nil {
		r.arrivals = append(r.arrivals, time.Now())
	}
	if len(r.later) == 0 {
		return Later{}, false
	}
	l = r.later[0]
	r.later = r.later[1:]
	return l, true
}

func (l Later) write(w http.ResponseWriter) {
	if l.After > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(l.After.Seconds())))
	}
	http.Error(w, "later", l.Status)
}

func (l Later) status() error {
	code := codes.Unavailable
	if l.Status == http.StatusTooManyRequests {
		code = codes.ResourceExhausted
	}
	s := status.New(code, "later")
	if l.After > 0 {
		s, _ = s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(l.After)})
	}
	return s.Err()
}
