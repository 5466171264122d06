package admin

import (
	"net/http"
	"time"
)

// Reload is how a reload ended, or the start if there was none.
type Reload struct {
	At      time.Time `json:"at"`
	Result  string    `json:"result"` // applied, unchanged or refused
	Changes []string  `json:"-"`
	Faults  []string  `json:"faults"` // as pace check prints them
}

// Refused is the result of a reload that changed nothing because of its faults.
const Refused = "refused"

type applied struct {
	Result  string   `json:"result"`
	Changes []string `json:"changes"`
}

type refused struct {
	Result string   `json:"result"`
	Faults []string `json:"faults"`
}

func (a *api) reload(w http.ResponseWriter, r *http.Request) {
	done := a.Reload(caller(r))
	if done.Result == Refused {
		respond(w, http.StatusUnprocessableEntity, refused{done.Result, done.Faults})
		return
	}
	respond(w, http.StatusOK, applied{done.Result, append([]string{}, done.Changes...)})
}
