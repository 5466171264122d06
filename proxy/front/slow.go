package front

import (
	"context"
	"time"

	"pace/telemetry"
)

// watchSlow reports each exchange that runs for longer than SlowAfter, once, before it ends. A stream may live
// for as long as it likes. It returns when ctx ends; changed wakes it after a change of the settings.
func (s *Server) watchSlow(ctx context.Context, changed <-chan struct{}) {
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		after := s.settings.Load().SlowAfter
		if look.Stop(); after > 0 {
			look.Reset(max(after/10, 50*time.Millisecond))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case now := <-look.C:
			for x := range s.InFlight.shown() {
				if !x.slow && now.Sub(x.record.Start) >= after && x.record.Present().Stream == telemetry.NoStream {
					x.slow = true
					s.reportSlow(x)
				}
			}
		}
	}
}

// reportSlow calls OnSlow for x. x.mu is held. A panic here would end pace, because the goroutine serves all
// exchanges.
func (s *Server) reportSlow(x *Exchange) {
	defer x.conn.Survive()
	s.OnSlow(x.record)
}
