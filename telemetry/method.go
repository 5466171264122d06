package telemetry

// methods are those that semantic conventions know, and, at last, the word for all others.
var methods = [...]string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY", OtherMethod}

// OtherMethod stands for a method that nobody has heard of, which a client may invent at will.
const OtherMethod = "_OTHER"

// MethodCount is how many methods [MethodIndex] tells apart.
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

// MethodIndex returns the index of m, or of what it is folded to, in [Methods].
func MethodIndex(m string) int {
	if i, ok := methodIndexes[m]; ok {
		return i
	}
	return MethodCount - 1
}

// KnownMethod folds a method that semantic conventions do not know to [OtherMethod].
func KnownMethod(m string) string { return methods[MethodIndex(m)] }

// isKnownMethod reports whether the semantic conventions know m.
func isKnownMethod(m string) bool { return KnownMethod(m) == m }
