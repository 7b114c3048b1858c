package pgstore

import (
	"context"
	"sync/atomic"
	"time"
)

// Figures are how a store does with its database and its objects.
type Figures struct {
	Connections, Used, Most int           // to the database
	Waits                   uint64        // requests that had to wait for a connection
	Waited                  time.Duration // for connections, in all
	Looks, Commits          Trips
	ObjectFailures          uint64 // calls of the place for objects that have failed
	Damages                 uint64 // contents that were found to be missing or damaged
}

// Trips are how often writes have made one of their two trips to the database, and how long these took in all. A look
// includes the wait for the locks of its names, a commit that for the disks of the database and its standbys.
type Trips struct {
	Count uint64
	Took  time.Duration
}

// A tripCounter counts trips.
type tripCounter struct{ count, took atomic.Int64 }

func (c *tripCounter) since(start time.Time) {
	c.count.Add(1)
	c.took.Add(int64(time.Since(start)))
}

func (c *tripCounter) trips() Trips {
	return Trips{uint64(c.count.Load()), time.Duration(c.took.Load())}
}

// Figures returns how the store does. It asks nobody.
func (s *Store) Figures() Figures {
	pool := s.pool.Stat()
	return Figures{
		Connections: int(pool.TotalConns()), Used: int(pool.AcquiredConns()), Most: int(pool.MaxConns()),
		Waits: uint64(pool.EmptyAcquireCount()), Waited: pool.AcquireDuration(),
		Looks: s.looks.trips(), Commits: s.commits.trips(),
		ObjectFailures: s.objectFailures.Load(), Damages: s.damages.Load(),
	}
}

// feedPatience bounds the question for the lag of the feed, which is asked whenever metrics are read.
const feedPatience = 2 * time.Second

// FeedLag returns for how long followers of changes wait for a transaction that has not ended. The role of the store may see
// those of its own user alone.
func (s *Store) FeedLag(ctx context.Context) (lag time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, feedPatience)
	defer cancel()
	err = s.notes.QueryRow(ctx, `select coalesce(clock_timestamp() - min(xact_start), '0'::interval) from pg_stat_activity
 where backend_xid is not null and pid <> pg_backend_pid()`).Scan(&lag)
	return lag, translate(err)
}
