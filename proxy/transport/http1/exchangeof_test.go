package http1

import "pace/proxy/transport"

// Response is what the tests of this package call the type.
type Response = transport.Response

// exchangeOf returns the exchange behind resp, with one that Do will use if there is none yet.
func exchangeOf(resp *Response) *exchange {
	if resp.Exchange == nil {
		resp.Exchange = new(exchange)
	}
	return resp.Exchange.(*exchange)
}
