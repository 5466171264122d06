package limiter

import (
	"math"
	"unsafe"
)

// MemoryBound returns the limit, in bytes, of the heap that a Window of these options holds, whatever its
// clients do; math.MaxInt64 if an int64 cannot hold the number. It is
//
//	MaxKeys × (64 + 8 + 8·Max·5/4 + 8) + shards × (128 + 2·8192)
//
// An entry has 64 bytes, its share of the hash chains at most 8, and each request in its quota 8. The
// allocator rounds a block up by at most a quarter and 8 bytes, and a shard's two tables up to pages of
// 8192 bytes. While a shard is resized, it has its old and its new table for a moment. As with everything
// on a Go heap, the process needs GOGC percent more than what is held.
func (o Options) MemoryBound() int64 {
	o = o.withDefaults()
	perKey := float64(unsafe.Sizeof(entry{})) + 16 + 10*float64(o.Max)
	perShard := float64(unsafe.Sizeof(shard{})) + 2*8192
	bound := float64(o.MaxKeys)*perKey + float64(o.shardCount())*perShard
	if bound >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(bound)
}
