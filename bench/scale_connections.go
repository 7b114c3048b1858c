package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// A held connection is kept between requests.
type held struct {
	net.Conn
	in *bufio.Reader
}

// get asks for a small file on the connection.
func (h held) get() (took time.Duration, err error) {
	if err := h.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	began := time.Now()
	if _, err := io.WriteString(h, "GET /"+small+"/"+memberName(0)+" HTTP/1.1\r\nHost: "+h.RemoteAddr().String()+"\r\n\r\n"); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(h.in, nil)
	if err != nil {
		return 0, err
	}
	if _, err = io.Copy(io.Discard, answer.Body); err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET on one of many connections: %s", answer.Status)
	}
	return time.Since(began), err
}

// clients is from how many addresses the connections come. One client may have half of the free ones at most.
const clients = 100

// open opens connections, and sends one request on each.
func (s *scale) open(n int) (all []held, err error) {
	all = make([]held, n)
	var opening errgroup.Group
	opening.SetLimit(100)
	for i := range all {
		opening.Go(func() error {
			from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%clients))}}
			c, err := from.Dial("tcp", strings.TrimPrefix(s.server.url, "http://"))
			if err != nil {
				return err
			}
			all[i] = held{c, bufio.NewReaderSize(c, 4<<10)}
			_, err = all[i].get()
			return err
		})
	}
	return all, opening.Wait()
}

func closeAll(all []held) {
	for _, h := range all {
		if h.Conn != nil {
			h.Close()
		}
	}
}

// connections opens many connections that are idle, and then has others busy beside them. It compares these with as
// many that have no idle ones beside them.
func (s *scale) connections(ctx context.Context) error {
	alone, err := s.busyFor(ctx)
	if err != nil {
		return err
	}
	before, err := s.server.usage()
	if err != nil {
		return err
	}
	idle, err := s.open(s.idle)
	defer closeAll(idle)
	if err != nil {
		return err
	}
	after, err := s.server.usage()
	if err != nil {
		return err
	}
	s.row(fmt.Sprintf("%s idle connections", count(s.idle)), fmt.Sprintf("%s resident more, %.1f KiB for each",
		mib(after.resident-before.resident), float64(after.resident-before.resident)/float64(s.idle)))
	beside, err := s.busyFor(ctx)
	if err != nil {
		return err
	}
	s.row(fmt.Sprintf("GET on %s busy connections beside them", count(s.busy)),
		fmt.Sprintf("%.0f/s, half within %s, 99 of 100 within %s; %.2f × the rate without the idle ones",
			beside.rate, ms(beside.p50), ms(beside.p99), beside.rate/alone.rate))
	return nil
}

// pace is how fast requests were answered.
type pace struct {
	rate     float64 // for each second
	p50, p99 time.Duration
}

// busyFor sends GETs on many connections for a while.
func (s *scale) busyFor(ctx context.Context) (p pace, err error) {
	conns, err := s.open(s.busy)
	defer closeAll(conns)
	if err != nil {
		return p, err
	}
	var mu sync.Mutex
	var times []time.Duration
	var asking errgroup.Group
	began := time.Now()
	until := began.Add(time.Duration(s.seconds * float64(time.Second)))
	for _, c := range conns {
		asking.Go(func() error {
			var own []time.Duration
			for time.Now().Before(until) && ctx.Err() == nil {
				took, err := c.get()
				if err != nil {
					return err
				}
				own = append(own, took)
			}
			mu.Lock()
			defer mu.Unlock()
			times = append(times, own...)
			return ctx.Err()
		})
	}
	if err := asking.Wait(); err != nil {
		return p, err
	}
	p.rate = float64(len(times)) / time.Since(began).Seconds()
	slices.Sort(times)
	p.p50, p.p99 = times[len(times)/2], times[len(times)*99/100]
	return p, nil
}
