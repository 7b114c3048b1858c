package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// insecure is a client that takes any certificate, of a name if there is one.
func insecure(t *testing.T, name string) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: name}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestServersLeadToHTTPS(t *testing.T) {
	at := t.TempDir()
	cert, key := filepath.Join(at, "cert.pem"), filepath.Join(at, "key.pem")
	if err := servertest.WriteCertificate(cert, key); err != nil {
		t.Fatal(err)
	}
	s := servertest.Run(t, servertest.Command("--tls-cert", cert, "--tls-key", key, "--redirect", "127.0.0.1:0",
		"--hsts", "1d", t.TempDir()))
	found, err := s.Log.Await(regexp.MustCompile(`led to https" addr=(\S+)`))
	if err != nil {
		t.Fatal(err)
	}
	client := insecure(t, "")
	status, _, body := servertest.Send(t, client, "PUT", s.URL+"/f", "hello")
	if status != 201 {
		t.Fatalf("%d %s", status, body)
	}
	answer, err := client.Get("http://" + found[1] + "/f")
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	told := answer.Header.Get("Strict-Transport-Security")
	if err != nil || answer.StatusCode != 200 || string(content) != "hello" || told != "max-age=86400" {
		t.Errorf("%d %q, %q, %v", answer.StatusCode, content, told, err)
	}
	if status, _, body := servertest.Send(t, client, "PUT", "http://"+found[1]+"/f", "other"); status != 403 {
		t.Errorf("%d %s", status, body)
	}
}

// writeCached writes a certificate as the cache of package autocert has it.
func writeCached(t *testing.T, file, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	pem.Encode(&all, &pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
	pem.Encode(&all, &pem.Block{Type: "CERTIFICATE", Bytes: cert})
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, all.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
}

// A certificate that was got before is used again without a word to the authority, which is nowhere here. No other name
// has one, so that strangers cannot make the server ask for more.
func TestCertificatesAreKept(t *testing.T) {
	state := t.TempDir()
	writeCached(t, filepath.Join(state, "acme", "files.example"), "files.example")
	s := servertest.Run(t, servertest.Command("--acme", "files.example", "--acme-directory", "https://127.0.0.1:1/none",
		"--state-dir", state, t.TempDir()))
	if _, err := s.Log.Await(regexp.MustCompile(`there is a certificate" name=files.example`)); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = "files.example" // it is a --public-url without being told
	answer, err := insecure(t, "files.example").Do(request)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, answer.Body)
	answer.Body.Close()
	names := answer.TLS.PeerCertificates[0].DNSNames
	if answer.StatusCode != 200 || len(names) != 1 || names[0] != "files.example" {
		t.Errorf("%d by %q", answer.StatusCode, names)
	}
	for _, name := range []string{"other.example", ""} {
		conn, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true, ServerName: name})
		if err == nil {
			conn.Close()
			t.Errorf("%q has a certificate", name)
		}
	}
}
