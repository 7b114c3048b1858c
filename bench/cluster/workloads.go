package cluster

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// A workload is a kind of request, as fast as clients can send it.
type workload struct {
	name   string
	single bool // it is one request, and its time is told
	do     func(ctx context.Context, p *place, round int) (sample, error)
}

func (b *bench) workloads() (all []workload) {
	for _, clients := range []int{1, 8, 32} {
		all = append(all, workload{name: fmt.Sprintf("PUT If-Match, 1 KiB, %d clients", clients), do: b.replace(clients, false)})
	}
	all = append(all, workload{name: "PUT of one name, 32 clients", do: b.overwrite(32)},
		workload{name: "compare and swap of one name, 32 clients", do: b.replace(32, true)})
	for _, clients := range []int{1, 8, 32} {
		all = append(all, workload{name: fmt.Sprintf("GET 1 KiB, %d clients", clients), do: b.get(clients)})
	}
	list := func(name, path, depth string) workload {
		return workload{name: name, single: true, do: func(ctx context.Context, p *place, _ int) (sample, error) {
			return b.during(ctx, 1, func(int, int) (bool, error) {
				return true, p.send(ctx, "PROPFIND", path, propfind, http.StatusMultiStatus, "Depth", depth)
			})
		}}
	}
	all = append(all, list(fmt.Sprintf("PROPFIND of %d, 4 properties", b.members), "/large/", "1"),
		list("PROPFIND infinity, 20,000 in 200 collections", "/deep/", "infinity"))
	change := func(name, method, from, to string) workload {
		return workload{name: fmt.Sprintf(name, b.moved), single: true, do: func(
			ctx context.Context, p *place, round int,
		) (sample, error) {
			return b.once(func() error {
				header := []string{}
				if to != "" {
					header = []string{"Destination", p.url + to}
				}
				return p.send(ctx, method, from, "", 0, header...)
			})
		}}
	}
	all = append(all, workload{name: fmt.Sprintf("MOVE of %d", b.moved), do: b.move(0)},
		workload{name: fmt.Sprintf("MOVE of %d beside 16 writers", b.moved), do: b.move(16)},
		change("COPY of %d", "COPY", "/many", "/copied"), change("DELETE of %d", "DELETE", "/copied", ""))
	return slices.DeleteFunc(all, func(w workload) bool { return !b.only.MatchString(w.name) })
}

const propfind = `<propfind xmlns="DAV:"><prop><getetag/><getlastmodified/><getcontentlength/><resourcetype/></prop></propfind>`

// A collection is filled before the servers start.
type collection struct {
	path  string
	files int
}

func (b *bench) collections() (all []collection) {
	all = append(all, collection{"large", b.members})
	for i := range 200 {
		all = append(all, collection{fmt.Sprintf("deep/%03d", i), 100})
	}
	const perCollection = 1000
	for i := 0; i*perCollection < b.moved; i++ {
		all = append(all, collection{fmt.Sprintf("many/%04d", i), min(perCollection, b.moved-i*perCollection)})
	}
	return all
}

func memberName(i int) string { return fmt.Sprintf("member-%06d", i) }

func content(i int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("%015d\n", i)), 64) }

