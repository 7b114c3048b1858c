package compare

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	fourProperties = `<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop>` +
		`<getetag/><getlastmodified/><getcontentlength/><resourcetype/></prop></propfind>`
	allProperties = `<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><allprop/></propfind>`
)

// memberSize is that of the files that are listed.
const memberSize = 1 << 10

func fillMembers(s *site) error { return fillDirectory(s.dir, s.scale.members) }

// fillDirectory makes a directory with n files.
func fillDirectory(dir string, n int) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return err
	}
	for i := range n {
		if err := writeOpen(filepath.Join(dir, fileName(i)), content(uint64(i)+1, memberSize)); err != nil {
			return err
		}
	}
	return nil
}

// list is a PROPFIND of a collection and its members.
func (s *site) list(c *conn, path, properties string) (*answer, error) {
	m := &message{method: "PROPFIND", path: path, body: []byte(properties),
		header: "Depth: 1\r\nContent-Type: application/xml\r\n"}
	a, err := c.do(m)
	if err != nil {
		return nil, err
	}
	return a, a.wanted(m, http.StatusMultiStatus)
}

// knownTime bounds the wait until ours knows the tags of all files.
const knownTime = time.Minute

func listUntilKnown(ctx context.Context, s *site) error {
	return s.untilKnown(ctx, "/", s.scale.members)
}

// untilKnown lists a collection until the server has its members in its caches, as far as that can be seen: ours tells
// the tag of each, the others have been asked once.
func (s *site) untilKnown(ctx context.Context, path string, members int) error {
	for until := time.Now().Add(knownTime); ; {
		a, err := s.list(s.connections(1)[0], path, fourProperties)
		if err != nil {
			return err
		}
		tags, err := checkListing(a.body, path, members)
		if err != nil || !s.server.ours || tags == members {
			return err
		}
		if time.Now().After(until) || ctx.Err() != nil {
			return fmt.Errorf("the tags of %d members are not known", members-tags)
		}
	}
}

func listAgain(properties string) func(ctx context.Context, s *site, round int) (sample, error) {
	return func(ctx context.Context, s *site, _ int) (sample, error) {
		var answers []*answer
		one, err := s.spread(ctx, 1, s.scale.large, func(c *conn, _, _ int) (time.Duration, error) {
			a, err := s.list(c, "/", properties)
			if err != nil {
				return 0, err
			}
			answers = append(answers, a)
			return a.took, nil
		})
		if err != nil {
			return one, err
		}
		for _, a := range answers {
			if err := s.checkAgain(a.body, s.scale.members); err != nil {
				return one, err
			}
		}
		return one, nil
	}
}

// checkAgain reads an answer in full if it is not the one that was read in full before.
func (s *site) checkAgain(body []byte, members int) error {
	if bytes.Equal(body, s.listing) {
		return nil
	}
	tags, err := checkListing(body, "/", members)
	if err == nil && s.server.ours && tags != members {
		err = fmt.Errorf("%d members have no tag", members-tags)
	}
	if err == nil {
		s.listing = body
	}
	return err
}

func fillUnseen(s *site, round int) error {
	if round > 0 {
		if err := os.RemoveAll(filepath.Join(s.dir, unseenName(round-1))); err != nil {
			return err
		}
	}
	return fillDirectory(filepath.Join(s.dir, unseenName(round)), s.scale.members)
}

func listUnseen(_ context.Context, s *site, round int) (sample, error) {
	path, began := "/"+unseenName(round)+"/", time.Now()
	a, err := s.list(s.connections(1)[0], path, fourProperties)
	if err != nil {
		return sample{}, err
	}
	one := sample{requests: 1, elapsed: time.Since(began), latencies: []time.Duration{a.took}}
	tags, err := checkListing(a.body, path, s.scale.members)
	if err == nil && s.server.ours && tags != s.scale.members {
		err = fmt.Errorf("%d members have no tag", s.scale.members-tags)
	}
	return one, err
}

func walkedName(i int) string { return fmt.Sprintf("directory-%03d", i) }

func fillWalk(s *site) error {
	for i := range s.scale.walked {
		if err := fillDirectory(filepath.Join(s.dir, walkedName(i)), inDirectory); err != nil {
			return err
		}
	}
	return nil
}

