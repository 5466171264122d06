package front

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// What net/http has reported as written may wait for what follows. It counts, unless the connection is over before.
func TestTaken_WhatWaitsGoesOut(t *testing.T) {
	const size = 5000 // more than net/http holds
	done := make(chan struct{})
	c := talk(t, time.Hour, func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		conn, id := ConnOf(r.Context()), StreamID(w)
		conn.ExpectMore(id)
		w.Write(make([]byte, size))
		if n := conn.Taken(id, size); n != size {
			t.Errorf("%d bytes count, want %d", n, size)
		}
		conn.lost.Store(true)
		if n := conn.Taken(id, size); n != 0 {
			t.Errorf("%d bytes count when the connection is lost, want none", n)
		}
		conn.lost.Store(false)
		conn.h2.GiveUp()
		if n := conn.Taken(id, size); n != 0 {
			t.Errorf("%d bytes count when the connection is given up, want none", n)
		}
	})
	c.send(1)
	<-done
	c.untilEnd(t, 1)
}

// A turn is waited for as long as the limit says: a client that reads nothing more does not keep an exchange from ending.
func TestTurn_LockWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mine := newTurn()
		mine.Lock()
		began := time.Now()
		if got, waited := mine.LockWithin(time.Second), time.Since(began); got || waited != time.Second {
			t.Errorf("got a turn that somebody has: %v, after %v; want none after 1 s", got, waited)
		}
		time.AfterFunc(time.Second/2, mine.Unlock)
		began = time.Now()
		if got, waited := mine.LockWithin(time.Second), time.Since(began); !got || waited != time.Second/2 {
			t.Errorf("got a turn that becomes free: %v, after %v; want it after 500 ms", got, waited)
		}
		if mine.TryLock() {
			t.Error("two have the turn")
		}
		mine.Unlock()
	})
}
