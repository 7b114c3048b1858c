// Package clock has a replica go by the clock of the database, which all replicas share, without asking for each time.
package clock

import (
	"sync"
	"time"
)

// Off is by how much the clock of a machine may be wrong before that is told. Machines that follow a time server are
// milliseconds apart, and dates have seconds.
const Off = 5 * time.Second

// A Clock shows the time of the database as the last looks have found it. Between two looks it runs with the monotonic
// clock of the machine, so that a machine whose time is set is of no consequence. It may be used by several goroutines at
// once.
type Clock struct {
	machine func() time.Time

	mu   sync.Mutex
	base time.Time // of the database, at the moment from
	from time.Time // by the machine
}

// New returns a clock that shows the time of the machine until the first look.
func New(machine func() time.Time) *Clock {
	now := machine()
	return &Clock{machine: machine, base: now.Round(0), from: now}
}

// Now returns the time of the database.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at(c.machine())
}

// at returns the time at a moment of the machine. mu must be held.
func (c *Clock) at(moment time.Time) time.Time { return c.base.Add(moment.Sub(c.from)) }

// Look asks the database for its time, and sets the clock, if it is not within the time that the answer has taken. The
// correction is the smallest that may be right.
func (c *Clock) Look(ask func() (time.Time, error)) error {
	sent := c.machine()
	is, err := ask()
	received := c.machine()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if late := c.at(sent).Sub(is); late > 0 {
		c.base = c.base.Add(-late)
	} else if early := is.Sub(c.at(received)); early > 0 {
		c.base = c.base.Add(early)
	}
	return nil
}

// Ahead returns by how much the clock of the machine is ahead of that of the database. It is negative for one that is
// behind.
func (c *Clock) Ahead() time.Duration {
	now := c.machine()
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Round(0).Sub(c.at(now))
}
