package clustertest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
)

// passConnections sends each connection to the next server.
func (f *front) passConnections(listener net.Listener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			return
		}
		go f.passConnection(client.(*net.TCPConn))
	}
}

func (f *front) passConnection(client *net.TCPConn) {
	defer client.Close()
	conn, err := net.Dial("tcp", f.next().addr)
	if err != nil {
		f.complain(err)
		return
	}
	defer conn.Close()
	server := conn.(*net.TCPConn)
	go func() {
		if _, err := io.Copy(server, client); err != nil {
			server.Close() // the client is gone
			return
		}
		_ = server.CloseWrite()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if n > 0 {
			f.catchUp()
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// passRequests sends each request to the next server.
func (f *front) passRequests(listener net.Listener) {
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			s := f.next()
			r.SetURL(&url.URL{Scheme: s.scheme, Host: s.addr})
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{
			DisableCompression: true, MaxIdleConnsPerHost: 64, ExpectContinueTimeout: 1 << 40,
		},
		FlushInterval:  -1,
		ModifyResponse: func(*http.Response) error { f.catchUp(); return nil },
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			f.complain(fmt.Errorf("%s %s: %w", r.Method, r.URL, err))
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	server := &http.Server{Handler: proxy, Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	_ = server.Serve(listener)
}

// catchUp has the directory up to date.
func (f *front) catchUp() {
	if err := f.mirror.catchUp(context.Background()); err != nil {
		f.complain(err)
	}
}

func (f *front) complain(err error) {
	f.output.Lock()
	defer f.output.Unlock()
	fmt.Fprintln(os.Stderr, "the front of a cluster:", err)
}
