package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

var (
	outages = flag.Int("outages", 1, "how often each part of a cluster fails under load")
	fire    = flag.Duration("fire", 0, "how long replicas and the primary are killed in turn")
	older   = flag.String("older", "", "a program of the release before, for the rolling update")
)

// fleetOverPair returns a fleet over a primary and its synchronous standby.
func fleetOverPair(t *testing.T) (*fleet, *pgtest.Pair) {
	t.Helper()
	pair := pgtest.RunPair(t)
	if err := pair.Primary.SQL("create database ifmatch"); err != nil {
		t.Fatal(err)
	}
	return startFleet(t, pair.DSN("ifmatch"), 3), pair
}

// TestReplicasDieUnderLoad: replicas that are killed or stopped lose nothing that they have acknowledged, and one that wakes
// after its locks have ended commits nothing.
func TestReplicasDieUnderLoad(t *testing.T) {
	t.Parallel()
	server := pgtest.Run(t)
	if err := server.SQL("create database ifmatch"); err != nil {
		t.Fatal(err)
	}
	f := startFleet(t, server.DSN("ifmatch"), 3)
	for range *outages {
		l := f.load()
		l.goOn(100)
		if err := f.replicas[2].Kill(); err != nil {
			t.Fatal(err)
		}
		l.goOn(100)
		born := f.replace(2)
		l.goOn(100)
		l.settle("a replica was killed and started")

		l = f.load()
		l.goOn(100)
		if err := born.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		// The sessions of a replica that does nothing are ended by the database, with the transactions that they have.
		if err := server.Await(`select not exists(select from pg_stat_activity
 where state = 'idle in transaction' and application_name = 'ifmatch' and now() - state_change > interval '1 second')
 and (select max(now() - state_change) > interval '6 seconds' from pg_stat_activity where application_name = 'ifmatch')`); err != nil {
			t.Error(err)
		}
		if err := born.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		l.goOn(100)
		l.settle("a replica was stopped for longer than its locks last")
	}
}

// TestPrimaryFails: what was acknowledged is on the standby, and the replicas find it by themselves.
func TestPrimaryFails(t *testing.T) {
	t.Parallel()
	f, pair := fleetOverPair(t)
	if err := awaitReady(f, http.StatusOK); err != nil {
		t.Error(err)
	}
	l := f.load()
	for range *outages {
		l.goOn(100)
		pair.Primary.End()
		down := time.Now()
		a := f.ask("PUT", "/refused", "x")
		if took := time.Since(down); a.status != http.StatusServiceUnavailable || a.retry == "" {
			t.Errorf("without PostgreSQL: %+v after %v", a, took)
		}
		if a := f.ask("GET", "/", ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("a read without PostgreSQL: %+v", a)
		}
		if err := awaitReady(f, http.StatusServiceUnavailable); err != nil {
			t.Error(err)
		}
		if err := pair.Primary.Start(); err != nil {
			t.Fatal(err)
		}
		l.goOn(100)
	}
	l.settle("PostgreSQL was ended and started")
	if err := awaitReady(f, http.StatusOK); err != nil {
		t.Error(err)
	}

	l = f.load()
	l.goOn(200)
	killed := time.Now()
	if err := pair.Primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := pair.Standby.Promote(); err != nil {
		t.Fatal(err)
	}
	promoted := time.Since(killed)
	l.goOn(1)
	resumed := time.Since(killed)
	l.goOn(200)
	l.settle("the primary was killed and the standby promoted")
	t.Logf("promoted after %v, the first write after %v", promoted.Round(time.Millisecond), resumed.Round(time.Millisecond))
	if err := awaitReady(f, http.StatusOK); err != nil {
		t.Error(err)
	}
}

// awaitReady waits until /readyz says something. It repeats an answer for a second, and a slow machine makes it another one.
func awaitReady(f *fleet, want int) error {
	for end := time.Now().Add(servertest.Patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if f.ready() == want {
			return nil
		}
	}
	return fmt.Errorf("readyz does not say %d", want)
}

