package s3test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Gateway starts versitygw, which PATH must have, over a temporary directory. It returns its URL, and the process ends
// with the test. It is for .ci/long: the program takes minutes to build.
func Gateway(t testing.TB) string {
	t.Helper()
	path, err := exec.LookPath("versitygw")
	if err != nil {
		t.Fatalf("versitygw is not in PATH: go install github.com/versity/versitygw/cmd/versitygw@v1.8.0: %v", err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, Bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().String()
	l.Close()
	process := exec.Command(path, "--port", at, "--quiet", "--keep-alive", "posix", dir)
	process.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+Access, "ROOT_SECRET_KEY="+Secret)
	process.Stderr = os.Stderr
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	for tries := 0; ; tries++ {
		answer, err := http.Get(fmt.Sprintf("http://%s/", at))
		if err == nil {
			answer.Body.Close()
			return "http://" + at
		}
		if tries == 300 {
			t.Fatalf("versitygw does not start: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
