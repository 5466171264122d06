package limiter

import (
	"math"
	"math/bits"
	"unsafe"
)

// MemoryBound is the most heap in bytes that a Window of these options can hold on to,
// whatever its clients do; math.MaxInt64 if it is more than an int64 can say. It is
//
//	MaxKeys × (64 + 8 + 8·Max·5/4 + 8) + shards × (128 + 2·8192)
//
// An entry has 64 bytes, its share of the hash chains 4 to 8, a place 8; the allocator
// rounds up a block by a quarter at most, and a large one to a page of 8192. While it grows
// or shrinks, a shard has its old and its new table for a moment. As with everything on a
// Go heap, the process needs GOGC percent more than what is held.
func (o Options) MemoryBound() int64 {
	o = o.withDefaults()
	perKey := uint64(unsafe.Sizeof(entry{})) + 16
	places := uint64(o.Max) + uint64(o.Max)/4
	hi, lo := bits.Mul64(uint64(o.MaxKeys), 8*min(places, math.MaxInt64/16)+perKey)
	fixed := uint64(o.shards()) * (uint64(unsafe.Sizeof(shard{})) + 2*8192)
	if hi != 0 || lo > math.MaxInt64-fixed {
		return math.MaxInt64
	}
	return int64(lo + fixed)
}
