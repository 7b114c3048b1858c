package pgstore

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// CleanDatabase makes a database that a test has used as good as new.
func CleanDatabase(dsn string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `delete from ifmatch.node where parent <> 0; delete from ifmatch.content;
 delete from ifmatch.sums; delete from ifmatch.gone; delete from ifmatch.davlock; delete from ifmatch.version;
 delete from ifmatch.change; delete from ifmatch.dead; delete from ifmatch.upload; delete from ifmatch.note;
 delete from ifmatch.job; delete from ifmatch.meta; insert into ifmatch.meta default values;
 update ifmatch.node set props = null, earlier = null, below = null, ahead_first = null, ahead_last = null`)
	return errors.Join(err, conn.Close(ctx))
}
