package handler

import (
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// wantDocumented fails unless an answer has the header fields that the head of a documented one shows.
func wantDocumented(t *testing.T, request string, got http.Header, head string) {
	t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(head), "\n")[1:] {
		name, value, _ := strings.Cut(line, ": ")
		if got.Get(name) != value {
			t.Errorf("%s: %s is %q, want %q", request, name, got.Get(name), value)
		}
	}
}

// TestDocumentedConversation replays the conversation in docs/http.md: each header field and line of an answer must be in
// the answer of the server. Words in capitals between angle brackets or tags stand for tokens.
func TestDocumentedConversation(t *testing.T) {
	page, err := os.ReadFile("../docs/http.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Changes\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := regexp.MustCompile("(?s)```http\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(blocks) != 12 {
		t.Fatalf("there are %d blocks", len(blocks))
	}
	h := inMemory(t, Config{}, "site/", "site/index.html=<h1>Old</h1>", "site/old.html=old")
	tokens := strings.NewReplacer()
	known := []string{}
	for i := 0; i < len(blocks); i += 2 {
		message, body, _ := strings.Cut(tokens.Replace(blocks[i][1]), "\n\n")
		lines := strings.Split(strings.TrimSpace(message), "\n")
		request := strings.Fields(lines[0])
		w := ask(t, h, request[0], request[1], body, lines[1:]...)
		head, want, _ := strings.Cut(strings.TrimSpace(blocks[i+1][1]), "\n\n")
		if status := strings.Fields(head)[1]; status != strconv.Itoa(w.Code) {
			t.Errorf("%s is answered %d, want %s\n%s", lines[0], w.Code, status, w.Body)
		}
		wantDocumented(t, lines[0], w.Header(), head)
		for line := range strings.SplitSeq(want, "\n") {
			name := regexp.MustCompile(`<D:sync-token>([A-Z]+)</D:sync-token>`).FindStringSubmatch(line)
			if name != nil {
				token := regexp.MustCompile(`<D:sync-token>(.*)</D:sync-token>`).FindStringSubmatch(w.Body.String())
				if token == nil {
					t.Fatalf("%s: there is no token in %s", lines[0], w.Body)
				}
				known = append(known, name[1], token[1])
				tokens = strings.NewReplacer(known...)
			} else if !strings.Contains(w.Body.String(), line) {
				t.Errorf("%s: the answer has no %s\n%s", lines[0], line, w.Body)
			}
		}
	}
}
