package blobs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"r-seed-1f3a754f.example/ifmatch/internal/s3test"
	"r-seed-1f3a754f.example/ifmatch/pgstore/blobs"
)

// A faulty test does something with an object while S3 fails.
type faulty struct {
	t       *testing.T
	server  *s3test.Server
	s       blobs.Store
	patient blobs.Store // for what is done while S3 works
	fault   s3test.Fate
	id      blobs.ID
}

// put stores an object. One that is said to be stored is there, or seen to be damaged where S3 has lied.
func (f *faulty) put(length int64, all []byte) {
	err := write(f.t.Context(), f.s, f.id, length, all)
	f.server.Fail(nil)
	found, failed := read(f.t.Context(), f.patient, f.id, len(all), 0, len(all))
	switch lying := f.fault == s3test.Lied || f.fault == s3test.Halved; {
	case failed == nil && !bytes.Equal(found, all):
		f.t.Errorf("%d other bytes are read", len(found))
	case errors.Is(failed, iofs.ErrNotExist) && lying, errors.Is(failed, blobs.ErrDamaged) && lying:
	case err == nil && failed != nil:
		f.t.Errorf("it is stored, and cannot be read: %v", failed)
	}
}

// have stores an object before S3 fails.
func (f *faulty) have(all []byte) {
	f.server.Fail(nil)
	if err := write(f.t.Context(), f.patient, f.id, int64(len(all)), all); err != nil {
		f.t.Fatal(err)
	}
}

// TestS3Faults: S3 fails in each way at each request of each call, once or from then on.
func TestS3Faults(t *testing.T) {
	small, large := text(17_000), text(3*blobs.Step+5)
	for name, do := range map[string]func(f *faulty, fail func()){
		"PUT":                   func(f *faulty, fail func()) { fail(); f.put(int64(len(small)), small) },
		"PUT in parts":          func(f *faulty, fail func()) { fail(); f.put(int64(len(large)), large) },
		"PUT of unknown length": func(f *faulty, fail func()) { fail(); f.put(-1, large) },
		"GET": func(f *faulty, fail func()) {
			f.have(large)
			fail()
			found, err := read(f.t.Context(), f.s, f.id, len(large), 10, 1000)
			if err == nil && (len(found) != 1000 || f.fault != s3test.Lied && !bytes.Equal(found, large[10:1010])) {
				f.t.Errorf("%d other bytes are read", len(found))
			}
		},
		"DELETE": func(f *faulty, fail func()) {
			f.have(small)
			fail()
			err := f.s.Delete(f.t.Context(), f.id)
			f.server.Fail(nil)
			if _, failed := read(f.t.Context(), f.patient, f.id, len(small), 0, len(small)); err == nil && failed == nil &&
				f.fault != s3test.Lied {
				f.t.Error("a deleted object is read")
			}
		},
		"an upload in two requests": func(f *faulty, fail func()) { fail(); f.upload(large) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, fault := range s3test.Faults {
				for _, lasting := range []bool{false, true} {
					t.Run(fmt.Sprint(fault, " lasting ", lasting), func(t *testing.T) {
						t.Parallel()
						atEachRequest(t, fault, lasting, do)
					})
				}
			}
		})
	}
}

