package environment

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestEnvironment(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	malformed, cert, key := file("rubbish.pem", "no certificate"), dir+"/cert.pem", dir+"/key.pem"
	writeCertificate(t, cert, key)
	const otlp = "OTEL_EXPORTER_OTLP_"
	for name, tt := range map[string]struct {
		env  []string
		want string // "": fine
	}{
		"nothing set": {nil, ""},
		"all that makes sense": {[]string{otlp + "ENDPOINT=https://collector:4317", otlp + "TRACES_ENDPOINT= http://[::1]:4318/v1/traces", otlp + "CERTIFICATE=" + cert,
			otlp + "CLIENT_CERTIFICATE=" + cert, otlp + "CLIENT_KEY=" + key, otlp + "HEADERS=authorization=Basic%20eA==, x-a=", otlp + "COMPRESSION=gzip",
			otlp + "TIMEOUT=100", otlp + "INSECURE=True", "OTEL_BSP_MAX_QUEUE_SIZE=10", "OTEL_PROPAGATORS=b3,tracecontext", "OTEL_RESOURCE_ATTRIBUTES=a=b,c=", "OTEL_SDK_DISABLED=FALSE"}, ""},
		"a socket": {[]string{otlp + "ENDPOINT=unix:/run/collector.sock"}, ""},

		"no scheme":                              {[]string{otlp + "ENDPOINT=127.0.0.1:4317"}, otlp + `ENDPOINT: no scheme in "127.0.0.1:4317"; write "http://127.0.0.1:4317"`},
		"a name without scheme":                  {[]string{otlp + "TRACES_ENDPOINT=localhost:4317"}, otlp + `TRACES_ENDPOINT: no scheme in "localhost:4317"; write "http://localhost:4317"`},
		"another scheme":                         {[]string{otlp + "ENDPOINT=ftp://x:1"}, otlp + `ENDPOINT: "ftp://x:1" is not an http or https URL; write it as in "http://127.0.0.1:4317"`},
		"no host":                                {[]string{otlp + "ENDPOINT=http://"}, otlp + `ENDPOINT: "http://" is not an http or https URL; write it as in "http://127.0.0.1:4317"`},
		"credentials are not shown":              {[]string{otlp + "ENDPOINT=me:secret@x:1"}, otlp + `ENDPOINT: no scheme in "…@x:1"; write it as in "http://127.0.0.1:4317"`},
		"no such certificate":                    {[]string{otlp + "CERTIFICATE=" + dir + "/none"}, otlp + "CERTIFICATE: open " + dir + "/none: no such file or directory; name a PEM file that pace may read"},
		"a certificate that is none":             {[]string{otlp + "TRACES_CERTIFICATE=" + malformed}, otlp + "TRACES_CERTIFICATE: no certificate in " + malformed + "; name a PEM file that pace may read"},
		"a certificate without key":              {[]string{otlp + "CLIENT_CERTIFICATE=" + cert}, otlp + "CLIENT_CERTIFICATE: has no effect without " + otlp + "CLIENT_KEY; set " + otlp + "CLIENT_KEY as well"},
		"a key without certificate":              {[]string{otlp + "CLIENT_KEY=" + key}, otlp + "CLIENT_KEY: has no effect without " + otlp + "CLIENT_CERTIFICATE; set " + otlp + "CLIENT_CERTIFICATE as well"},
		"a key that does not fit":                {[]string{otlp + "CLIENT_CERTIFICATE=" + cert, otlp + "CLIENT_KEY=" + malformed}, otlp + "CLIENT_CERTIFICATE: tls: failed to find any PEM data in key input; name a certificate and its own key"},
		"headers":                                {[]string{otlp + "HEADERS=a=b,secret"}, otlp + "HEADERS: item 2 is not name=value; write name=value, separated by commas, with percent-encoded values"},
		"a header's name":                        {[]string{otlp + "HEADERS=a b=c"}, otlp + "HEADERS: item 1 is not name=value; write name=value, separated by commas, with percent-encoded values"},
		"a header's value":                       {[]string{otlp + "TRACES_HEADERS=a=%zz"}, otlp + "TRACES_HEADERS: item 1 is not name=value; write name=value, separated by commas, with percent-encoded values"},
		"a compression":                          {[]string{otlp + "COMPRESSION=zip"}, otlp + `COMPRESSION: unknown word "zip"; write one of gzip, none`},
		"a time limit with unit":                 {[]string{otlp + "TIMEOUT=10s"}, otlp + `TIMEOUT: "10s" is not a whole number; write digits only, such as 5000`},
		"a negative one":                         {[]string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_BSP_SCHEDULE_DELAY=-1"}, `OTEL_BSP_SCHEDULE_DELAY: "-1" is not a whole number; write digits only, such as 5000`},
		"a word for true":                        {[]string{otlp + "INSECURE=yes"}, otlp + `INSECURE: unknown word "yes"; write one of true, false`},
		"a number for true":                      {[]string{"OTEL_SDK_DISABLED=1"}, `OTEL_SDK_DISABLED: unknown word "1"; write one of true, false`},
		"a propagator":                           {[]string{"OTEL_PROPAGATORS=b3, tracecontext"}, `OTEL_PROPAGATORS: unknown word " tracecontext"; write some of tracecontext, baggage, b3, b3multi, jaeger, xray, ottrace, none, separated by commas`},
		"an attribute without a value":           {[]string{"OTEL_RESOURCE_ATTRIBUTES=foo"}, `OTEL_RESOURCE_ATTRIBUTES: item 1 is not name=value; write name=value, separated by commas, with percent-encoded values`},
		"a value that is not UTF-8 once decoded": {[]string{"OTEL_RESOURCE_ATTRIBUTES=a=b,c=%FF"}, "OTEL_RESOURCE_ATTRIBUTES: item 2 is not UTF-8; write text in UTF-8, percent-encoded: é is %C3%A9"},
		"a value that is not UTF-8 as it stands": {[]string{"OTEL_RESOURCE_ATTRIBUTES=a=\xe9"}, "OTEL_RESOURCE_ATTRIBUTES: item 1 is not UTF-8; write text in UTF-8, percent-encoded: é is %C3%A9"},
		"a name that is not UTF-8":               {[]string{"OTEL_RESOURCE_ATTRIBUTES=\xe9=a"}, "OTEL_RESOURCE_ATTRIBUTES: item 1 is not UTF-8; write text in UTF-8, percent-encoded: é is %C3%A9"},
		"a service whose name is not UTF-8":      {[]string{"OTEL_SERVICE_NAME=\xff"}, "OTEL_SERVICE_NAME: the value is not UTF-8; write text in UTF-8"},
		"UTF-8 makes sense":                      {[]string{"OTEL_RESOURCE_ATTRIBUTES=a=caf%C3%A9,bé=é,LE=1,le.x=1,_le=1,my_job=1", "OTEL_SERVICE_NAME=é"}, ""},
		"a name that is le":                      {[]string{"OTEL_RESOURCE_ATTRIBUTES=a=b, le =1"}, `OTEL_RESOURCE_ATTRIBUTES: the name "le" is reserved by Prometheus; write another name, such as "my.le"`},
		"a name that is quantile":                {[]string{"OTEL_RESOURCE_ATTRIBUTES=quantile=1"}, `OTEL_RESOURCE_ATTRIBUTES: the name "quantile" is reserved by Prometheus; write another name, such as "my.quantile"`},
		"a name that is job":                     {[]string{"OTEL_RESOURCE_ATTRIBUTES=job=1"}, `OTEL_RESOURCE_ATTRIBUTES: the name "job" is reserved by Prometheus; write another name, such as "my.job"`},
		"a name that is instance":                {[]string{"OTEL_RESOURCE_ATTRIBUTES=instance=1"}, `OTEL_RESOURCE_ATTRIBUTES: the name "instance" is reserved by Prometheus; write another name, such as "my.instance"`},
		"a name that begins with underscores":    {[]string{"OTEL_RESOURCE_ATTRIBUTES=__name__=x"}, `OTEL_RESOURCE_ATTRIBUTES: the name "__name__" is reserved by Prometheus; write another name, such as "my.name"`},
		"also those that are no name of a label": {[]string{"OTEL_RESOURCE_ATTRIBUTES=__a=x"}, `OTEL_RESOURCE_ATTRIBUTES: the name "__a" is reserved by Prometheus; write another name, such as "my.a"`},
		"a name that no label can have":          {[]string{"OTEL_RESOURCE_ATTRIBUTES=é=x"}, `OTEL_RESOURCE_ATTRIBUTES: "é" cannot be the name of a Prometheus label; write a name with a letter or digit from ASCII in it`},
		"exporters of metrics and logs": {[]string{"OTEL_METRICS_EXPORTER=otlp, prometheus", "OTEL_LOGS_EXPORTER=console,otlp", otlp + "METRICS_TEMPORALITY_PREFERENCE=Delta",
			otlp + "METRICS_DEFAULT_HISTOGRAM_AGGREGATION=explicit_bucket_histogram", "OTEL_METRIC_EXPORT_INTERVAL=1000", "OTEL_BLRP_MAX_QUEUE_SIZE=7"}, ""},
		"an exporter of metrics that pace lacks":  {[]string{"OTEL_METRICS_EXPORTER=console"}, `OTEL_METRICS_EXPORTER: unknown word "console"; write some of otlp, prometheus, none, separated by commas`},
		"an exporter of logs that pace lacks":     {[]string{"OTEL_LOGS_EXPORTER=otlp,file"}, `OTEL_LOGS_EXPORTER: unknown word "file"; write some of otlp, console, none, separated by commas`},
		"none beside another exporter":            {[]string{"OTEL_LOGS_EXPORTER=none,otlp"}, `OTEL_LOGS_EXPORTER: "none" beside another exporter; write "none" alone, or leave it out`},
		"a temporality":                           {[]string{"OTEL_METRICS_EXPORTER=otlp", otlp + "METRICS_TEMPORALITY_PREFERENCE=both"}, otlp + `METRICS_TEMPORALITY_PREFERENCE: unknown word "both"; write one of cumulative, delta, lowmemory`},
		"a form of histograms":                    {[]string{"OTEL_METRICS_EXPORTER=otlp", otlp + "METRICS_DEFAULT_HISTOGRAM_AGGREGATION=base2_exponential_bucket_histogram"}, otlp + `METRICS_DEFAULT_HISTOGRAM_AGGREGATION: unknown word "base2_exponential_bucket_histogram"; write explicit_bucket_histogram; metrics.native_histograms makes all histograms exponential`},
		"the variables of logs":                   {[]string{"OTEL_LOGS_EXPORTER=otlp", otlp + "LOGS_HEADERS=secret", "OTEL_BLRP_SCHEDULE_DELAY=1s"}, `OTEL_BLRP_SCHEDULE_DELAY: "1s" is not a whole number; write digits only, such as 5000` + "\n" + otlp + "LOGS_HEADERS: item 1 is not name=value; write name=value, separated by commas, with percent-encoded values"},
		"nobody reads those of another signal":    {[]string{"OTEL_LOGS_EXPORTER=otlp", otlp + "METRICS_TIMEOUT=x", "OTEL_METRIC_EXPORT_INTERVAL=x", "OTEL_BSP_SCHEDULE_DELAY=x"}, ""},
		"nor those of metrics, if none are asked": {[]string{otlp + "METRICS_TIMEOUT=x", "OTEL_METRIC_EXPORT_INTERVAL=x"}, ""},
		"two at once": {[]string{otlp + "TIMEOUT=x", "OTEL_PROPAGATORS=x"}, otlp + `TIMEOUT: "x" is not a whole number; write digits only, such as 5000` + "\n" +
			`OTEL_PROPAGATORS: unknown word "x"; write some of tracecontext, baggage, b3, b3multi, jaeger, xray, ottrace, none, separated by commas`},
		"those of an exporter that is none": {[]string{otlp + "TIMEOUT=x", "OTEL_TRACES_EXPORTER=none"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			clearEnvironment(t)
			for _, pair := range tt.env {
				name, value, _ := strings.Cut(pair, "=")
				t.Setenv(name, value)
			}
			got := ""
			if err := Read().Check(""); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// clearEnvironment takes away what the test's own surroundings may say.
func clearEnvironment(t *testing.T) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
}

// writeCertificate makes a certificate and its key.
func writeCertificate(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
