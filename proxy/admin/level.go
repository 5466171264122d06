package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Level is a minimum level of the log, for a while.
type Level struct {
	Level string `json:"level"` // debug, info, warn or error
	For   string `json:"for"`   // a duration such as "10m"
}

// LevelSet is a level that is in force until then.
type LevelSet struct {
	Level string    `json:"level"`
	Until time.Time `json:"until"`
}

// Levels are the words for the levels.
var Levels = []string{"debug", "info", "warn", "error"}

// longestLevel is how long another level than the configuration's may hold.
const longestLevel = 24 * time.Hour

func (a *api) level(w http.ResponseWriter, r *http.Request) {
	level, d, err := readLevel(w, r)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	until, by := time.Now().Add(d), caller(r)
	a.SetLevel(level, d, func(of slog.Level) {
		a.Log.LogAttrs(context.Background(), slog.LevelWarn, "log level of the configuration is in force again", slog.String("log_level", word(of)))
	})
	// At warn, so that also a log at warn says who changed it.
	a.Log.LogAttrs(r.Context(), slog.LevelWarn, "log level set", slog.String("log_level", word(level)), slog.String("for", d.String()), slog.String("by", by))
	respond(w, http.StatusOK, LevelSet{word(level), until})
}

func word(l slog.Level) string { return strings.ToLower(l.String()) }

// readLevel reads a call's body.
func readLevel(w http.ResponseWriter, r *http.Request) (level slog.Level, d time.Duration, err error) {
	var body Level
	read := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<10))
	read.DisallowUnknownFields()
	err = read.Decode(&body)
	if _, more := read.Token(); err == nil && more != io.EOF {
		err = errors.New("something stands behind it")
	}
	if err != nil {
		return 0, 0, fmt.Errorf(`expected {"level": "debug", "for": "10m"}: %w`, err)
	}
	if !slices.Contains(Levels, body.Level) {
		return 0, 0, fmt.Errorf("level: unknown word %q; write one of %s", body.Level, words(Levels))
	}
	if err := level.UnmarshalText([]byte(body.Level)); err != nil {
		return 0, 0, err
	}
	d, err = time.ParseDuration(body.For)
	switch {
	case err != nil:
		return 0, 0, fmt.Errorf(`for: %q is not a duration; write one such as "10m"`, body.For)
	case d <= 0 || d > longestLevel:
		return 0, 0, fmt.Errorf("for: %q is not above 0 and at most %s", body.For, longestLevel)
	}
	return level, d, nil
}
