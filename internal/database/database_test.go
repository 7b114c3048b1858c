package database

import (
	"errors"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/internal/usage"
)

func TestPasswordsAreNotTakenFromTheCommandLine(t *testing.T) {
	for store, good := range map[string]bool{
		"postgres://u@h/d":               true,
		"postgresql://u@h1,h2/d?x=y":     true,
		"postgres://u:secret@h/d":        false,
		"postgres://u@h/d?password=oops": false,
		"mysql://u@h/d":                  false,
		"host=h user=u":                  false,
		"postgres://u@h/%zz":             false,
	} {
		err := Place{Store: store}.Check()
		if (err == nil) != good || err != nil && !errors.As(err, new(*usage.Error)) {
			t.Errorf("%s: %v", store, err)
		}
	}
}