// atEachRequest has S3 fail at the first request, at the second one, and so on.
func atEachRequest(t *testing.T, fault s3test.Fate, lasting bool, do func(*faulty, func())) {
	server := s3test.New(t)
	opts := options(server.URL)
	opts.Tries = 1
	if fault == s3test.Hung {
		opts.Patience, opts.Rate = 100*time.Millisecond, 1<<30 // what takes longer on a slow machine fails, as it may
	}
	s, err := blobs.NewS3(opts)
	if err != nil {
		t.Fatal(err)
	}
	patient, err := blobs.NewS3(options(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		f := &faulty{t: t, server: server, s: s, patient: patient, fault: fault, id: uuid.New()}
		asked := 0
		do(f, func() {
			server.Fail(func(i int, _ *http.Request) s3test.Fate {
				if asked = i + 1; i == n || lasting && i > n {
					return fault
				}
				return s3test.Answered
			})
		})
		server.Fail(nil)
		for id := range patient.List(t.Context()) {
			if err := patient.Discard(t.Context(), id); err != nil {
				t.Error(err)
			}
		}
		if err := patient.Discard(t.Context(), f.id); err != nil {
			t.Error(err)
		}
		if left, unfinished := server.Objects(); len(left)+unfinished > 0 {
			t.Fatalf("request %d: %q and %d unfinished uploads are left", n, left, unfinished)
		}
		if asked <= n {
			return
		}
	}
}

// upload writes an object by two writers. The second one goes on with what the first one has kept.
func (f *faulty) upload(all []byte) {
	ctx := context.Background()
	kept := blobs.Kept{ID: f.id}
	var err error
	for _, end := range []int{blobs.Step + 100, len(all)} {
		var w blobs.Writer
		if w, err = f.s.Resume(ctx, f.id, int64(len(all)), kept); err != nil {
			break
		}
		err = fill(w, all[kept.Size:end])
		switch {
		case err != nil:
		case end == len(all):
			err = w.Commit(ctx, sha256.Sum256(all))
		default:
			var next blobs.Kept
			if next, err = w.Keep(ctx, func() (blobs.ID, error) { return uuid.New(), nil }); err == nil {
				kept = next
			}
		}
		if err != nil || end < len(all) {
			_ = w.Leave(ctx)
		}
		if err != nil {
			break
		}
	}
	f.server.Fail(nil)
	found, failed := read(ctx, f.patient, f.id, len(all), 0, len(all))
	if failed == nil && !bytes.Equal(found, all) || err == nil && failed != nil {
		f.t.Errorf("the upload: %v; %d bytes are read, error %v", err, len(found), failed)
	}
}

// TestS3FaultsThatPass: a fault that passes is not seen.
func TestS3FaultsThatPass(t *testing.T) {
	large := text(3*blobs.Step + 5)
	for _, fault := range []s3test.Fate{s3test.Refused, s3test.Cut, s3test.Unheard} {
		t.Run(fault.String(), func(t *testing.T) {
			t.Parallel()
			server := s3test.New(t)
			s, err := blobs.NewS3(options(server.URL))
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; ; n++ {
				id := uuid.New()
				server.Fail(s3test.Nth(n, fault))
				if err := write(t.Context(), s, id, int64(len(large)), large); err != nil {
					t.Errorf("request %d: %v", n, err)
				}
				found, err := read(t.Context(), s, id, len(large), 0, len(large))
				if err != nil || !bytes.Equal(found, large) {
					t.Errorf("request %d: %d bytes are read, error %v", n, len(found), err)
				}
				if err := s.Delete(t.Context(), id); err != nil {
					t.Errorf("request %d: %v", n, err)
				}
				if len(server.Asked()) <= n {
					return
				}
			}
		})
	}
}

// TestS3PartsAtOnce: as many parts are on their way at once as there is memory for, up to four. They may be stored in any
// order: here each waits until that number is on its way, and then for the next one.
func TestS3PartsAtOnce(t *testing.T) {
	all := text(8*blobs.Step + 5)
	for _, test := range []struct{ memory, atOnce int }{{1, 1}, {2, 2}, {3, 3}, {100, 4}} {
		t.Run(fmt.Sprint(test.memory), func(t *testing.T) {
			server := s3test.New(t)
			var mu sync.Mutex
			changed := sync.NewCond(&mu)
			underway, most := 0, 0
			come, stored := map[int]bool{}, map[int]bool{}
			server.Before = func(r *http.Request) {
				number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
				if err != nil {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				underway++
				most = max(most, underway)
				come[number] = true
				changed.Broadcast()
				first := (number-1)/test.atOnce*test.atOnce + 1
				last := min(first+test.atOnce-1, 9)
				for n := first; n <= last; n++ {
					for !come[n] || n == number+1 && !stored[n] {
						changed.Wait()
					}
				}
				underway--
				stored[number] = true
				changed.Broadcast()
			}
			opts := options(server.URL)
			opts.Memory = int64(test.memory) * blobs.Step
			s, err := blobs.NewS3(opts)
			if err != nil {
				t.Fatal(err)
			}
			id := uuid.New()
			if err := write(t.Context(), s, id, int64(len(all)), all); err != nil {
				t.Fatal(err)
			}
			found, err := read(t.Context(), s, id, len(all), 0, len(all))
			if err != nil || !bytes.Equal(found, all) {
				t.Errorf("%d bytes are read, error %v", len(found), err)
			}
			if most != test.atOnce {
				t.Errorf("%d parts were on their way at once, want %d", most, test.atOnce)
			}
		})
	}
}

// TestS3Memory: an upload waits for memory, and is refused where it does not come.
func TestS3Memory(t *testing.T) {
	opts := options(s3test.New(t).URL)
	opts.Memory, opts.Patience, opts.Rate = 2*blobs.Step, time.Millisecond, 1<<30
	s, err := blobs.NewS3(opts)
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Create(t.Context(), uuid.New(), 10*blobs.Step)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(t.Context(), uuid.New(), -1); !errors.Is(err, blobs.ErrBusy) {
		t.Errorf("an upload above the memory: %v", err)
	}
	if err := first.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	second, err := s.Create(t.Context(), uuid.New(), -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Leave(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := s.Create(t.Context(), uuid.New(), 10<<40); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("an object that is too large: %v", err)
	}
}

// TestS3Refusals: what is wrong with an address or a key is said at the start.
func TestS3Refusals(t *testing.T) {
	server := s3test.New(t)
	for name, change := range map[string]func(*blobs.S3Options){
		`there is no bucket "other": make it first`: func(o *blobs.S3Options) { o.Bucket = "other" },
		"it refuses the key (InvalidAccessKeyId":    func(o *blobs.S3Options) { o.Credentials = keys("wrong") },
	} {
		opts := options(server.URL)
		change(&opts)
		s, err := blobs.NewS3(opts)
		if err != nil {
			t.Fatal(err)
		}
		if err := blobs.Claim(t.Context(), s, uuid.New()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v, want %q", err, name)
		}
	}
	s, err := blobs.NewS3(options(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	if err := blobs.Claim(t.Context(), s, uuid.New()); err != nil {
		t.Fatal(err)
	}
	// Each answer of the probe may be a lie.
	mine := uuid.New()
	opts := options(server.URL)
	opts.Prefix, opts.Tries = "elsewhere", 1
	if s, err = blobs.NewS3(opts); err != nil {
		t.Fatal(err)
	}
	if err := blobs.Claim(t.Context(), s, mine); err != nil {
		t.Fatal(err)
	}
	asked := 1 << 30
	for n := 0; n < asked; n++ {
		for _, fault := range []s3test.Fate{s3test.Denied, s3test.Refused, s3test.Cut} {
			server.Fail(func(i int, _ *http.Request) s3test.Fate {
				if i >= n {
					return fault
				}
				return s3test.Answered
			})
			if err := blobs.Claim(t.Context(), s, mine); err == nil {
				t.Errorf("%v from request %d on is not seen", fault, n)
			}
		}
		server.Fail(nil)
		if err := blobs.Claim(t.Context(), s, mine); err != nil {
			t.Fatal(err)
		}
		asked = len(server.Asked())
	}
}

// TestS3ListsTheSameAgain: a server that begins each list anew, as one that knows no start-after, does not keep a doctor for
// ever.
func TestS3ListsTheSameAgain(t *testing.T) {
	var page strings.Builder
	page.WriteString("<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>x</NextContinuationToken>")
	for i := range 1000 {
		id := uuid.UUID{14: byte(i >> 8), 15: byte(i)}
		fmt.Fprintf(&page, "<Contents><Key>%02x/%v</Key></Contents>", id[15], id)
	}
	page.WriteString("</ListBucketResult>")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, page.String())
	}))
	defer server.Close()
	opts := options(server.URL)
	opts.Prefix = ""
	s, err := blobs.NewS3(opts)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err = range s.List(t.Context()) {
		if n++; n > 5000 {
			t.Fatal("it goes on")
		}
	}
	if err == nil || !strings.Contains(err.Error(), "the same objects again") {
		t.Errorf("%d objects are listed, error %v", n, err)
	}
}
