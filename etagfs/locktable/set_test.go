package locktable

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// tokensIn returns the tokens of locks, in order.
func tokensIn(locks []tree.Lock) (tokens []string) {
	for _, l := range locks {
		tokens = append(tokens, l.Token)
	}
	slices.Sort(tokens)
	return tokens
}

// those returns the locks of candidates.
func those(found []Candidate) (locks []tree.Lock) {
	for _, c := range found {
		locks = append(locks, c.Lock)
	}
	return locks
}

// A Set finds what a search through all locks finds.
func TestLockSetFindsWhatASearchFinds(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"", "a", "a/b", "a/b/c", "a!", "a/b!", "a-b", "ab", "b", "b/a", "a/b/c/d", "a/b0", "é", "a/\xff"}
	at := time.Unix(1e9, 0)
	var set Set
	var all []tree.Lock
	for step := range 3000 {
		switch {
		case len(all) > 0 && random.IntN(3) == 0:
			i := random.IntN(len(all))
			set.remove(all[i].Token)
			all = slices.Delete(all, i, i+1)
		case step%500 == 499:
			at = at.Add(30 * time.Second)
			set.purge(at)
			all = slices.DeleteFunc(all, func(l tree.Lock) bool { return !l.Expires.After(at) })
		default:
			l := tree.Lock{Token: fmt.Sprint(random.IntN(60)), Root: names[random.IntN(len(names))],
				Infinite: random.IntN(2) == 0,
				Holder:   fmt.Sprint(random.IntN(3)), Expires: at.Add(time.Duration(random.IntN(60)) * time.Second)}
			all = append(slices.DeleteFunc(all, func(o tree.Lock) bool { return o.Token == l.Token }), l)
			set.put(l, 10)
		}
		name := names[random.IntN(len(names))]
		p := Place{Name: name, Key: Key(name), Depth: SegmentsOf(name), Short: -1}
		want := func(is func(tree.Lock) bool) (tokens []string) {
			for _, l := range all {
				if l.Expires.After(at) && is(l) {
					tokens = append(tokens, l.Token)
				}
			}
			slices.Sort(tokens)
			return tokens
		}
		for what, found := range map[string][2][]string{
			"covering": {tokensIn(those(set.AppendCovering(nil, p, at))),
				want(func(l tree.Lock) bool { return l.Covers(name) })},
			"below": {tokensIn(those(set.AppendBelow(nil, p, at))),
				want(func(l tree.Lock) bool { return tree.Below(l.Root, name) })},
			"at": {tokensIn(those(set.AppendAt(nil, p, at))),
				want(func(l tree.Lock) bool { return l.Root == name })},
		} {
			if !slices.Equal(found[0], found[1]) {
				t.Fatalf("step %d, %s %q: got %q, want %q", step, what, name, found[0], found[1])
			}
		}
		held := 0
		for _, h := range set.holders {
			held += h.locks
		}
		if held != len(all) || set.bytes != 10*len(all) || len(set.ByToken) != len(all) {
			t.Fatalf("step %d: %d are held, %d bytes, %d tokens; want %d", step, held, set.bytes, len(set.ByToken),
				len(all))
		}
	}
}

// One client cannot take all the locks there can be, and not so many shared ones that all names are covered by them.
func TestLocksAreSharedOut(t *testing.T) {
	var set Set
	take := func(holder string, bytes int) (n int) {
		for set.hasRoom(holder, bytes) == nil {
			set.put(tree.Lock{Token: fmt.Sprint(holder, n), Holder: holder, Expires: time.Unix(1e9, 0)}, bytes)
			n++
		}
		return n
	}
	for _, want := range []int{maxLocks / 2, maxLocks / 4, maxLocks / 8} {
		if got := take(fmt.Sprint(want), 300); got != want {
			t.Errorf("a client got %d, want %d", got, want)
		}
	}
	set = Set{}
	if got, want := take("large", MaxOwner), maxTable/MaxOwner/2; got != want {
		t.Errorf("a client got %d with much to say, want %d", got, want)
	}
	if err := set.hasRoom("other", MaxOwner); err != nil {
		t.Errorf("another: %v", err)
	}
	if err := set.hasRoom("large", 100); !errors.Is(err, tree.ErrNoSpace) ||
		!strings.Contains(err.Error(), "this client") {
		t.Errorf("got %v", err)
	}
}

func TestStem(t *testing.T) {
	for segment, want := range map[string]string{
		"Long~1": "l", "long name.text": "l", " . 7zip": "7", "LONG": "l", // what systems leave out at the front
		"_a~1": "", "+a long name": "", "\u00fcbung": "", "": "", "..": "",
	} {
		if got := stem(segment); got != want {
			t.Errorf("%q: got %q, want %q", segment, got, want)
		}
	}
}
