package watcher

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A script is lines of "TIME OP NAME" and, at the times given in ms, "TIME take" with what is expected:
// with quiet 20 and most 200.
func TestCoalesce(t *testing.T) {
	for _, tt := range []struct{ name, script string }{
		{"one event waits until its name was quiet", `
			0 changed f
			19 take
			20 take: changed f
			500 take`},
		{"a burst is one event", `
			0 changed f
			10 changed f
			25 changed f
			44 take
			45 take: changed f`},
		{"a name that never rests is handed on all the same", `
			0 changed f
			15 changed f
			195 changed f
			199 take
			200 take: changed f
			210 changed f
			229 take
			230 take: changed f`},
		{"a noisy name does not delay the others", `
			0 changed noisy
			1 changed f
			19 changed noisy
			21 take: changed f
			39 take: changed noisy`},
		{"removed after changed is removed", `
			0 changed f
			1 removed f
			21 take: removed f`},
		{"changed after removed is both, in this order", `
			0 removed f
			1 changed f
			21 take: removed f, changed f`},
		{"removed, changed, removed is removed", `
			0 removed f
			1 changed f
			2 removed f
			22 take: removed f`},
		{"replaced again and again", `
			0 changed f
			1 removed f
			2 changed f
			3 removed f
			4 changed f
			24 take: removed f, changed f`},
		{"a removed directory takes along what waited below it", `
			0 changed d/x
			1 removed d/y
			1 changed d/e/z
			1 changed dd
			2 removed d
			22 take: changed dd, removed d`},
		{"also what is due later than the removal", `
			0 changed d
			190 changed d/x
			195 removed d
			200 take: removed d
			300 take`},
		{"what is below a new directory follows the removal of the old one", `
			0 removed d
			5 changed d
			6 changed d/x
			15 changed d
			20 changed d
			26 take: removed d, changed d, changed d/x
			300 take`},
		{"two removals, one above the other", `
			0 removed a
			1 removed a/b
			2 changed a/b/c
			15 changed a
			15 changed a/b
			22 take: removed a, changed a, removed a/b, changed a/b, changed a/b/c`},
		{"a directory is not its neighbour", `
			0 changed ab
			0 changed a.b/c
			1 removed a
			21 take: changed ab, changed a.b/c, removed a`},
		{"an overflow swallows everything until it is handed on", `
			0 changed f
			1 removed d
			2 overflow
			3 changed g
			4 removed d
			5 overflow
			25 take: overflow
			26 changed f
			46 take: changed f`},
		{"an overflow that never ends is handed on", `
			0 overflow
			100 overflow
			199 overflow
			200 take: overflow`},
		{"the root", `
			0 changed
			1 changed f
			2 removed
			3 changed g
			22 take: removed 
			23 take: changed g`},
	} {
		t.Run(tt.name, func(t *testing.T) { runCoalesceScript(t, tt.script) })
	}
}

func runCoalesceScript(t *testing.T, script string) {
	c := newCoalescer(20*time.Millisecond, 200*time.Millisecond)
	for line := range strings.Lines(script) {
		var ms int
		var op string
		line, want, _ := strings.Cut(strings.TrimSpace(line), ":")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		fmt.Sscan(f[0], &ms)
		op = f[1]
		name := ""
		if len(f) > 2 {
			name = f[2]
		}
		now := time.UnixMilli(int64(ms))
		if op == "take" {
			checkTake(t, c, now, want)
			continue
		}
		c.add(Event{name, parseOp(t, op)}, now)
	}
	checkEmpty(t, c)
}

// checkTake compares what is handed on at now, and what due says about it.
func checkTake(t *testing.T, c *coalescer, now time.Time, want string) {
	t.Helper()
	at, ok := c.due()
	batch := c.take(now)
	if is := ok && !at.After(now); is != (len(batch) > 0) {
		t.Errorf("at %d: due says %v %v, take has %v", now.UnixMilli(), at.UnixMilli(), ok, batch)
	}
	var got []string
	for _, ev := range batch {
		got = append(got, strings.TrimSpace(ev.Op.String()+" "+ev.Name))
	}
	if g, w := strings.Join(got, ", "), strings.TrimSpace(want); g != w {
		t.Errorf("at %d: got %q, want %q", now.UnixMilli(), g, w)
	}
	if at, ok := c.due(); ok && !at.After(now) {
		t.Errorf("at %d: still due after take: %v", now.UnixMilli(), at)
	}
}

// checkEmpty fails if something is left behind when everything was taken.
func checkEmpty(t *testing.T, c *coalescer) {
	t.Helper()
	c.take(time.UnixMilli(1 << 40))
	if len(c.root.below) > 0 || c.byLast.Len() > 0 || c.byFirst.Len() > 0 {
		t.Errorf("left behind: %v, %d, %d", c.root.below, c.byLast.Len(), c.byFirst.Len())
	}
}

func parseOp(t *testing.T, s string) Op {
	t.Helper()
	for _, op := range []Op{Changed, Removed, Overflow} {
		if op.String() == s {
			return op
		}
	}
	t.Fatalf("no such operation: %q", s)
	return 0
}

// A consumer that applies events to a set of names must end with what a consumer of every single event has:
// coalescing loses no name that is there, and keeps none that is not.
func FuzzCoalesce(f *testing.F) {
	f.Add([]byte{0x00, 0x41, 0x12, 0x93, 0x24, 0xff})
	f.Fuzz(func(t *testing.T, ops []byte) {
		names := []string{"a", "a/x", "a/x/y", "a/z", "b", "b/x", "ab", "c"}
		c := newCoalescer(20*time.Millisecond, 200*time.Millisecond)
		now := time.UnixMilli(0)
		all, coalesced := names[:0:0], names[:0:0]
		for _, b := range ops {
			op := Changed
			if b&8 != 0 {
				op = Removed
			}
			now = now.Add(time.Duration(b>>4) * time.Millisecond)
			ev := Event{names[b&7], op}
			c.add(ev, now)
			all = apply(all, ev)
			for _, ev := range c.take(now) {
				coalesced = apply(coalesced, ev)
			}
		}
		for _, ev := range c.take(now.Add(time.Hour)) {
			coalesced = apply(coalesced, ev)
		}
		slices.Sort(all)
		slices.Sort(coalesced)
		if !slices.Equal(all, coalesced) {
			t.Errorf("every event leaves %q, the coalesced ones %q", all, coalesced)
		}
		checkEmpty(t, c)
	})
}

func apply(set []string, ev Event) []string {
	if ev.Op == Removed {
		return slices.DeleteFunc(set, func(s string) bool {
			return s == ev.Name || strings.HasPrefix(s, ev.Name+"/")
		})
	}
	if !slices.Contains(set, ev.Name) {
		set = append(set, ev.Name)
	}
	return set
}
