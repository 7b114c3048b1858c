package servertest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Idle is how many idle connections the client of [Serve] keeps.
const Idle = 64

// LockExclusive is the body of a LOCK.
const LockExclusive = `<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>`

// Serve serves a handler over HTTP/1.1 and HTTP/2 without TLS, and returns a client of HTTP/1.1.
func Serve(t testing.TB, handler http.Handler, configure ...func(*http.Server)) (url string, client *http.Client) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	for _, f := range configure {
		f(server.Config)
	}
	server.Start()
	t.Cleanup(server.Close)
	client = server.Client()
	client.Transport.(*http.Transport).MaxIdleConnsPerHost = Idle
	return server.URL, client
}

// Client returns a client of HTTP/1.1 that keeps its connections until the end of the test.
func Client(t testing.TB) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: Idle}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// HTTP2Client returns a client of HTTP/2 without TLS.
func HTTP2Client(t testing.TB) *http.Client {
	client := Client(t)
	client.Transport.(*http.Transport).Protocols = new(http.Protocols)
	client.Transport.(*http.Transport).Protocols.SetUnencryptedHTTP2(true)
	return client
}

// Do sends a request with the given pairs of header fields and values. It returns the answer, whose body it has read.
// A failure is an error of the test, and returns an answer with status 0.
func Do(t testing.TB, client *http.Client, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return &http.Response{}, ""
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return &http.Response{}, ""
	}
	defer answer.Body.Close()
	read, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return answer, string(read)
}

// Send is [Do] for the status, the ETag and the body of the answer.
func Send(
	t testing.TB, client *http.Client, method, url, body string, header ...string,
) (status int, tag, content string) {
	t.Helper()
	answer, content := Do(t, client, method, url, body, header...)
	return answer.StatusCode, answer.Header.Get("ETag"), content
}

// Want is [Do] that fails the test unless the answer has this status.
func Want(
	t testing.TB, client *http.Client, status int, method, url, body string, header ...string,
) (*http.Response, string) {
	t.Helper()
	answer, content := Do(t, client, method, url, body, header...)
	if answer.StatusCode != status {
		t.Errorf("%s %s %q: %s, want %d: %s", method, url, header, answer.Status, status, content)
	}
	return answer, content
}
