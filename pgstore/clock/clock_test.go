package clock

import (
	"errors"
	"testing"
	"time"
)

// A machine has a clock that a test moves on.
type machine struct {
	ran time.Duration // since the start
}

var start = time.Now()

// now returns the time of the machine.
func (m *machine) now() time.Time { return start.Add(m.ran) }

// TestClockGoesByTheDatabase: however wrong the machine is, the clock is no further off than an answer takes.
func TestClockGoesByTheDatabase(t *testing.T) {
	for name, test := range map[string]struct {
		ahead time.Duration // the clock of the database
		takes time.Duration // an answer, half of it on each way
		want  time.Duration // the clock then, compared with the machine
	}{
		"the same":              {0, time.Second, 0},
		"within the answer":     {400 * time.Millisecond, time.Second, 0},
		"an hour ahead":         {time.Hour, time.Second, time.Hour - time.Second/2},
		"an hour behind":        {-time.Hour, time.Second, -time.Hour + time.Second/2},
		"ahead, told at once":   {time.Hour, 0, time.Hour},
		"behind, told at once":  {-time.Hour, 0, -time.Hour},
		"a little ahead, late":  {20 * time.Second, time.Minute, 0},
		"a little behind, late": {-20 * time.Second, time.Minute, 0},
	} {
		m := &machine{}
		c := New(m.now)
		look := func(takes time.Duration) {
			t.Helper()
			err := c.Look(func() (time.Time, error) {
				m.ran += takes / 2
				defer func() { m.ran += takes / 2 }()
				return m.now().Round(0).Add(test.ahead), nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		look(test.takes)
		if got := c.Now().Sub(m.now().Round(0)); got != test.want || c.Ahead() != -test.want {
			t.Errorf("%s: the clock is ahead by %v, and tells %v, want %v", name, got, -c.Ahead(), test.want)
		}
		m.ran += time.Hour
		if got := c.Now().Sub(m.now().Round(0)); got != test.want {
			t.Errorf("%s: an hour later the clock is ahead by %v, want %v", name, got, test.want)
		}
		look(0) // a better answer
		if got := c.Now().Sub(m.now().Round(0)); got != test.ahead {
			t.Errorf("%s: after an answer at once the clock is ahead by %v, want %v", name, got, test.ahead)
		}
	}
}

func TestNoAnswerChangesNothing(t *testing.T) {
	m := &machine{}
	c := New(m.now)
	before, away := c.Now(), errors.New("away")
	if err := c.Look(func() (time.Time, error) { return time.Time{}, away }); !errors.Is(err, away) || !c.Now().Equal(before) {
		t.Errorf("the clock shows %v after %v, error %v", c.Now(), before, err)
	}
}
