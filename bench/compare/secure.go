package compare

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// A certificate of a server, in two files. The zero value is none: the server speaks HTTP without TLS.
type certificate struct{ cert, key string }

// makeCertificate makes a certificate for the loopback address. It is the same for all servers, and no client checks
// it.
func makeCertificate(dir string) (c certificate, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return c, err
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	public, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		return c, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return c, err
	}
	c = certificate{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	write := func(name, kind string, data []byte) error {
		return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}), 0o644)
	}
	return c, errors.Join(write(c.cert, "CERTIFICATE", public), write(c.key, "PRIVATE KEY", private))
}

// clientTLS is of the clients of servers with such a certificate.
func clientTLS(protocol string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}}
}

// newConn returns a connection to the server, with TLS if the workload asks for it.
func (s *site) newConn() *conn {
	c := newConn(s.addr)
	if s.workload != nil && s.workload.secure {
		c.tls = clientTLS("http/1.1")
	}
	return c
}

// getFilesHTTP2 is [getFiles] over HTTP/2: all clients share one connection.
func getFilesHTTP2(ctx context.Context, s *site, _ int) (sample, error) {
	transport := &http.Transport{TLSClientConfig: clientTLS("h2"), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: patience}
	return s.spread(ctx, readers, s.scale.gets, func(_ *conn, _, i int) (time.Duration, error) {
		name := fileName(i % len(s.stored))
		began := time.Now()
		got, err := client.Get("https://" + s.addr + "/" + name)
		if err != nil {
			return 0, err
		}
		defer got.Body.Close()
		body, err := io.ReadAll(got.Body)
		switch {
		case err != nil:
			return 0, err
		case got.ProtoMajor != 2 || got.StatusCode != http.StatusOK || !bytes.Equal(body, s.stored[name]):
			return 0, fmt.Errorf("GET %s: %s %s, %d bytes that are not those of the file over HTTP/2", name, got.Proto,
				got.Status, len(body))
		}
		return time.Since(began), nil
	})
}
