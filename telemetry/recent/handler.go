package recent

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"pace/telemetry"
)

// The bounds of a list.
const (
	usualLimit = 100
	maxLimit   = 1000
)

// beat is how often a reader that follows is sent a comment, so that a connection nobody reads from is noticed.
const beat = 15 * time.Second

// Register adds the calls of the API to the mux.
func (g *Ring) Register(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/requests", g.serveList)
	mux.HandleFunc("GET /api/v1/requests/{trace}", g.serveOne)
	mux.HandleFunc("GET /api/v1/tail", g.serveTail)
}

// serveList serves the exchanges that the filter asks for, the newest first, and where the next page begins.
func (g *Ring) serveList(w http.ResponseWriter, r *http.Request) {
	q, f, err := readQuery(r, pageNames...)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	limit, after, err := parsePage(q)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	found := g.list(f.matches)
	defer release(found)
	list, next := []object{}, any(nil)
	for _, e := range found {
		c := cursorOf(e)
		if after != nil && c.compare(*after) >= 0 {
			continue
		}
		if len(list) == limit {
			next = *after
			break
		}
		list, after = append(list, objectOf(e.Record)), &c
	}
	write(w, http.StatusOK, object{{"requests", list}, {"next", next}})
}

func release(list []entry) {
	for _, e := range list {
		e.Release()
	}
}

// readQuery reads the parameters of a call. What cannot be parsed is refused: without it the filter would be wider
// than what was asked for.
func readQuery(r *http.Request, others ...string) (url.Values, Filter, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, Filter{}, fmt.Errorf("the query cannot be parsed: %w", err)
	}
	f, err := parseFilter(q, time.Now(), others...)
	return q, f, err
}

// parsePage reads which part of a list is asked for.
func parsePage(q url.Values) (limit int, after *cursor, err error) {
	limit = usualLimit
	if s := q.Get("limit"); s != "" {
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > maxLimit {
			return 0, nil, fmt.Errorf("limit: %q is not a number from 1 to %d", s, maxLimit)
		}
	}
	if s := q.Get("after"); s != "" {
		after = &cursor{}
		if err := after.UnmarshalText([]byte(s)); err != nil {
			return 0, nil, fmt.Errorf("after: %q is not what a list gave as next", s)
		}
	}
	return limit, after, nil
}

// MarshalText implements encoding.TextMarshaler.
func (c cursor) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%x-%x", c.end, c.number), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *cursor) UnmarshalText(text []byte) error {
	_, err := fmt.Sscanf(string(text), "%x-%x", &c.end, &c.number)
	if err == nil && fmt.Sprintf("%x-%x", c.end, c.number) != string(text) {
		return fmt.Errorf("more than a cursor: %q", text)
	}
	return err
}

// serveOne serves the newest exchange of a trace.
func (g *Ring) serveOne(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("trace")
	if !IsTraceID(id) {
		refuse(w, http.StatusBadRequest, fmt.Errorf("%q is not a trace id; write its 32 hexadecimal digits", telemetry.Printable(id)))
		return
	}
	found := g.list(func(r *telemetry.Record) bool { return r.Trace == id })
	defer release(found)
	if len(found) == 0 {
		refuse(w, http.StatusNotFound, fmt.Errorf("no recent exchange has the trace %s; pace keeps the last interesting ones and few ordinary ones", id))
		return
	}
	write(w, http.StatusOK, objectOf(found[0].Record))
}

// serveTail serves interesting exchanges as they end, as server-sent events.
func (g *Ring) serveTail(w http.ResponseWriter, r *http.Request) {
	_, f, err := readQuery(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	t, err := g.Follow(f)
	if err != nil {
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	defer g.Unfollow(t)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	if out.Flush() != nil {
		return
	}
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for err == nil {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			_, err = fmt.Fprint(w, ":\n\n")
		case one := <-t.records:
			event, _ := json.Marshal(objectOf(one))
			one.Release()
			_, err = fmt.Fprintf(w, "data: %s\n\n", event)
			if n := t.lost.Swap(0); n > 0 && err == nil {
				_, err = fmt.Fprintf(w, ": %d more came than this connection could take\n\n", n)
			}
		}
		if err == nil {
			err = out.Flush()
		}
	}
}

// refuse reports what is wrong with a call.
func refuse(w http.ResponseWriter, status int, err error) {
	write(w, status, object{{"error", err.Error()}})
}

func write(w http.ResponseWriter, status int, o object) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(o)
}
