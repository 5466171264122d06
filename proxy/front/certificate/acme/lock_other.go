//go:build !unix

package acme

// lockFile locks nothing: here no two processes may share a storage.
func lockFile(string) (release func(), err error) { return func() {}, nil }
