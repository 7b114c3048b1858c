package certificate

import "crypto/tls"

// ConfigOf returns a TLS configuration as that of [Certificate.Config], for certificates that another function has, and
// protocols that are negotiated besides those of HTTP.
func ConfigOf(get func(*tls.ClientHelloInfo) (*tls.Certificate, error), protocols ...string) *tls.Config {
	return &tls.Config{GetCertificate: get, CipherSuites: authenticated(), NextProtos: protocols}
}
