package schema

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"r-seed-1f3a754f.example/ifmatch/internal/pgtest"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// TestReplicasStartTogether: of several that find no tables, one makes them, and the others find them.
func TestReplicasStartTogether(t *testing.T) {
	config, err := pgx.ParseConfig(pgtest.Shared(t).Database(t, empty))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			if err := Migrate(context.Background(), config.Copy()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var roots, version int64
	if err := conn.QueryRow(t.Context(), `select (select count(*) from ifmatch.node),
 (select max(version_id) from ifmatch.migration)`).Scan(&roots, &version); err != nil || roots != 1 || version != Version {
		t.Errorf("there are %d rows, and the version is %d, error %v", roots, version, err)
	}
	// A release in between may run beside the next one, and not beside the one after that.
	for _, test := range []struct {
		ahead int64
		works bool
	}{{0, true}, {1, true}, {2, false}} {
		if _, err := conn.Exec(t.Context(), "insert into ifmatch.migration (version_id, is_applied) values ($1, true)",
			Version+test.ahead); err != nil {
			t.Fatal(err)
		}
		if err := Migrate(context.Background(), config.Copy()); (err == nil) != test.works {
			t.Errorf("over tables of %d releases ahead: %v", test.ahead, err)
		}
		if err := Check(Version + test.ahead); (err == nil) != test.works {
			t.Errorf("with tables of %d releases ahead: %v", test.ahead, err)
		}
	}
	if Check(Version-1) == nil {
		t.Error("tables of an earlier release are taken")
	}
}
