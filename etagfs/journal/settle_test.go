package journal

import (
	"errors"
	"fmt"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A change takes long, and its caller gives up the lock meanwhile. Others append, adopt or do nothing until it settles
// the change. Whoever has followed the journal up to any instant before the change happened is told of it later.
func TestChangesThatAreSettledLater(t *testing.T) {
	for _, tt := range []struct {
		name      string
		meanwhile func(t *testing.T, ours, theirs *Journal)
		happens   bool
		want      []string // in the journal in the end
	}{
		{"nothing comes between, and it happens", func(*testing.T, *Journal, *Journal) {}, true, []string{"slow"}},
		{"nothing comes between, and it does not happen", func(*testing.T, *Journal, *Journal) {}, false, nil},
		{"the same process appends, and it happens", func(t *testing.T, ours, _ *Journal) {
			do(t, ours, "quick")
		}, true, []string{"slow", "quick", "slow"}},
		{"the same process appends, and it does not happen", func(t *testing.T, ours, _ *Journal) {
			do(t, ours, "quick")
		}, false, []string{"slow", "quick"}},
		{"the same process takes a change back", func(t *testing.T, ours, _ *Journal) {
			if err := ours.Append(put("quick")); err != nil {
				t.Fatal(err)
			}
			ours.TakeBack()
		}, true, []string{"slow", "slow"}},
		{"another process appends", func(t *testing.T, _, theirs *Journal) {
			do(t, theirs, "quick")
		}, true, []string{"slow", "quick", "slow"}},
		{"another process looks", func(t *testing.T, _, theirs *Journal) {
			if err := theirs.Adopt(); err != nil {
				t.Fatal(err)
			}
		}, true, []string{"slow", "slow"}},
		{"another process begins the journal anew", func(t *testing.T, _, theirs *Journal) {
			if err := errors.Join(theirs.takeTurn(), theirs.begin()); err != nil {
				t.Fatal(err)
			}
		}, true, nil},
		{"the file is full", func(t *testing.T, ours, _ *Journal) {
			for i := range 20 {
				do(t, ours, fmt.Sprint(i))
			}
		}, true, nil},
	} {
		for _, sure := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, sure of the turn: %v", tt.name, sure), func(t *testing.T) {
				files, last := InMemory(), 0
				turn := func(id int) Options {
					return Options{Segment: 400, Turn: &fakeTurn{id: id, last: &last, unsure: !sure}}
				}
				theirs := openJournal(t, files, turn(2))
				theirs.Rest()
				ours := openJournal(t, files, turn(1))
				begin := now(t, ours)
				slow := put("slow")
				if err := ours.Append(slow); err != nil {
					t.Fatal(err)
				}
				pending := ours.Pending(slow)
				ours.Rest()
				tt.meanwhile(t, ours, theirs)
				ours.Rest()
				theirs.Rest()
				cursors := map[string]tree.Cursor{"ours": now(t, ours), "theirs": now(t, theirs)}
				if err := ours.Settle(pending, tt.happens); err != nil {
					t.Fatal(err)
				}
				ours.Rest()
				if err := theirs.Adopt(); err != nil {
					t.Fatal(err)
				}
				theirs.Rest()
				if tt.want != nil && sure {
					wantFollowed(t, "ours", ours, begin, tt.want...)
					wantFollowed(t, "theirs", theirs, begin, tt.want...)
				}
				for who, since := range cursors {
					if !tt.happens {
						continue
					}
					for reader, j := range map[string]*Journal{"ours": ours, "theirs": theirs} {
						names, err := follow(j, since)
						if err == nil && (len(names) == 0 || names[len(names)-1] != "slow") {
							t.Errorf("after the cursor of %s, %s tells of %q, want slow last", who, reader, names)
						}
					}
				}
			})
		}
	}
}

// Of two changes that take long at once, in whatever order they end, none is missed.
func TestChangesThatOverlap(t *testing.T) {
	for _, tt := range []struct {
		ends [2]int // in which order they end
		want []string
	}{
		{[2]int{0, 1}, []string{"0", "1", "0", "1"}},
		{[2]int{1, 0}, []string{"0", "1", "0"}},
	} {
		last := 0
		j := openJournal(t, InMemory(), Options{Turn: &fakeTurn{id: 1, last: &last}})
		begin := now(t, j)
		var pending [2]Pending
		for i := range pending {
			c := put(fmt.Sprint(i))
			if err := j.Append(c); err != nil {
				t.Fatal(err)
			}
			pending[i] = j.Pending(c)
			j.Rest()
		}
		for _, i := range tt.ends {
			if err := j.Settle(pending[i], true); err != nil {
				t.Fatal(err)
			}
			j.Rest()
		}
		wantFollowed(t, fmt.Sprintf("they end in the order %v", tt.ends), j, begin, tt.want...)
	}
}
