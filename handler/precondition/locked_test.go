package precondition

import (
	"reflect"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// lock reads "urn:token root [infinite] [shared]".
func lock(s string) tree.Lock {
	words := strings.Fields(s)
	root := strings.TrimPrefix(words[1], "/")
	return tree.Lock{Token: words[0], Root: root, Infinite: strings.Contains(s, " infinite"), Shared: strings.Contains(s, " shared")}
}

// locking reads "root [infinite] [shared]".
func locking(s string) Change { return Locking(lock("urn:new /" + s)) }

// RFC 4918 §6 and §7, one row per sentence that binds a server.
func TestUnlocked(t *testing.T) {
	for _, r := range []struct {
		name    string
		locks   []string
		lines   []string
		changes []Change
		want    string
	}{
		{"without locks everything is open", nil, nil, []Change{Resource("f"), Mapping("d"), locking("new")}, ""},

		// §7: the resource itself
		{"a lock is in the way", lines("urn:1 /f"), nil, []Change{Resource("f")}, "423 f urn:1"},
		{"its token opens", lines("urn:1 /f"), lines("If: (<urn:1>)"), []Change{Resource("f")}, ""},
		{"another token does not", lines("urn:1 /f"), lines("If: (<urn:2>)"), []Change{Resource("f")}, "423 f urn:1"},
		{"a lock of another resource is not in the way", lines("urn:1 /g"), nil, []Change{Resource("f")}, ""},
		{"a token opens only what its lock covers", lines("urn:1 /f", "urn:2 /g"), lines("If: </g> (<urn:2>)"),
			[]Change{Resource("f")}, "423 f urn:1"},
		{"an infinite lock above is in the way", lines("urn:1 /d infinite"), nil, []Change{Resource("d/m")}, "423 d/m urn:1"},
		{"an infinite lock of the root is in the way", lines("urn:1 / infinite"), nil, []Change{Resource("d/m")}, "423 d/m urn:1"},
		{"the token of an infinite lock above opens", lines("urn:1 /d infinite"), lines("If: </d> (<urn:1>)"),
			[]Change{Resource("d/m")}, ""},
		{"properties of a locked collection", lines("urn:1 /d"), nil, []Change{Resource("d")}, "423 d urn:1"},
		{"a lock below is not in the way of the collection's properties", lines("urn:1 /d/m"), nil, []Change{Resource("d")}, ""},
		{"names are not prefixes", lines("urn:1 /d infinite"), nil, []Change{Resource("dd")}, ""},

		// §7.4: membership
		{"a new member changes a locked collection", lines("urn:1 /d"), nil, []Change{Resource("d/new")}, "423 d urn:1"},
		{"a new member by LOCK changes a locked collection", lines("urn:1 /d"), nil, []Change{locking("d/new")}, "423 d urn:1"},
		{"a new member in a locked root", lines("urn:1 /"), nil, []Change{Resource("new")}, "423  urn:1"},
		{"the collection's token opens its membership", lines("urn:1 /d"), lines("If: </d> (<urn:1>)"), []Change{Resource("d/new")}, ""},
		{"a member that stays is not protected by depth 0", lines("urn:1 /d"), nil, []Change{Resource("d/m")}, ""},
		{"removing a member changes a locked collection", lines("urn:1 /d"), nil, []Change{Mapping("d/m")}, "423 d urn:1"},
		{"membership further down is not protected by depth 0", lines("urn:1 /"), nil, []Change{Mapping("d/m")}, ""},
		{"a lock of a sibling does not protect membership", lines("urn:1 /f"), nil, []Change{Mapping("g")}, ""},
		{"a new member of an infinitely locked collection", lines("urn:1 /d infinite"), nil, []Change{Resource("d/new")}, "423 d/new urn:1"},
		{"both locks need their tokens", lines("urn:1 /d", "urn:2 /d/m"), lines("If: (<urn:2>)"), []Change{Mapping("d/m")}, "423 d urn:1"},
		{"both tokens open both locks", lines("urn:1 /d", "urn:2 /d/m"), lines("If: </d> (<urn:1>) </d/m> (<urn:2>)"),
			[]Change{Mapping("d/m")}, ""},

		// §6.2, §9.10.5: conflicting locks, whoever has the token
		{"LOCK beside a lock it conflicts with", lines("urn:1 /f shared"), lines("If: (<urn:1>)"), []Change{locking("f")}, "423 f urn:1"},
		{"LOCK beside a lock it shares", lines("urn:1 /f shared"), nil, []Change{locking("f shared")}, ""},
		{"LOCK of a collection above a locked member", lines("urn:1 /d/m"), nil, []Change{locking("d infinite")}, "423 d urn:1"},
		{"LOCK of the collection alone", lines("urn:1 /d/m"), nil, []Change{locking("d")}, ""},
		{"LOCK of a member from above", lines("urn:1 /d infinite"), lines("If: </d> (<urn:1>)"), []Change{locking("d/m")}, "423 d/m urn:1"},

		// §9.6.1, §9.8.4, §9.9: all that is below
		{"a lock below is in the way of a removal", lines("urn:1 /d/m"), nil, []Change{Mapping("d")}, "423 d/m urn:1"},
		{"a lock far below is in the way of a removal", lines("urn:1 /d/e/f infinite"), nil, []Change{Mapping("d")}, "423 d/e/f urn:1"},
		{"its token opens the removal", lines("urn:1 /d/m"), lines("If: </d/m> (<urn:1>)"), []Change{Mapping("d")}, ""},
		{"every lock below needs its token", lines("urn:1 /d/m", "urn:2 /d/n"), lines("If: </d/m> (<urn:1>)"),
			[]Change{Mapping("d")}, "423 d/n urn:2"},
		{"the first end of a MOVE", lines("urn:1 /f"), nil, []Change{Mapping("f"), Mapping("g")}, "423 f urn:1"},
		{"the other end of a MOVE", lines("urn:1 /g"), nil, []Change{Mapping("f"), Mapping("g")}, "423 g urn:1"},
		{"the root is no member", lines("urn:1 /f"), lines("If: </f> (<urn:1>)"), []Change{Mapping("")}, ""},
		{"the root itself", lines("urn:1 /f"), nil, []Change{Mapping("")}, "423 f urn:1"},

		// §6.2: shared locks
		{"shared locks are in the way of strangers", lines("urn:1 /f shared", "urn:2 /f shared"), nil, []Change{Resource("f")}, "423 f urn:1"},
		{"one shared token is enough", lines("urn:1 /f shared", "urn:2 /f shared"), lines("If: (<urn:2>)"), []Change{Resource("f")}, ""},
		{"one shared token from above is enough", lines("urn:1 /d/m shared", "urn:2 /d infinite shared"), lines("If: (<urn:2>)"),
			[]Change{Resource("d/m"), Mapping("d")}, ""},
		{"a shared token that does not cover is not enough", lines("urn:1 /d/m shared", "urn:2 /d shared"), lines("If: </d> (<urn:2>)"),
			[]Change{Mapping("d")}, "423 d/m urn:1"},
		{"a shared token of another member is not enough", lines("urn:1 /d/m shared", "urn:2 /d/n shared"), lines("If: </d/n> (<urn:2>)"),
			[]Change{Mapping("d")}, "423 d/m urn:1"},
		{"a shared token does not open an exclusive lock", lines("urn:1 /d/m", "urn:2 /d shared"), lines("If: </d> (<urn:2>)"),
			[]Change{Mapping("d")}, "423 d/m urn:1"},
		// No store permits these two together. If one does, both locks protect.
		{"not even one that covers it", lines("urn:1 /d/m", "urn:2 /d infinite shared"), lines("If: </d> (<urn:2>)"),
			[]Change{Resource("d/m")}, "423 d/m urn:1"},
		{"an exclusive token does not open a shared lock", lines("urn:1 /d/m shared", "urn:2 /d infinite"), lines("If: </d> (<urn:2>)"),
			[]Change{Resource("d/m")}, "423 d/m urn:1"},

		// §10.4.1: submitted tokens
		{"submitted in a list that is false", lines("urn:1 /f"), lines(`If: (<urn:1> ["x"]) (Not <DAV:no-lock>)`), []Change{Resource("f")}, ""},
		{"submitted behind Not", lines("urn:1 /f"), lines(`If: (Not <urn:1>)`), []Change{Resource("f")}, ""},
		{"submitted for another resource", lines("urn:1 /f"), lines(`If: </g> (<urn:1>)`), []Change{Resource("f")}, ""},
		{"submitted for another server", lines("urn:1 /f"), lines(`If: <http://there/f> (<urn:1>)`), []Change{Resource("f")}, ""},
		{"submitted in a second line", lines("urn:1 /f"), lines(`If: (<urn:2>)`, `If: (<urn:1>)`), []Change{Resource("f")}, ""},
		{"submitted in Lock-Token, as Office does", lines("urn:1 /f"), lines(`Lock-Token: <urn:1>`), []Change{Resource("f")}, ""},
		{"submitted in Lock-Token without brackets", lines("urn:1 /f"), lines(`Lock-Token: urn:1`), []Change{Resource("f")}, ""},
		{"an entity tag submits nothing", lines("urn:1 /f"), lines(`If: (["urn:1"])`), []Change{Resource("f")}, "423 f urn:1"},

		{"an error of the locks is returned", nil, nil, []Change{Mapping("broken")}, errDisk.Error()},
		{"an error of the state is returned", nil, nil, []Change{Resource("broken")}, errDisk.Error()},
	} {
		t.Run(r.name, func(t *testing.T) {
			v := world()
			v.locks = nil
			for _, l := range r.locks {
				v.locks = append(v.locks, lock(l))
			}
			err := parse(t, "f", r.lines...).unlocked(v, r.changes)
			if got := answer(err); got != r.want {
				t.Errorf("got %q, want %q", got, r.want)
			}
		})
	}
}

func TestTokens(t *testing.T) {
	c := parse(t, "f", `If: </g> (<urn:2> Not <urn:1>) (Not <DAV:no-lock> <urn:2>)`, `Lock-Token: <urn:3>`, `Lock-Token: urn:1`)
	if got, want := c.Tokens(), lines("urn:2", "urn:1", "urn:3"); !reflect.DeepEqual(got, want) {
		t.Errorf("Tokens() = %q, want %q", got, want)
	}
	if got := c.LockToken(); got != "urn:3" {
		t.Errorf("LockToken() = %q", got)
	}
	none := parse(t, "f", `Lock-Token: `)
	if none.Tokens() != nil || none.LockToken() != "" {
		t.Errorf("without tokens: %q, %q", none.Tokens(), none.LockToken())
	}
}