// fill makes the collections in the database as rows, as quickly as it takes them.
func (b *bench) fill(ctx context.Context, store string) error {
	conn, err := pgx.Connect(ctx, store)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	const node = `insert into ifmatch.node (parent, name, kind, size, modified, created, blob, place, sha256)
 select $1, convert_to('member-' || lpad(i::text, 6, '0'), 'UTF8'), 'f', 1024, extract(epoch from now())::bigint - 100, now(),
 gen_random_uuid(), 'i', sha256(convert_to(repeat(lpad(i::text, 15, '0') || E'\n', 64), 'UTF8'))
 from generate_series(0, $2::int - 1) i`
	const contents = `insert into ifmatch.content (blob, data)
 select blob, convert_to(repeat(lpad(right(convert_from(name, 'UTF8'), 6), 15, '0') || E'\n', 64), 'UTF8') from ifmatch.node where parent = $1`
	made := map[string]int64{"": 1}
	for _, c := range b.collections() {
		parent, path := int64(1), ""
		for _, segment := range bytes.Split([]byte(c.path), []byte("/")) {
			path += "/" + string(segment)
			if made[path] == 0 {
				var id int64
				if err := conn.QueryRow(ctx, `insert into ifmatch.node (parent, name, kind, modified, created)
 values ($1, $2, 'd', extract(epoch from now())::bigint - 100, now()) returning id`, parent, segment).Scan(&id); err != nil {
					return err
				}
				made[path] = id
			}
			parent = made[path]
		}
		for _, sql := range []string{node, contents} {
			args := []any{parent, c.files}
			if sql == contents {
				args = args[:1]
			}
			if _, err := conn.Exec(ctx, sql, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// replace has each client replace a file, its own or one for all, with a condition on the version that it has seen.
func (b *bench) replace(clients int, one bool) func(context.Context, *place, int) (sample, error) {
	return func(ctx context.Context, p *place, _ int) (sample, error) {
		path := func(client int) string {
			if one {
				return "/hot"
			}
			return fmt.Sprint("/own-", client)
		}
		for client := range clients {
			if err := p.send(ctx, http.MethodPut, path(client), "first", 0); err != nil {
				return sample{}, err
			}
		}
		tags := make([]string, clients)
		return b.during(ctx, clients, func(client, i int) (bool, error) {
			if tags[client] == "" {
				answer, err := p.do(ctx, http.MethodHead, path(client), nil)
				if err != nil {
					return false, err
				}
				tags[client] = answer.Header.Get("ETag")
			}
			body := sha256.Sum256(fmt.Append(nil, client, i, time.Now()))
			answer, err := p.do(ctx, http.MethodPut, path(client), bytes.Repeat(body[:], 32), "If-Match", tags[client])
			if err != nil {
				return false, err
			}
			tags[client] = answer.Header.Get("ETag") // also of a refusal: the version that is there
			switch {
			case answer.StatusCode == http.StatusNoContent:
				return true, nil
			case one && answer.StatusCode == http.StatusPreconditionFailed:
				return false, nil
			}
			return false, fmt.Errorf("PUT: %s", answer.Status)
		})
	}
}

// overwrite has all clients replace one file, without a condition.
func (b *bench) overwrite(clients int) func(context.Context, *place, int) (sample, error) {
	return func(ctx context.Context, p *place, _ int) (sample, error) {
		return b.during(ctx, clients, func(client, i int) (bool, error) {
			body := sha256.Sum256(fmt.Append(nil, client, i, time.Now()))
			return true, p.send(ctx, http.MethodPut, "/hot", string(bytes.Repeat(body[:], 32)), 0)
		})
	}
}

// move has one client move a large collection there and back, and others replace files beside it meanwhile. The moves
// alone are in the sample.
func (b *bench) move(writers int) func(context.Context, *place, int) (sample, error) {
	return func(ctx context.Context, p *place, _ int) (sample, error) {
		from, to := "/many", "/moved"
		move := func() error {
			err := p.send(ctx, "MOVE", from, "", http.StatusCreated, "Destination", p.url+to)
			from, to = to, from
			return err
		}
		all, err := b.during(ctx, 1+writers, func(client, i int) (bool, error) {
			if client == 0 {
				return true, move()
			}
			return false, p.send(ctx, http.MethodPut, fmt.Sprint("/own-", client), fmt.Sprint(time.Now()), 0)
		})
		if from == "/moved" {
			err = errors.Join(err, move())
		}
		return all, err
	}
}

func (b *bench) get(clients int) func(context.Context, *place, int) (sample, error) {
	return func(ctx context.Context, p *place, _ int) (sample, error) {
		if err := p.send(ctx, http.MethodPut, "/read", string(content(1)), 0); err != nil {
			return sample{}, err
		}
		return b.during(ctx, clients, func(int, int) (bool, error) {
			return true, p.send(ctx, http.MethodGet, "/read", "", http.StatusOK)
		})
	}
}

// do sends a request, and reads the answer to its end.
func (p *place) do(ctx context.Context, method, path string, body []byte, header ...string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, p.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := p.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer, err
}

// send is [place.do] of a request whose answer must have a status, or one of success if that is 0.
func (p *place) send(ctx context.Context, method, path, body string, status int, header ...string) error {
	answer, err := p.do(ctx, method, path, []byte(body), header...)
	if err == nil && answer.StatusCode != status && (status != 0 || answer.StatusCode/100 != 2) {
		err = fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	return err
}

// during has clients take steps for a while. Those that count are in the sample.
func (b *bench) during(ctx context.Context, clients int, step func(client, i int) (bool, error)) (sample, error) {
	began := time.Now()
	until := began.Add(time.Duration(b.seconds * float64(time.Second)))
	var mu sync.Mutex
	var all sample
	var failed error
	var wait sync.WaitGroup
	for client := range clients {
		wait.Go(func() {
			var waits []time.Duration
			var err error
			for i := 0; err == nil && time.Now().Before(until) && ctx.Err() == nil; i++ {
				began, counts := time.Now(), false
				if counts, err = step(client, i); counts {
					waits = append(waits, time.Since(began))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			all.waits = append(all.waits, waits...)
			if err != nil {
				failed = err
			}
		})
	}
	wait.Wait()
	all.n, all.elapsed = len(all.waits), time.Since(began)
	if failed == nil && all.n == 0 {
		failed = fmt.Errorf("no request has counted")
	}
	return all, failed
}

// once takes one step.
func (b *bench) once(step func() error) (sample, error) {
	began := time.Now()
	err := step()
	took := time.Since(began)
	return sample{n: 1, elapsed: took, waits: []time.Duration{took}}, err
}
