package synctoken

import "testing"

func TestTokens(t *testing.T) {
	token := New("a.1f.00c0ffee", "her, by some rules")
	for _, test := range []struct {
		name, token, binding string
		ok                   bool
	}{
		{"as it was given", token, "her, by some rules", true},
		{"another user", token, "him, by some rules", false},
		{"another cursor", scheme + "b" + token[len(scheme)+1:], "her, by some rules", false},
		{"no cursor", New("", "her, by some rules"), "her, by some rules", false},
		{"a lock", "urn:uuid:6f3b2f0e-5a3e-4b0e-9d43-2d1e6c8e5b1a", "her, by some rules", false},
		{"nothing", "", "her, by some rules", false},
		{"only the beginning", scheme, "her, by some rules", false},
	} {
		c, ok := Cursor(test.token, test.binding)
		if ok != test.ok || ok && c != "a.1f.00c0ffee" {
			t.Errorf("%s: got %q, %v", test.name, c, ok)
		}
	}
	if !Is(token) || Is("urn:uuid:x") {
		t.Error("it takes one for the other")
	}
}
