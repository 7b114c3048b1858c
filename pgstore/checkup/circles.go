package checkup

import (
	"context"
	"fmt"

	"github.com/google/uuid"
)

// mostAdrift bounds the collections that are looked through for circles at once.
const mostAdrift = 100_000

// adriftSQL finds the collections that nothing leads to: neither the root, nor a removed tree, nor a collection that
// is not there. Each is in a circle, or below one. One statement sees one instant.
const adriftSQL = `with recursive d as materialized (select id, parent, name from ifmatch.node where kind = 'd'),
 r(id) as (select d.id from d where d.parent <= 0 or not exists (select from d above where above.id = d.parent)
  union all select d.id from r join d on d.parent = r.id)
select d.id, d.parent, d.name from d left join r on r.id = d.id where r.id is null order by d.id limit $1`

// An adrift collection is one that nothing leads to.
type adrift struct {
	ID, Parent int64
	Name       []byte
}

// circles looks for collections that contain each other, so that no path leads to them. With --fix one of each circle
// gets a name in the root.
func (c *Checkup) circles(ctx context.Context) error {
	found, err := collect[adrift](ctx, c.Conn, adriftSQL, mostAdrift)
	if err != nil || len(found) == 0 {
		return err
	}
	circles := circlesOf(found)
	for _, one := range circles {
		if !c.Fix {
			break
		}
		if err := c.cut(ctx, one); err != nil {
			return err
		}
	}
	what := fmt.Sprintf("%d collections are in %d circles that no path leads to, or below one",
		len(found), len(circles))
	if c.Fix {
		c.To.Note(what+"; they are in /recovered-NUMBER now", "look at them, and move or remove them")
		return nil
	}
	c.To.Bad(what, "give them a name again with --fix")
	return nil
}

// circlesOf returns a collection of each circle: the one from which it was found.
func circlesOf(found []adrift) (circles []adrift) {
	byID := map[int64]adrift{}
	for _, one := range found {
		byID[one.ID] = one
	}
	seenFrom := map[int64]int64{} // the collection from which each was seen first
	for _, start := range found {
		for one, known := start, true; known; one, known = byID[one.Parent] {
			from, seen := seenFrom[one.ID]
			if !seen {
				seenFrom[one.ID] = start.ID
				continue
			}
			if from == start.ID {
				circles = append(circles, one)
			}
			break
		}
	}
	return circles
}

// cut takes a collection out of its circle, and gives it a name in the root.
func (c *Checkup) cut(ctx context.Context, one adrift) error {
	change, err := uuid.NewV7()
	if err != nil {
		return err
	}
	_, err = c.Conn.Exec(ctx, `with n as (update ifmatch.node set parent = 1, name = `+recoveredName+`, form = null
  where parent = $2 and name = $3 and id = $1 returning name)`+recovered("$4"), one.ID, one.Parent, one.Name, change)
	return err
}

// recoveredName is a name in the root that is free, for the collection $1.
const recoveredName = `(select free.name from (
  values (convert_to('recovered-' || $1::bigint, 'UTF8'), 1),
   (convert_to('recovered-' || $1::bigint || '-' || gen_random_uuid(), 'UTF8'), 2)) free(name, i)
  where not exists (select from ifmatch.node there where there.parent = 1 and there.name = free.name) order by i limit 1)`

// recovered ends a statement that has given a collection in the root a name, as n: it tells of that.
func recovered(change string) string {
	return `
 insert into ifmatch.change (id, at, told, cause, path, present, collection, created, old_file, principal)
  select ` + change + `, (extract(epoch from clock_timestamp()) * 1e9)::bigint, true, 'restore', name, true, true, true,
   false, '' from n`
}
