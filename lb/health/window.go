package health

import "time"

// bucketCount is of how many parts a window is made: it moves on by one of them at a time.
const bucketCount = 10

// window counts the requests of the last part of a time, and those that failed.
//
// A success must cost next to nothing, so it is not counted: the caller passes how many attempts have ended in all,
// and the window notes that number when it moves on. For this it must see the first success of each bucket.
type window struct {
	start   time.Time
	begun   bool
	length  time.Duration
	at      int64 // the bucket of now: the number since start
	total   uint32
	buckets [bucketCount]part
}

type part struct{ requests, failures int }

// bucket returns the number of the bucket of a time.
func bucket(start, now time.Time, length time.Duration) int64 {
	if length <= 0 {
		return 0
	}
	return int64(now.Sub(start) / max(1, length/bucketCount))
}

// moveOn counts the attempts since the last call. total is how many have ended, the one at now included.
func (w *window) moveOn(now time.Time, length time.Duration, total uint32) {
	if !w.begun || w.length != length {
		*w = window{start: w.start, begun: true, length: length, at: bucket(w.start, now, length), total: total - 1}
	}
	if at := bucket(w.start, now, length); at > w.at {
		w.count(total - 1)
		if at-w.at >= bucketCount {
			clear(w.buckets[:])
		} else {
			for i := w.at + 1; i <= at; i++ {
				w.buckets[i%bucketCount] = part{}
			}
		}
		w.at = at
	}
	w.count(total)
}

// count counts the attempts up to total in the present bucket.
func (w *window) count(total uint32) {
	if n := int32(total - w.total); n > 0 { // below 0: another attempt has moved on with a later total
		w.buckets[w.at%bucketCount].requests += int(n)
		w.total = total
	}
}

func (w *window) failed() { w.buckets[w.at%bucketCount].failures++ }

// sums returns how many requests of the window ended, and how many failed.
func (w *window) sums() (requests, failures int) {
	for _, b := range w.buckets {
		requests += b.requests
		failures += b.failures
	}
	return max(requests, failures), failures
}
