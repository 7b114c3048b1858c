package limit

import (
	"fmt"
	"testing"
)

// Many clients of one network of IPv6 may be one, and leave a quarter for others.
func TestOneNetworkLeavesRoomForOthers(t *testing.T) {
	p := NewPool("cups", 64)
	var held []*Slot
	for i := range 256 {
		held = append(held, fill(p, fmt.Sprintf("2001:db8:0:%x::/64", i))...)
	}
	if len(held) != 48 {
		t.Errorf("one network holds %d of 64, want 48", len(held))
	}
	for _, tt := range []struct {
		client string
		want   int
	}{{"2001:db8:0:7::/64", 0}, {"2001:db8:0:100::/64", 8}, {"192.0.2.1", 4}} {
		if got := len(fill(p, tt.client)); got != tt.want {
			t.Errorf("%s holds %d, want %d", tt.client, got, tt.want)
		}
	}
	for _, slot := range held {
		slot.Release()
	}
	if len(p.nets) != 1 || len(p.clients) != 2 {
		t.Errorf("%d networks are left, and %d clients", len(p.nets), len(p.clients))
	}
}