func walkUntilKnown(ctx context.Context, s *site) error {
	for i := range s.scale.walked {
		if err := s.untilKnown(ctx, "/"+walkedName(i)+"/", inDirectory); err != nil {
			return err
		}
	}
	return nil
}

var responsePattern = regexp.MustCompile(`<(?:[A-Za-z0-9]+:)?response[ >]`)

// walk lists the top and each directory in it. One directory of each walk is read in full, of the others the members are
// counted.
func walk(_ context.Context, s *site, round int) (sample, error) {
	c, began := s.connections(1)[0], time.Now()
	top, err := s.list(c, "/", fourProperties)
	if err != nil {
		return sample{}, err
	}
	if n := len(responsePattern.FindAll(top.body, -1)); n != s.scale.walked+1 {
		return sample{}, fmt.Errorf("%d responses for %d directories", n, s.scale.walked)
	}
	took := top.took
	for i := range s.scale.walked {
		path := "/" + walkedName(i) + "/"
		a, err := s.list(c, path, fourProperties)
		if err != nil {
			return sample{}, err
		}
		took += a.took
		if n := len(responsePattern.FindAll(a.body, -1)); n != inDirectory+1 {
			return sample{}, fmt.Errorf("%s: %d responses for %d files", path, n, inDirectory)
		}
		if i == round%s.scale.walked {
			if _, err := checkListing(a.body, path, inDirectory); err != nil {
				return sample{}, err
			}
		}
	}
	return sample{requests: 1, elapsed: time.Since(began), latencies: []time.Duration{took}}, nil
}

// A multistatus is the body of an answer to PROPFIND.
type multistatus struct {
	XMLName   xml.Name `xml:"DAV: multistatus"`
	Responses []struct {
		Href      string `xml:"DAV: href"`
		Propstats []struct {
			Status string `xml:"DAV: status"`
			Prop   struct {
				Tag      string    `xml:"DAV: getetag"`
				Modified string    `xml:"DAV: getlastmodified"`
				Length   string    `xml:"DAV: getcontentlength"`
				Type     *struct{} `xml:"DAV: resourcetype"`
			} `xml:"DAV: prop"`
		} `xml:"DAV: propstat"`
	} `xml:"DAV: response"`
}

// checkListing wants a number of files (members), each once, with its size, date and type. It returns how many have a tag.
func checkListing(body []byte, path string, members int) (tags int, err error) {
	var m multistatus
	if err := xml.Unmarshal(body, &m); err != nil {
		return 0, fmt.Errorf("the multistatus: %w", err)
	}
	seen := map[string]bool{}
	for _, r := range m.Responses {
		name, err := memberOf(r.Href, path)
		if err != nil {
			return 0, err
		}
		if name == "" {
			continue // the collection itself
		}
		if seen[name] {
			return 0, fmt.Errorf("%s is told of twice", name)
		}
		seen[name] = true
		whole := false
		for _, p := range r.Propstats {
			if !strings.Contains(p.Status, " 200 ") {
				continue
			}
			whole = whole ||
				p.Prop.Length == fmt.Sprint(memberSize) && p.Prop.Modified != "" && p.Prop.Type != nil
			if p.Prop.Tag != "" {
				tags++
			}
		}
		if !whole {
			return 0, fmt.Errorf("%s lacks its size, date or type", name)
		}
	}
	for i := range members {
		if !seen[fileName(i)] {
			return 0, fmt.Errorf("%s is missing in a listing of %d", fileName(i), len(seen))
		}
	}
	if len(seen) != members {
		return 0, errors.New("there are members that were not made")
	}
	return tags, nil
}

// memberOf returns the name of a member from its href, and "" for the collection.
func memberOf(href, path string) (string, error) {
	u, err := url.Parse(href)
	if err != nil {
		return "", err
	}
	if u.Path+"/" == path {
		return "", nil
	}
	name, ok := strings.CutPrefix(u.Path, path)
	if !ok {
		return "", fmt.Errorf("%s is not in %s", href, path)
	}
	return name, nil
}
