package notes

import (
	"context"
	"crypto/rand"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
	"r-seed-1f3a754f.example/ifmatch/pgstore/schema"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// tables returns a table of a kind as some replicas see it.
func tables(t *testing.T, n int) (all []*Table) {
	t.Helper()
	dsn := pgtest.Shared(t).Database(t, func(string) error { return nil })
	config, err := pgx.ParseConfig(dsn)
	if err == nil {
		err = schema.Migrate(t.Context(), config)
	}
	if err != nil {
		t.Fatal(err)
	}
	kind := t.Name() + rand.Text() // the database may be that of an earlier run
	for range n {
		pool, err := pgxpool.New(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)
		table := New(pool, kind, nil)
		table.patience = time.Hour // many calls wait for each other, and for the machine
		all = append(all, table)
	}
	return all
}

func TestOneOfSeveralTakesANote(t *testing.T) {
	all := tables(t, 3)
	if err := all[0].Keep(t.Context(), "key", []byte("value"), time.Minute); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, len(all))
	var takers sync.WaitGroup
	for _, table := range all {
		takers.Go(func() {
			value, err := table.Take(t.Context(), "key")
			if err != nil {
				t.Error(err)
			}
			if value != nil {
				got <- string(value)
			}
		})
	}
	takers.Wait()
	if len(got) != 1 || <-got != "value" {
		t.Error("the note was not taken once")
	}
}

func TestNotesExpireByTheClockOfTheDatabase(t *testing.T) {
	table := tables(t, 1)[0]
	for _, test := range []struct {
		name  string
		lasts time.Duration
		there bool
	}{{"one that lasts", time.Minute, true}, {"one that has expired", -time.Second, false}} {
		if err := table.Keep(t.Context(), test.name, []byte("value"), test.lasts); err != nil {
			t.Fatal(err)
		}
		if err := table.Prolong(t.Context(), test.name, time.Minute); err != nil {
			t.Fatal(err)
		}
		_, err := table.Get(t.Context(), test.name)
		if (err == nil) != test.there || err != nil && !errors.Is(err, ErrNone) {
			t.Errorf("%s: %v", test.name, err)
		}
		value, err := table.Take(t.Context(), test.name)
		if err != nil || (value != nil) != test.there {
			t.Errorf("%s is taken: %q, %v", test.name, value, err)
		}
	}
}

// TestUpdatesLoseNothing: several replicas count in the same two notes at once, and name them in another order.
func TestUpdatesLoseNothing(t *testing.T) {
	const each = 20
	all := tables(t, 3)
	orders := [][]string{{"a", "b"}, {"b", "a"}, {"a", "b"}}
	var writers sync.WaitGroup
	for i, table := range all {
		for range 2 {
			writers.Go(func() {
				for range each {
					err := table.Update(context.Background(), orders[i], time.Hour, func(_ time.Time, values [][]byte) error {
						for i, value := range values {
							n, _ := strconv.Atoi(string(value)) // nil is none
							values[i] = []byte(strconv.Itoa(n + 1))
						}
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	writers.Wait()
	for _, key := range []string{"a", "b"} {
		if value, err := all[0].Get(t.Context(), key); err != nil || string(value) != strconv.Itoa(6*each) {
			t.Errorf("%s counts %s, error %v", key, value, err)
		}
	}
}

func TestAnUpdateThatFailsChangesNothing(t *testing.T) {
	table := tables(t, 1)[0]
	text := table.Text("text")
	write := func(to string, fails error) error {
		return text.Edit(t.Context(), func(string) (string, error) { return to, fails })
	}
	refused := errors.New("refused")
	if err := write("one", nil); err != nil {
		t.Fatal(err)
	}
	if err := write("two", refused); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if got, _, err := text.Read(t.Context(), ""); err != nil || got != "one" {
		t.Errorf("it is %q, error %v", got, err)
	}
}

// TestATextIsReadWhereItHasChanged: a reader that has its version gets no text.
func TestATextIsReadWhereItHasChanged(t *testing.T) {
	all := tables(t, 2)
	mine, other := all[0].Text("text"), all[1].Text("text")
	text, version, err := mine.Read(t.Context(), "")
	if text != "" || version != "" || err != nil {
		t.Fatalf("before there is one: %q, %q, %v", text, version, err)
	}
	for _, want := range []string{"one", "two", ""} {
		err := other.Edit(t.Context(), func(before string) (string, error) {
			if before != text {
				t.Errorf("%q was %q", before, text)
			}
			return want, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		known := version
		if text, version, err = mine.Read(t.Context(), known); err != nil || text != want || version == known {
			t.Errorf("%q, version %q, error %v, want %q", text, version, err, want)
		}
		if again, same, err := mine.Read(t.Context(), version); err != nil || again != "" || same != version {
			t.Errorf("read again: %q, version %q, error %v", again, same, err)
		}
	}
}
