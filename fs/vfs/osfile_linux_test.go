package vfs

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
)

// An attribute of a member of an open directory is the same by each way to ask for it, as it is asked of the file
// itself.
func TestAttributeOfAMember(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "ifmatch-test-") // where a large value is taken, if anywhere
	if err != nil {
		dir = t.TempDir()
	}
	defer os.RemoveAll(dir)
	calls, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer calls.Close()
	values := map[string][]byte{"none": nil, "short": []byte("x"), "long": bytes.Repeat([]byte("x"), 4<<10),
		"longer": bytes.Repeat([]byte("x"), 10_000)}
	for name, value := range values {
		f, err := calls.Create(name)
		if err == nil && value != nil {
			err = f.SetAttr("user.test", value)
		}
		if errors.Is(err, ErrAttribute) {
			t.Logf("NOT RUN: this file system takes no attribute of %d bytes", len(value))
			values[name] = nil
		} else if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if err := os.Symlink("short", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	values["link"] = nil
	for _, without := range []bool{false, true} {
		noGetxattrat.Store(without)
		d, err := calls.Open(".")
		if err != nil {
			t.Fatal(err)
		}
		for name, value := range values {
			got, err := d.GetAttrIn(name, "user.test")
			if err != nil || !bytes.Equal(got, value) || (got == nil) != (value == nil) {
				t.Errorf("without getxattrat %v: %s has %d bytes, error %v, want %d", without, name, len(got), err,
					len(value))
			}
		}
		for _, name := range []string{"gone", strings.Repeat("x", 300)} {
			if _, err := d.GetAttrIn(name, "user.test"); err == nil {
				t.Errorf("without getxattrat %v: %q has an attribute, and is not there", without, name)
			}
		}
		d.Close()
	}
	noGetxattrat.Store(false)
}
