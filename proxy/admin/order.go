package admin

import "net/http"

// BackendOrder is what an operator wants of a backend.
type BackendOrder struct {
	Upstream, Address string
	Order             string // drain, undrain, eject or readmit
	By                string // who wants it, for the log
}

// order returns the call of an order. The address of a backend is one segment of the path: the slashes in that of a
// unix socket are escaped, as %2F.
func order(name, summary string) call {
	return call{
		method: "POST", path: "/api/v1/upstreams/{upstream}/backends/{address}/" + name, summary: summary, changes: true,
		serve: func(a *api, w http.ResponseWriter, r *http.Request) {
			b, err := a.Order(BackendOrder{r.PathValue("upstream"), r.PathValue("address"), name, caller(r)})
			if err != nil {
				refuse(w, http.StatusNotFound, err.Error())
				return
			}
			respond(w, http.StatusOK, b)
		},
		responses: map[int]any{200: Backend{}, 404: failure{}},
	}
}
