package site

import (
	"compress/gzip"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	kgzip "github.com/klauspost/compress/gzip"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A sibling is a file that a build has compressed, beside the file whose content it is.
type sibling struct{ coding, suffix string }

// siblings are the codings of such files, the smallest first.
var siblings = []sibling{{"br", ".br"}, {"zstd", ".zst"}, {"gzip", ".gz"}}

// Bounds of compression while a file is sent. What is smaller gains nothing, and what is larger takes too much of a
// CPU for each client: a build can compress it once.
const (
	minCompressed = 1 << 10
	maxCompressed = 4 << 20
)

// A Variant is one representation of a file (RFC 9110 §12).
type Variant struct {
	File   *tree.State // whose content is sent
	Coding string      // its Content-Encoding ("": none)
	// Squeezed says that the content is compressed while it is sent. Then it has the tag of [squeezedTag].
	Squeezed bool
	// Varies says that the representation depends on Accept-Encoding.
	Varies bool
}

// Choose returns the representation of a file for a client. media is the media type of the file, and look as in
// [Site.Find], but its names are those of the tree.
//
// A compressed sibling that is older than the file is of an older version of the file, and is not sent. That is so
// after a single page has been written anew.
func (s *Site) Choose(file *tree.State, media string, h http.Header, look Look) (Variant, error) {
	v := Variant{File: file}
	if !compressible(Plain(media)) || !s.Precompressed && !s.Compress {
		return v, nil
	}
	v.Varies = true
	accepted := acceptedCodings(h.Values("Accept-Encoding"))
	if s.Precompressed {
		for _, one := range siblings {
			if !accepted.has(one.coding) {
				continue
			}
			state, err := look(file.Name + one.suffix)
			if err != nil {
				return v, err
			}
			if state.Exists && !state.Collection && !state.Modified.Before(file.Modified) {
				v.File, v.Coding = &state, one.coding
				return v, nil
			}
		}
	}
	if s.Compress && accepted.has("gzip") && file.Size >= minCompressed && file.Size <= maxCompressed && !ofBytes(h) {
		v.Coding, v.Squeezed = "gzip", true
	}
	return v, nil
}

// ofBytes reports whether a request is about the bytes of a version: a range, or a strong comparison of tags. Content
// that is compressed while it is sent may have other bytes after an update of the server, so its tag is a weak one.
func ofBytes(h http.Header) bool {
	return h["Range"] != nil || h["If-Match"] != nil || h["If-Unmodified-Since"] != nil
}

// squeezedTag returns the tag of a content that is compressed while it is sent, without the mark of a weak tag. No
// proxy makes such a tag of that of the file, and If-Match never takes it for that.
func squeezedTag(tag tree.ETag) tree.ETag {
	const mark = `+gz"`
	if tag == "" || strings.HasSuffix(string(tag), mark) {
		return tag
	}
	return tree.ETag(strings.TrimSuffix(string(tag), `"`) + mark)
}

// codings are the codings that a client accepts.
type codings struct {
	named map[string]bool
	other bool // those that are not named
}

func (c codings) has(coding string) bool {
	if is, named := c.named[coding]; named {
		return is
	}
	return c.other
}

// maxCodings bounds the codings in a request that are looked at.
const maxCodings = 32

// acceptedCodings reads Accept-Encoding (RFC 9110 §12.5.3). Without the field, a client gets no coding: many that
// leave it out decode none.
func acceptedCodings(values []string) codings {
	c := codings{named: map[string]bool{}}
	n := 0
	for _, value := range values {
		for element := range strings.SplitSeq(value, ",") {
			if n++; n > maxCodings {
				return c
			}
			coding, parameters, _ := strings.Cut(element, ";")
			coding = strings.ToLower(strings.TrimSpace(coding))
			accepted := weight(parameters) > 0
			switch coding {
			case "*":
				c.other = accepted
			case "x-gzip": // RFC 9110 §8.4.1.3
				c.named["gzip"] = accepted
			default:
				c.named[coding] = accepted
			}
		}
	}
	return c
}

// weight returns the weight of an element (RFC 9110 §12.4.2), and 0 for a malformed one.
func weight(parameters string) float64 {
	name, value, ok := strings.Cut(strings.TrimSpace(parameters), "=")
	if parameters == "" {
		return 1
	}
	q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
	if !ok || err != nil || !strings.EqualFold(strings.TrimSpace(name), "q") {
		return 0
	}
	return q
}

var writers = sync.Pool{New: func() any {
	w, err := kgzip.NewWriterLevel(nil, gzip.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// Squeeze compresses the bytes that write writes, and sends them to a writer. Nothing is sent before write has written
// its first byte.
func Squeeze(to io.Writer, write func(io.Writer) error) error {
	z := writers.Get().(*kgzip.Writer)
	defer func() {
		z.Reset(io.Discard) // keeps no answer alive
		writers.Put(z)
	}()
	z.Reset(to)
	if err := write(struct{ io.Writer }{z}); err != nil {
		return err
	}
	return z.Close()
}
