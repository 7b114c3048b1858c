package limits_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"

	"r-seed-1f3a754f.example/ifmatch/quota/limits"
)

func parse(t *testing.T, text string) ([]limits.Limit, error) {
	t.Helper()
	var content map[string]any
	if _, err := toml.Decode(text, &content); err != nil {
		t.Fatal(err)
	}
	return limits.Parse(content["quota"], text)
}

// table writes a quota as the configuration file has it.
func table(path, size, more string) string {
	return fmt.Sprintf("[[quota]]\npath = %q\nsize = %q\n%s\n", path, size, more)
}

func TestOf(t *testing.T) {
	text := table("/", "1GB", "") + table("/home/{user}", "100MB", "history = true") + table("/home/alice", "300MB", "") +
		table("/home/{user}/tmp", "5MB", "") + table("/projects/*/public", "7MB", "") + table("/caf\u00e9", "9MB", "")
	all, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	set := limits.NewSet(all, strings.EqualFold)
	for name, want := range map[string]string{
		"":                       "[/ 1000]",
		"f":                      "[/ 1000]",
		"home":                   "[/ 1000]",
		"home/bob":               "[/ 1000] [/home/bob 100 history]",
		"home/bob/a/b":           "[/ 1000] [/home/bob 100 history]",
		"home/bob/tmp/x":         "[/ 1000] [/home/bob 100 history] [/home/bob/tmp 5]",
		"home/alice/f":           "[/ 1000] [/home/alice 300]", // a name goes before {user}
		"home/alice/tmp/f":       "[/ 1000] [/home/alice 300] [/home/alice/tmp 5]",
		"home/ALICE/f":           "[/ 1000] [/home/ALICE 100 history]", // the smallest of those that a disk may mean
		"HOME/bob/f":             "[/ 1000] [/HOME/bob 100 history]",
		"projects/x/public/a/b":  "[/ 1000] [/projects/x/public 7]",
		"projects/x/private/a/b": "[/ 1000]",
		"cafe\u0301/f":           "[/ 1000] [/cafe\u0301 9]", // the name keeps its normal form
		"homes/bob":              "[/ 1000]",
	} {
		var got []string
		for _, a := range set.Of(name) {
			one := fmt.Sprintf("[/%s %d", a.Name, a.Max/1e6)
			if a.History {
				one += " history"
			}
			got = append(got, one+"]")
		}
		if joined := strings.Join(got, " "); joined != want {
			t.Errorf("%q: got %s, want %s", name, joined, want)
		}
	}
	var none *limits.Set
	if !none.Empty() || none.Of("f") != nil || none.CountHistory() || !limits.NewSet(nil, nil).Empty() {
		t.Error("no limits limit something")
	}
	if set.Empty() || !set.CountHistory() {
		t.Error("the limits are not there")
	}
}

func TestParseRefuses(t *testing.T) {
	many := strings.Repeat(table("/a", "1B", ""), limits.Max+1)
	for text, want := range map[string]string{
		"quota = 3":                                      "write each quota as a table",
		"[[quota]]\npath = \"/a\"":                       "line 1: quota: write both",
		"[[quota]]\nsize = \"1GB\"":                      "line 1: quota: write both",
		table("a", "1GB", ""):                            "begin it with a slash",
		table("//", "1GB", ""):                           "write / for all",
		table("/a//b", "1GB", ""):                        "no name can be that",
		table("/a/../b", "1GB", ""):                      "no name can be that",
		table("/home/{users}", "1GB", ""):                "is not a pattern",
		table("/home/a*", "1GB", ""):                     "is not a pattern",
		table("/a", "much", ""):                          "write a size",
		table("/a", "99EB", ""):                          "write a size",
		"[[quota]]\npath = \"/a\"\nsize = 5":             "write a size in quotation marks",
		"[[quota]]\npath = 5\nsize = \"5\"":              "path: write it in quotation marks",
		table("/a", "1GB", "files = 5"):                  `the key "files" is not known`,
		table("/a", "1GB", `history = "yes"`):            "write true or false",
		table("/a", "1GB", "") + table("/a/", "2", ""):   "line 5: quota: path \"/a\": there is a quota of these names",
		table("/{user}", "1", "") + table("/*", "2", ""): "there is a quota of these names before",
		many: "there may be 256",
	} {
		if all, err := parse(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %v, %v, want an error with %q", text, all, err, want)
		}
	}
	if all, err := parse(t, "other = 1"); all != nil || err != nil {
		t.Errorf("no quota: got %v, %v", all, err)
	}
}
