package volumes

import (
	"strings"
	"testing"
)

func TestPlacesFile(t *testing.T) {
	got := decodeVolumes([]byte("\n\"d/m\"\n\n\"a\\nb\"\n\"torn\n../up\n\"../up\"\n\"/abs\"\n\".\"\n"))
	if want := "d/m|a\nb"; strings.Join(got, "|") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
