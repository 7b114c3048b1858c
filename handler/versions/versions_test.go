package versions

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

func at(seconds int) time.Time { return time.Unix(int64(seconds), 0) }

func file(name string, tag tree.ETag, gone int) tree.Version {
	return tree.Version{State: tree.State{Name: name, Exists: true, Tag: tag}, Gone: at(gone), ID: fmt.Sprint(gone)}
}

func sequence(all []tree.Version, end error) iter.Seq2[tree.Version, error] {
	return func(yield func(tree.Version, error) bool) {
		for _, v := range all {
			if !yield(v, nil) {
				return
			}
		}
		if end != nil {
			yield(tree.Version{}, end)
		}
	}
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		rest  string
		slash bool
		want  Asked
		ok    bool
	}{
		{"", true, Asked{}, true},
		{"", false, Asked{}, false},
		{"a", true, Asked{Name: "a"}, true},
		{"a", false, Asked{ID: "a"}, true},
		{"d/a", true, Asked{Name: "d/a"}, true},
		{"d/a", false, Asked{Name: "d", ID: "a"}, true},
	} {
		if got, ok := Parse(test.rest, test.slash); got != test.want || ok != test.ok {
			t.Errorf("%q, %v: got %+v, %v", test.rest, test.slash, got, ok)
		}
	}
}

func TestFind(t *testing.T) {
	dir := tree.Version{State: tree.State{Name: "a", Collection: true}, Gone: at(5), ID: "5"}
	all := []tree.Version{file("a", `"x"`, 1), file("b", `"z"`, 2), file("a", `"x"`, 3), file("a", "", 4), dir}
	failed := errors.New("the store fails")
	for _, test := range []struct {
		asked   Asked
		end     error
		id      string // of what is found
		unknown bool
		err     error
	}{
		{Asked{"a", "x"}, nil, "3", true, nil},
		{Asked{"a", "1970-01-01T00:00:01Z"}, nil, "1", true, nil},
		{Asked{"a", "1970-01-01T00:00:04Z"}, nil, "4", false, nil},
		{Asked{"a", "1970-01-01T00:00:05Z"}, nil, "5", true, nil},
		{Asked{"a", "z"}, nil, "", true, tree.ErrNotExist},
		{Asked{"b", "x"}, nil, "", false, tree.ErrNotExist},
		{Asked{"a", "x"}, failed, "", false, failed},
	} {
		v, unknown, err := Find(sequence(all, test.end), test.asked)
		if v.ID != test.id || unknown != test.unknown || !errors.Is(err, test.err) {
			t.Errorf("%+v: got %q, %v, %v", test.asked, v.ID, unknown, err)
		}
	}
}

// Each URL is in a list once.
func TestMembers(t *testing.T) {
	latest := []tree.Version{file("a", `"x"`, 4), file("a/b", `"y"`, 3), file("a", `"x"`, 2), file("a", `"y"`, 1)}
	var got []string
	for _, v := range Members(latest, "a") {
		got = append(got, v.ID)
	}
	if want := []string{"4", "1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
