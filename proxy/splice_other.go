//go:build !linux

package proxy

// splice: only Linux moves bytes between two connections in the kernel.
func (q *request) splice() (done, whole bool) { return false, false }
