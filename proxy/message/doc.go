// Package message reads and writes what stands in the header of a message, as far as a proxy has to: which
// fields go on and which stay behind, what proxies in front say of a request and what is said to those behind,
// the target, and the form of a response. Its functions are pure: they take values and return values, and
// bound what they make of a field that somebody wrote.
//
// It must not know connections, bodies or records, nor any other package of pace.
package message
