package handler

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs"
	"r-seed-1f3a754f.example/ifmatch/fs/vfs"
)

const (
	composed   = "/%C3%BC"   // ü as Linux and Windows send it
	decomposed = "/u%CC%88"  // ü as macOS sends it
	mixed      = "%C3%BC%C3" // and a byte that is not UTF-8
)

// An existing name is found in both normal forms, by all methods. A new name keeps the bytes that were sent.
func TestNamesAreFoundInEitherNormalForm(t *testing.T) {
	for _, forms := range [][2]string{{composed, decomposed}, {decomposed, composed}} {
		there, asked := forms[0], forms[1]
		h := inMemoryWith(t, fs.Options{}, Config{})
		steps := []struct {
			method, target, body string
			header               []string
			want                 int
		}{
			{"MKCOL", there, "", nil, 201},
			{"MKCOL", asked, "", nil, 405},
			{"PUT", there + there, "1", nil, 201},
			{"GET", asked + asked, "", nil, 200},
			{"GET", asked + there, "", nil, 200},
			{"PUT", asked + asked, "2", nil, 204},
			{"PUT", asked + asked, "3", []string{"If-None-Match:*"}, 412},
			{"PROPPATCH", asked + asked, patchOf("<x>1</x>"), nil, 207},
			{"PUT", asked + asked, "2", []string{"If:<" + there + there + "> (Not <urn:x:y>)"}, 204},
			{"COPY", asked + asked, "", []string{"Destination:" + asked + "/copy"}, 201},
			{"MOVE", there + "/copy", "", []string{"Destination:" + asked + asked, "Overwrite:F"}, 412},
			{"LOCK", asked + asked, lockBody, nil, 200},
			{"PUT", there + there, "3", nil, 423},
			{"PUT", asked + "/new", "", nil, 201},
			{"GET", there + "/new", "", nil, 200},
			{"GET", asked + "/" + mixed, "", nil, 404},
			{"PUT", asked + "/" + mixed, "1", nil, 201},
			{"GET", there + "/" + mixed, "", nil, 200},
		}
		for _, step := range steps {
			if got := ask(t, h, step.method, step.target, step.body, step.header...).Code; got != step.want {
				t.Errorf("%s %s %v: got %d, want %d", step.method, step.target, step.header, got, step.want)
			}
		}
		// An href in a listing begins as in the request, and goes on as in the store.
		hrefs, _ := told(t, ask(t, h, "PROPFIND", asked+"/", "", "Depth: 1").Body.Bytes())
		if len(hrefs) != 5 || hrefs[0] != asked+"/" {
			t.Errorf("the hrefs are %q", hrefs)
		}
		for _, href := range hrefs {
			if !strings.HasPrefix(href, asked+"/") {
				t.Errorf("the href %q does not begin with what was asked for", href)
			}
		}
	}
}

// Where both forms are there, each stands for itself.
func TestBothNormalFormsCanBeThere(t *testing.T) {
	h := inMemoryWith(t, fs.Options{}, Config{}, "\u00fc=composed", "u\u0308=decomposed", "a\u00fc\u00fc=1")
	for target, want := range map[string]string{composed: "composed", decomposed: "decomposed"} {
		if got := ask(t, h, "GET", target, "").Body.String(); got != want {
			t.Errorf("GET %s: %q, want %q", target, got, want)
		}
	}
	// Half in one form and half in the other: it stands for the one there is …
	const half = "/a%C3%BCu%CC%88"
	if got := ask(t, h, "GET", half, "").Code; got != http.StatusOK {
		t.Errorf("GET %s: %d, want 200", half, got)
	}
	// … and for none of two.
	h = inMemoryWith(t, fs.Options{}, Config{}, "a\u00fc\u00fc=1", "au\u0308u\u0308=2")
	if got := ask(t, h, "GET", half, "").Code; got != http.StatusNotFound {
		t.Errorf("GET %s: %d, want 404", half, got)
	}
}

