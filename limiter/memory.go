package limiter

import (
	"math"
	"unsafe"
)

// MemoryBound is the most heap in bytes that a Window of these options can hold on to,
// whatever its clients do; math.MaxInt64 if it is more than an int64 can say. It is
//
//	MaxKeys × (64 + 8 + 8·Max·5/4 + 8) + shards × (128 + 2·8192)
//
// An entry has 64 bytes, its share of the hash chains at most 8, a place 8; the allocator
// rounds a block up by a quarter and 8 bytes at most, and a shard's two tables to pages of
// 8192. While it grows or shrinks, one shard has its old and its new table for a moment.
// As with everything on a Go heap, the process needs GOGC percent more than what is held.
func (o Options) MemoryBound() int64 {
	o = o.withDefaults()
	perKey := float64(unsafe.Sizeof(entry{})) + 16 + 10*float64(o.Max)
	perShard := float64(unsafe.Sizeof(shard{})) + 2*8192
	bound := float64(o.MaxKeys)*perKey + float64(o.shards())*perShard
	if bound >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(bound)
}
