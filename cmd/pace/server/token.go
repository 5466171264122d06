package server

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"pace/config"
)

// The length of a token, in bytes.
const (
	minToken = 16
	maxToken = 4096
)

const tokenRemedy = "write a long random word into the file, such as the output of: openssl rand -hex 32"

// readToken reads the token of the admin listener; "" without a file. Blanks around it do not count.
func readToken(f *config.File) (string, error) {
	if f.Admin.TokenFile == "" {
		return "", nil
	}
	content, err := readStart(f.Admin.TokenFile)
	token := bytes.TrimSpace(content)
	switch {
	case err != nil:
		return "", config.Join(nil, f.Fault("admin.token_file", err.Error(), "name a file that exists and that pace may read"))
	case len(token) < minToken || len(content) > maxToken:
		what := fmt.Sprintf("the token has %d bytes, and needs from %d to %d", len(token), minToken, maxToken)
		return "", config.Join(nil, f.Fault("admin.token_file", what, tokenRemedy))
	case bytes.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }):
		return "", config.Join(nil, f.Fault("admin.token_file", "the token has a character that a header field must not have", tokenRemedy))
	}
	return string(token), nil
}

// readStart reads a file up to the maximum length of a token, so that a wrong file does not fill the memory.
func readStart(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxToken+1))
}
