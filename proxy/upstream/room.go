package upstream

import (
	"context"

	"pace/lb"
	"pace/proxy/transport"
)

// How many requests a backend gets at once is bounded by reservation: whoever picks a backend has room for one request
// there, until [Backend.End]. So two picks cannot both take the last room. Over HTTP/1.1 a request needs a connection of
// its own, so the limit of connections bounds requests, too. It also bounds the connections themselves, in
// [http1.Pool.Limit]: one that a client has logged in on is kept while no request uses it. Over HTTP/2 a connection
// carries many requests, so only the pool knows whether there is room, and says so when it is asked.

// reserve reserves room for one request at a backend, if there is any. It captures nothing: a pick allocates nothing.
func reserve(b *lb.Backend) bool { return b.TryBegin(owner(b).limit.Load()) }

// hasRoom reports whether there is room for one request at a backend, at this moment.
func hasRoom(b *lb.Backend) bool {
	limit := owner(b).limit.Load()
	return limit == 0 || int64(b.InFlight()) < limit
}

// limitTo bounds the requests in flight at b, and its connections; 0: no bound.
func (b *Backend) limitTo(requests, connections int) {
	limit := requests
	if b.scheme == HTTP && connections > 0 && (limit == 0 || connections < limit) {
		limit = connections
	}
	b.limit.Store(int64(limit))
	if b.conns != nil {
		b.conns.Limit(connections)
	}
}

// Resolve returns the backend that an attempt at b goes to: b, unless b is a name that was never resolved. Then it
// resolves the name and returns one of its addresses; the request is in flight there, and no more at b. If it returns
// an error, of type [*transport.Error], the request is still in flight at b. onPhase is told of a lookup; it may be nil.
func (b *Backend) Resolve(ctx context.Context, onPhase func(transport.Phase)) (*Backend, error) {
	if b.unknown == nil {
		return b, nil
	}
	if onPhase != nil {
		onPhase(transport.DNS)
	}
	resolved, kind, err := b.unknown.resolve(ctx)
	switch {
	case err == nil:
		b.condition.unsaid.Add(1)
		b.End()
		return resolved, nil
	case ctx.Err() != nil:
		kind, err = transport.Canceled, context.Cause(ctx)
	}
	return nil, &transport.Error{Kind: kind, Phase: transport.DNS, Err: err}
}

var errFull = transport.NewFault("each address of the name has as many requests in flight as it may")
