package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ifmatch/internal/servertest"
)

// A guarded write to a file that a program on the server has open for writing is answered 503, and says so; one whose
// condition is not true is answered 412 all the same, and one without a condition is done.
func TestOpenForWritingIsTold(t *testing.T) {
	dir := t.TempDir()
	url, client := serveConfig(t, Config{Dir: dir})
	_, tag, _ := servertest.Send(t, client, "PUT", url+"/f", "seen")
	w, err := os.OpenFile(filepath.Join(dir, "f"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for _, method := range []string{"PUT", "DELETE"} {
		request, err := http.NewRequest(method, url+"/f", strings.NewReader("ours"))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("If-Match", tag)
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" ||
			!strings.Contains(string(body), "a program on the server has it open for writing") {
			t.Errorf("%s: %s, %v, %s, error %v", method, answer.Status, answer.Header, body, err)
		}
		if status, _, _ := servertest.Send(t, client, method, url+"/f", "ours", "If-Match", `"another"`); status != http.StatusPreconditionFailed {
			t.Errorf("%s of another version: %d", method, status)
		}
	}
	if status, _, _ := servertest.Send(t, client, "PUT", url+"/f", "ours"); status != http.StatusNoContent {
		t.Errorf("PUT without a condition: %d", status)
	}
}