// A name with letters in different forms is one name too, for all methods and mixtures.
func TestNamesAreFoundInMixedForms(t *testing.T) {
	const (
		mixed   = "/%C3%9Cbung%20gea%CC%88ndert.txt" // as one client's rename has left it
		nfd     = "/U%CC%88bung%20gea%CC%88ndert.txt"
		nfc     = "/%C3%9Cbung%20ge%C3%A4ndert.txt"
		another = "/U%CC%88bung%20ge%C3%A4ndert.txt"
	)
	for _, there := range []string{mixed, another, nfc, nfd} {
		h := inMemoryWith(t, fs.Options{}, Config{})
		steps := []struct {
			method, target, body string
			header               []string
			want                 int
		}{
			{"PUT", there, "1", nil, 201},
			{"GET", nfd, "", nil, 200},
			{"GET", nfc, "", nil, 200},
			{"GET", mixed, "", nil, 200},
			{"GET", another, "", nil, 200},
			{"PUT", nfd, "2", nil, 204},
			{"PUT", nfc, "2", []string{"If-None-Match:*"}, 412},
			{"MKCOL", another, "", nil, 405},
			{"LOCK", nfc, lockBody, nil, 200},
			{"PUT", nfd, "3", nil, 423},
			{"MKCOL", "/d", "", nil, 201},
			{"COPY", nfd, "", []string{"Destination:/d" + there}, 201},
			{"COPY", nfc, "", []string{"Destination:/d" + nfd, "Overwrite:F"}, 412},
			{"MOVE", "/d" + nfc, "", []string{"Destination:/d" + mixed}, map[bool]int{true: 403, false: 201}[there == mixed]},
			{"MOVE", "/d" + nfd, "", []string{"Destination:/d/x"}, 201},
			{"COPY", nfc, "", []string{"Destination:" + another}, 403},
		}
		for _, step := range steps {
			if got := ask(t, h, step.method, step.target, step.body, step.header...).Code; got != step.want {
				t.Errorf("%s: %s %s %v: got %d, want %d", there, step.method, step.target, step.header, got, step.want)
			}
		}
		hrefs, _ := told(t, ask(t, h, "PROPFIND", "/", "", "Depth: 1").Body.Bytes())
		if slices.Sort(hrefs); len(hrefs) != 3 || !slices.Contains(hrefs, there) {
			t.Errorf("%s: the hrefs are %q", there, hrefs)
		}
	}
}

// A rename that changes nothing but the form of a name changes that.
func TestFormIsChanged(t *testing.T) {
	for _, forms := range [][2]string{{composed, decomposed}, {decomposed, composed}} {
		h := inMemoryWith(t, fs.Options{}, Config{})
		ask(t, h, "MKCOL", forms[0], "")
		ask(t, h, "PUT", forms[0]+forms[0], "1")
		for _, step := range [][3]string{
			{"COPY", forms[0] + forms[0], forms[1] + forms[1]}, // 403
			{"MOVE", forms[0] + forms[0], forms[1] + forms[1]},
			{"MOVE", forms[0], forms[1]},
		} {
			want := map[string]int{"COPY": 403, "MOVE": 201}[step[0]]
			if w := ask(t, h, step[0], step[1], "", "Destination:"+step[2], "Overwrite:F"); w.Code != want {
				t.Errorf("%v: got %d %s, want %d", step, w.Code, w.Body, want)
			}
		}
		hrefs, _ := told(t, ask(t, h, "PROPFIND", "/", "", "Depth: infinity").Body.Bytes())
		if want := []string{"/", forms[1] + "/", forms[1] + forms[1]}; !slices.Equal(hrefs, want) {
			t.Errorf("got %q, want %q", hrefs, want)
		}
	}
}

// Two clients that create one name at the same time, each in another form, do not create two files. The second one
// replaces the file, or is refused if it wanted to create it.
func TestOneNameIsMadeOnce(t *testing.T) {
	for i := range 150 {
		h := inMemoryWith(t, fs.Options{}, Config{})
		var both sync.WaitGroup
		codes := make([]int, 2)
		forms := [][]string{
			{composed, decomposed},
			{composed + decomposed[1:], decomposed + composed[1:]},
			{composed + decomposed[1:], composed + composed[1:]},
		}
		var header []string
		want := []int{201, 204}
		if i%2 == 1 {
			header, want = []string{"If-None-Match:*"}, []int{201, 412}
		}
		for i, target := range forms[i%len(forms)] {
			both.Go(func() { codes[i] = ask(t, h, "PUT", target, target, header...).Code })
		}
		both.Wait()
		slices.Sort(codes)
		hrefs, _ := told(t, ask(t, h, "PROPFIND", "/", "", "Depth: 1").Body.Bytes())
		if len(hrefs) != 2 || !slices.Equal(codes, want) {
			t.Fatalf("the answers %v leave %q, want %v", codes, hrefs, want)
		}
	}
}

// comesBetween is a body during which something else happens.
type comesBetween struct {
	io.Reader
	do func()
}

func (b *comesBetween) Read(p []byte) (int, error) {
	if b.do != nil {
		b.do()
		b.do = nil
	}
	return b.Reader.Read(p)
}

