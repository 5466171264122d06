package admin

import (
	"net/http"
	"time"
)

// Config is the configuration in force.
type Config struct {
	File       string    `json:"file"`
	SHA256     string    `json:"sha256"` // of the file's bytes
	LoadedAt   time.Time `json:"loaded_at"`
	LastReload Reload    `json:"last_reload"`
	Config     any       `json:"config"` // in the long form, by table and key, secrets masked
}

func (a *api) config(w http.ResponseWriter, _ *http.Request) {
	respond(w, http.StatusOK, a.Config())
}
