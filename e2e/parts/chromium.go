package parts

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// Page is a web page as a browser showed it.
type Page[T any] struct {
	Value   T        // of the expression that was waited for
	Console []string // warnings and errors, among them each request that the page's policy forbids
	PNG     []byte   // a picture of the whole page, also of what lies below the window
}

// Over is a setting of the browser that says how it reaches a page. Without one it speaks no HTTP/3.
type Over = chromedp.ExecAllocatorOption

// HTTP3 permits the browser HTTP/3, and has it speak nothing else with forced, a host:port. It takes the
// certificate in a file, whoever has issued it; over HTTP/3 only at the host of forced, but on all of its ports.
func HTTP3(t testing.TB, certificate, forced string) []Over {
	t.Helper()
	raw, err := os.ReadFile(certificate)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return []Over{
		chromedp.Flag("disable-quic", false),
		chromedp.Flag("origin-to-force-quic-on", forced),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])),
	}
}

// Browse opens a page in a headless Chromium of that width, and waits until a JavaScript expression is truthy.
func Browse[T any](t testing.TB, url string, width int, until string, over ...Over) (p Page[T]) {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(Path(t, "chromium")),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // a sandbox does not start as root, and only pages of our own are shown
		// Without these, Chromium asks its maker for updates and more.
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	ctx, stop := context.WithTimeout(t.Context(), 3*patience)
	defer stop()
	ctx, stop = chromedp.NewExecAllocator(ctx, append(options, over...)...)
	defer stop()
	ctx, stop = chromedp.NewContext(ctx)
	defer stop()

	console := chromedp.Console(ctx)
	err := chromedp.Do(ctx, chromedp.EmulateViewport(int64(width), 1000), chromedp.Navigate(url))
	if err == nil {
		p.Value, err = chromedp.Run(ctx, chromedp.Poll[T](until, chromedp.WithPollingTimeout(0)))
	}
	if err == nil {
		p.PNG, err = chromedp.Run(ctx, chromedp.FullScreenshot(100))
	}
	// All that the page wrote stands before this word.
	const end = "the end of the console"
	if ended := chromedp.Do(ctx, chromedp.Evaluate[chromedp.Void]("console.info(`"+end+"`)")); ended != nil {
		t.Fatalf("%s: %v, %v", url, err, ended)
	}
	for m, failed := range console {
		if failed != nil {
			t.Fatalf("the console of %s: %v", url, failed)
		}
		if m.Text == end {
			break
		}
		if err != nil || m.IsException() || m.Type == "error" || m.Type == "warning" {
			p.Console = append(p.Console, strings.TrimSpace(m.String()+" "+m.URL))
		}
	}
	if err != nil {
		t.Fatalf("%s: %v\nits console:\n%s", url, err, strings.Join(p.Console, "\n"))
	}
	return p
}
