package locktable

import (
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"r-seed-1f3a754f.example/ifmatch/fs/volumes"
	"r-seed-1f3a754f.example/ifmatch/spelling"
	"r-seed-1f3a754f.example/ifmatch/tree"
)

// ShortRoots holds the locks in a collection whose roots may be, or may have, a short name of a member. It finds their
// tokens by the file that each root was when a listing first looked at that root. The looks are kept because a listing
// asks for some members at a time.
type ShortRoots struct {
	looked, all bool // all: also the locks on names that do not look short
	tokens      map[fileNumber][]string
}

type fileNumber struct{ device, inode uint64 }

// OfMembers returns, for each of some members of a collection, the locks that cover it, or nil if there are none.
func (v *View) OfMembers(dir string, members []volumes.Member, short *ShortRoots) ([][]tree.Lock, error) {
	shortened := slices.ContainsFunc(members, func(m volumes.Member) bool { return volumes.IsShortened(m.Name) })
	var above []Candidate
	ask := false
	at := make([][]Candidate, len(members))
	err := v.lookUp(dir, func(set *Set, in Place, now time.Time) {
		above = set.AppendCovering(nil, in, now)
		for i, m := range members {
			p := Place{
				Name: tree.Join(dir, m.Name), Key: KeyBelow(in.Key, m.Name), Depth: in.Depth + 1, Short: -1,
			}
			at[i] = set.AppendSpelled(nil, p, now)
		}
		ask = shortened || len(set.Short[in.Key]) > 0
	})
	if err == nil && ask && v.mayShorten(dir) {
		err = v.appendShortNamed(at, dir, members, short, shortened)
	}
	if err != nil {
		return nil, err
	}
	all := v.those(above, itIsLeft)
	all = slices.DeleteFunc(all, func(l tree.Lock) bool { return !l.Infinite })
	covering := make([][]tree.Lock, len(members))
	for i := range members {
		covering[i] = append(v.those(at[i], itIsLeft), all...)
	}
	return covering, nil
}

// appendShortNamed appends, to the candidates of each member of a collection, the locks in that collection whose root
// is the same file by another name. One of the two names may be short.
func (v *View) appendShortNamed(
	at [][]Candidate, dir string, members []volumes.Member, short *ShortRoots, all bool,
) error {
	if !short.looked || all && !short.all {
		if err := v.lookAtRoots(dir, short, all); err != nil {
			return err
		}
	}
	if len(short.tokens) == 0 {
		return nil
	}
	tokens := make([][]string, len(members))
	for i, m := range members {
		info := m.Info
		if m.Linked || m.Inode == 0 {
			info, _ = v.look.Lstat(tree.Join(dir, m.Name))
		}
		tokens[i] = short.tokens[fileNumber{info.Device, info.Inode}]
	}
	v.table.LookAgain(func(set *Set, now time.Time) {
		for i, m := range members {
			for _, token := range tokens[i] {
				one := set.Live(token, now)
				if one == nil {
					continue
				}
				base := path.Base(one.Root)
				if spelling.Fold(base) != spelling.Fold(m.Name) && (volumes.IsShortened(base) || volumes.IsShortened(m.Name)) {
					at[i] = append(at[i], Candidate{Lock: one.Lock, Ours: tree.Join(dir, m.Name), Theirs: one.Root})
				}
			}
		}
	})
	return nil
}

// lookAtRoots finds the locks for ShortRoots, and looks at each of their roots once.
func (v *View) lookAtRoots(dir string, short *ShortRoots, all bool) error {
	var roots []*Entry
	err := v.lookUp(dir, func(set *Set, in Place, now time.Time) {
		roots = set.AppendRoots(nil, in, all, now)
	})
	*short = ShortRoots{looked: true, all: all, tokens: map[fileNumber][]string{}}
	looked := map[string]bool{}
	for _, one := range roots {
		if looked[one.Root] = true; len(looked) > MaxLooked {
			break
		}
		info, err := v.look.Lstat(one.Root)
		n := fileNumber{info.Device, info.Inode}
		if err == nil && n.inode != 0 && len(short.tokens[n]) < MaxAlike {
			short.tokens[n] = append(short.tokens[n], one.Token)
		}
	}
	return err
}

// ShortSegments yields, for each segment of a name that may be a short name, the number of segments before it.
func ShortSegments(name string) iter.Seq[int] {
	return func(yield func(int) bool) {
		if !strings.Contains(name, "~") {
			return
		}
		at := 0
		for segment := range strings.SplitSeq(name, "/") {
			if volumes.IsShortened(segment) && !yield(at) {
				return
			}
			at++
		}
	}
}

// SegmentsOf returns the number of segments of a name.
func SegmentsOf(name string) int {
	if name == "" {
		return 0
	}
	return strings.Count(name, "/") + 1
}
