package cluster

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// growth measures how large the tables become, and whether a replaced row leaves a dead entry in an index.
func (b *bench) growth(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, b.places[1].store)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	fmt.Fprintf(b.out, "\nBytes of a row, heap + indexes, of %d rows each:\n\n| table | bytes |\n| --- | --- |\n", b.rows)
	for _, t := range []struct{ table, fill string }{
		{"node", `insert into ifmatch.node (parent, name, kind, size, modified, since, created, blob, place, sha256)
 select 9000000 + i / 1000, convert_to('a-usual-name-' || i || '.pdf', 'UTF8'), 'f', 1024, 1700000000, 1700000000, now(),
 gen_random_uuid(), 'o', sha256(i::text::bytea) from generate_series(1, $1::int) i`},
		{"version", `insert into ifmatch.version (size, modified, created, gone, blob, kind, place, cause, executable, path, sha256,
 principal) select 1024, 1700000000, now(), now(), gen_random_uuid(), 'f', 'o', 'PUT', false,
 convert_to('docs/2026/project-' || i / 1000 || '/a-usual-name-' || i || '.pdf', 'UTF8'), sha256(i::text::bytea), 'ann'
 from generate_series(1, $1::int) i`},
		{"change", `insert into ifmatch.change (id, at, told, cause, path, present, collection, created, old_file, old_sha256, sha256,
 principal) select gen_random_uuid(), 1700000000000000000, true, 'PUT',
 convert_to('docs/2026/project-' || i / 1000 || '/a-usual-name-' || i || '.pdf', 'UTF8'), true, false, false, true,
 sha256(i::text::bytea), sha256(i::text::bytea), 'ann' from generate_series(1, $1::int) i`},
		{"gone", `insert into ifmatch.gone (parent, name, earlier) select 9000000 + i / 1000,
 convert_to('a-usual-name-' || i || '.pdf', 'UTF8'), 1700000000 from generate_series(1, $1::int) i`},
		{"note", `insert into ifmatch.note (kind, key, value, expires) select 'sums', convert_to(encode(sha256(i::text::bytea),
 'base64'), 'UTF8'), sha256(i::text::bytea), now() + interval '1 day' from generate_series(1, $1::int) i`},
	} {
		var heap, index, heap0, index0, rows int64
		sizes := fmt.Sprintf(`select pg_table_size('ifmatch.%[1]s'), pg_indexes_size('ifmatch.%[1]s')`, t.table)
		if err := conn.QueryRow(ctx, sizes).Scan(&heap0, &index0); err != nil {
			return err
		}
		answer, err := conn.Exec(ctx, t.fill, b.rows)
		if err != nil {
			return err
		}
		rows = answer.RowsAffected()
		if err := conn.QueryRow(ctx, sizes).Scan(&heap, &index); err != nil {
			return err
		}
		fmt.Fprintf(b.out, "| %s | %d + %d |\n", t.table, (heap-heap0)/rows, (index-index0)/rows)
	}
	return b.atSize(ctx, conn)
}

// atSize measures a look and a replacement in a table of the present size.
func (b *bench) atSize(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "vacuum analyze ifmatch.node"); err != nil {
		return err
	}
	database := b.places[1]
	for _, w := range b.workloads()[:min(2, len(b.workloads()))] {
		before := database.cpu()
		one, err := w.do(ctx, database, 0)
		if err != nil {
			return err
		}
		used := database.cpu().less(before)
		fmt.Fprintf(b.out, "\nBeside these rows, %s: %.0f/s, p50 %.3g ms, CPU %.3g + %.3g ms.\n", w.name,
			float64(one.n)/one.elapsed.Seconds(), quantile(0.5)(one), ms(used.server)/float64(one.n), ms(used.database)/float64(one.n))
	}
	var updates, hot int64
	err := conn.QueryRow(ctx, `select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where schemaname = 'ifmatch'
 and relname = 'node'`).Scan(&updates, &hot)
	fmt.Fprintf(b.out, "\nOf %d replaced rows of table node, %d left no dead entry in an index (HOT).\n", updates, hot)
	return err
}
