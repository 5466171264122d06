package telemetry

// methods are those that the semantic conventions know, followed by the word for all others.
var methods = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY", OtherMethod}

// OtherMethod stands for every unknown method, since a client can invent any number of them.
const OtherMethod = "_OTHER"

// MethodCount is the number of methods that [MethodIndex] distinguishes.
const MethodCount = len(methods)

var methodIndexes = func() map[string]int {
	of := map[string]int{}
	for i, m := range methods {
		of[m] = i
	}
	return of
}()

// Methods returns all that [KnownMethod] may return.
func Methods() []string { return methods[:] }

// MethodIndex returns the index in [Methods] of m, or of [OtherMethod] if m is unknown.
func MethodIndex(m string) int {
	if i, ok := methodIndexes[m]; ok {
		return i
	}
	return MethodCount - 1
}

// KnownMethod returns m, or [OtherMethod] if the semantic conventions do not know m.
func KnownMethod(m string) string { return methods[MethodIndex(m)] }

// isKnownMethod reports whether the semantic conventions know m.
func isKnownMethod(m string) bool { return KnownMethod(m) == m }