// TestStandbyGone: without the standby, writes are answered in time and say that their outcome is not known, and reads go
// on. When it is back, all of them have happened as a whole.
func TestStandbyGone(t *testing.T) {
	t.Parallel()
	f, pair := fleetOverPair(t)
	const writes = 20 // more than a replica has connections, by the three of them
	for i := range writes {
		if a := f.ask("PUT", fmt.Sprint("/f", i), "old"); a.status != http.StatusCreated {
			t.Fatalf("PUT: %+v", a)
		}
	}
	if err := pair.Standby.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var unknown, refused atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	for i := range writes {
		all.Go(func() {
			begun := time.Now()
			a := f.ask("PUT", fmt.Sprint("/f", i), "new", "If-Match", tagOfText("old"))
			switch took := time.Since(begun); {
			case a.isUnknown() && a.status != 0:
				unknown.Add(1)
				t.Logf("a write without the standby: %d after %v", a.status, took.Round(100*time.Millisecond))
			case a.status == http.StatusServiceUnavailable:
				refused.Add(1)
			default:
				t.Errorf("a write without the standby: %+v", a)
			}
		})
	}
	reads, slowest := 0, time.Duration(0)
	go func() { all.Wait(); cancel() }()
	for ctx.Err() == nil {
		begun := time.Now()
		if a := f.ask("GET", fmt.Sprint("/f", reads%writes), ""); a.status != http.StatusOK || a.body != "old" {
			t.Errorf("a read without the standby: %+v", a)
		}
		reads, slowest = reads+1, max(slowest, time.Since(begun))
	}
	if err := awaitReady(f, http.StatusOK); err != nil { // reads are served
		t.Error(err)
	}
	if err := pair.Standby.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := pair.Primary.Await("select not exists(select from pg_stat_activity where wait_event = 'SyncRep')"); err != nil {
		t.Error(err)
	}
	happened := int64(0)
	for i := range writes {
		switch a := f.ask("GET", fmt.Sprint("/f", i), ""); a.body {
		case "new":
			happened++
		case "old":
		default:
			t.Errorf("GET: %+v", a)
		}
	}
	if a := f.ask("PUT", "/after", "x"); a.status != http.StatusCreated {
		t.Errorf("a write with the standby again: %+v", a)
	}
	t.Logf("without the standby %d writes unknown, of which %d have happened, %d refused; %d reads meanwhile, the slowest %v",
		unknown.Load(), happened, refused.Load(), reads, slowest.Round(time.Millisecond))
	if unknown.Load() == 0 || happened > unknown.Load() {
		t.Error("that is not what a write says")
	}
}

// TestRollingUpdate: replicas of the release before and of this one serve one database, while each is replaced.
func TestRollingUpdate(t *testing.T) {
	if *older == "" {
		t.Skip("NOT RUN: -older names no program")
	}
	server := pgtest.Run(t)
	if err := server.SQL("create database ifmatch"); err != nil {
		t.Fatal(err)
	}
	f := startFleet(t, server.DSN("ifmatch"), 3, *older)
	l := f.load()
	for i := range f.replicas {
		l.goOn(300)
		if err := f.replicas[i].Stop(false); err != nil {
			t.Error(err)
		}
		f.replace(i)
	}
	l.goOn(300)
	l.settle("three replicas were replaced by those of this release, one after another")
}

// TestClusterUnderFire: a replica is killed every ten seconds, and the primary once a minute, for -fire. Clients race
// meanwhile, and what they were told holds.
func TestClusterUnderFire(t *testing.T) {
	if *fire == 0 {
		t.Skip("NOT RUN: -fire says for how long")
	}
	f, pair := fleetOverPair(t)
	l := f.load()
	l.races()
	begun := time.Now()
	for n := 0; time.Since(begun) < *fire && !t.Failed(); n++ {
		time.Sleep(10 * time.Second)
		i := n % len(f.replicas)
		if err := f.replicas[i].Kill(); err != nil {
			t.Error(err)
		}
		if n%6 == 5 {
			if err := pair.Primary.Kill(); err != nil {
				t.Error(err)
			}
			if err := pair.Primary.Start(); err != nil {
				t.Fatal(err)
			}
		}
		f.replace(i)
		l.goOn(1)
	}
	if l.held.Load() == 0 {
		t.Error("no lock was held")
	}
	t.Logf("%d locks held", l.held.Load())
	l.settle("replicas and the primary were killed in turn")
}
