package own

import "testing"

func TestFind(t *testing.T) {
	table := Table[int]{"events": 1, "uploads": 2}
	for _, test := range []struct {
		name, rest string
		serves     int
	}{
		{".ifmatch/events", "", 1},
		{".ifmatch/uploads", "", 2},
		{".ifmatch/uploads/a/b", "a/b", 2},
		{".ifmatch", "", 0},
		{".ifmatch/", "", 0},
		{".ifmatch/history", "", 0},
		{".ifmatch/events2", "", 0},
		{".Ifmatch/events", "", 0},
		{".ifmatch./events", "", 0},
		{".ifmatch/Events", "", 0},
		{"a/.ifmatch/events", "", 0},
		{"events", "", 0},
		{"", "", 0},
	} {
		serves, rest, ok := table.Find(test.name)
		if serves != test.serves || rest != test.rest || ok != (test.serves != 0) {
			t.Errorf("%q: got %d, %q, %v; want %d, %q", test.name, serves, rest, ok, test.serves, test.rest)
		}
	}
}