// Another client creates the name in the other form while the body of a PUT arrives. The PUT is decided about that
// file: nothing of the upload is lost.
func TestFormIsMadeDuringAPut(t *testing.T) {
	for _, tt := range []struct {
		header, value string
		want          int
		content       string
	}{
		{"", "", 204, "mine"},
		{"If-None-Match", "*", 412, "theirs"},
		{"Overwrite", "F", 412, "theirs"},
		{"If", "(Not <urn:x:y>)", 204, "mine"},
	} {
		for _, forms := range [][2]string{{composed, decomposed}, {decomposed, composed}} {
			t.Run(tt.header+" "+tt.value, func(t *testing.T) {
				h := inMemoryWith(t, fs.Options{}, Config{})
				body := &comesBetween{strings.NewReader("mine"), func() {
					if w := ask(t, h, "PUT", forms[1], "theirs"); w.Code != 201 {
						t.Errorf("the other PUT: got %d", w.Code)
					}
				}}
				r := httptest.NewRequestWithContext(t.Context(), "PUT", "http://localhost"+forms[0], body)
				r.ContentLength = 4
				if tt.header != "" {
					r.Header.Set(tt.header, tt.value)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != tt.want {
					t.Errorf("got %d %s, want %d", w.Code, w.Body, tt.want)
				}
				hrefs, _ := told(t, ask(t, h, "PROPFIND", "/", "", "Depth: 1").Body.Bytes())
				if want := []string{"/", forms[1]}; !slices.Equal(hrefs, want) {
					t.Errorf("there is %q, want %q", hrefs, want)
				}
				if w := ask(t, h, "GET", forms[1], ""); w.Body.String() != tt.content {
					t.Errorf("it has %q, want %q", w.Body, tt.content)
				}
			})
		}
	}
}

// The Finder asks for hundreds of names that are not there: each costs looks, and nothing is opened or listed for it.
func TestMissingNameIsCheap(t *testing.T) {
	var mu sync.Mutex
	var calls []string
	h := inMemoryWith(t, fs.Options{Before: func(c vfs.Call) error {
		mu.Lock()
		defer mu.Unlock()
		if !strings.HasPrefix(c.Name, ".ifmatch") { // a change beside the requests
			calls = append(calls, c.String())
		}
		return nil
	}}, Config{}, "d/", "d/f=1")
	for _, method := range []string{"PROPFIND", "GET", "HEAD"} {
		mu.Lock()
		calls = nil
		mu.Unlock()
		w := ask(t, h, method, "/d/._f", "", "Depth: 0")
		mu.Lock()
		for _, call := range calls {
			if call != "lstat d/._f" {
				t.Errorf("%s takes %s", method, call)
			}
		}
		if w.Code != http.StatusNotFound || w.Body.Len() > 100 || len(calls) > 2 {
			t.Errorf("%s: got %d with %d bytes, for %d calls", method, w.Code, w.Body.Len(), len(calls))
		}
		mu.Unlock()
	}
}

func TestJunk(t *testing.T) {
	layout := []string{"d/", "d/.DS_Store=1", "f=1"}
	for _, tt := range []struct {
		method, target string
		header         string
		serve, refuse  int
	}{
		{"PUT", "/d/._f", "", 201, 403},
		{"PUT", "/.DS_Store", "", 201, 403},
		{"PUT", "/THUMBS.DB", "", 201, 403},
		{"PUT", "/d/.DS_Store", "", 204, 204},
		{"MKCOL", "/.Trashes", "", 201, 403},
		{"COPY", "/f", "Destination:/._f", 201, 403},
		{"MOVE", "/f", "Destination:/desktop.ini", 201, 403},
		{"DELETE", "/d/.DS_Store", "", 204, 204},
		{"GET", "/d/.DS_Store", "", 200, 200},
		{"GET", "/._f", "", 404, 404},
		{"PUT", "/.dsstore", "", 201, 201},
	} {
		for _, config := range []Config{{}, {RefuseJunk: true}} {
			h := inMemory(t, config, layout...)
			want := tt.serve
			if config.RefuseJunk {
				want = tt.refuse
			}
			header := []string{}
			if tt.header != "" {
				header = append(header, tt.header)
			}
			if got := ask(t, h, tt.method, tt.target, "", header...).Code; got != want {
				t.Errorf("%s %s, refused %v: got %d, want %d", tt.method, tt.target, config.RefuseJunk, got, want)
			}
		}
	}
}
