package blobs

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/semaphore"
)

// S3Options say where the objects of an [S3] are. Zero values mean the defaults.
type S3Options struct {
	Bucket   string
	Prefix   string // of all keys, without a slash at its ends
	Endpoint string // https://HOST[:PORT] or http://HOST[:PORT]; the default is Amazon's
	Region   string // the default is that of the environment, or else us-east-1
	// Style says where requests have the name of the bucket: "path", "host", or "" to choose by the endpoint.
	Style string
	// Memory bounds the parts of all uploads of this process together, in bytes (1 GiB).
	Memory int64
	// Part is the least size of a part in bytes, a multiple of [Step] (16 MiB). S3 takes none below 5 MiB but the last.
	Part int64
	// Patience is how long S3 may take for an answer (30 s), besides what the bytes take at Rate bytes a second (256 KiB).
	Patience time.Duration
	Rate     int64
	// Tries is how often a call is made that fails in a way that may pass (4).
	Tries int
	// Credentials may replace those of the environment, the files and the machine (nil).
	Credentials *credentials.Credentials
}

const (
	defaultMemory   = 1 << 30
	defaultPart     = 16 << 20
	defaultPatience = 30 * time.Second
	defaultRate     = 256 << 10
	defaultTries    = 4
	maxObject       = 5 << 40 // bytes, as S3 has it
	maxParts        = 10_000
)

// parseS3 reads an address of a bucket.
func parseS3(at *url.URL) (S3Options, error) {
	query, err := url.ParseQuery(at.RawQuery)
	opts := S3Options{
		Bucket: at.Host, Prefix: strings.Trim(at.Path, "/"),
		Endpoint: query.Get("endpoint"), Region: query.Get("region"), Style: query.Get("style"),
	}
	switch {
	case err != nil || at.Host == "" || at.Port() != "" || at.Fragment != "":
		return S3Options{}, ErrAddress
	case at.User != nil:
		return S3Options{}, errors.New("every user of the machine can read a key in an address: " + howToGiveKeys)
	}
	for name, values := range query {
		if !slices.Contains([]string{"endpoint", "region", "style", "memory"}, name) || len(values) != 1 {
			return S3Options{}, fmt.Errorf("s3:// takes endpoint, region, style and memory, each once: not %q", name)
		}
	}
	if text := query.Get("memory"); text != "" {
		memory, err := humanize.ParseBytes(text)
		if err != nil || memory < 4*defaultPart || memory > 1<<40 {
			return S3Options{}, fmt.Errorf("memory=%s is no size from 64MiB on, such as 512MiB", text)
		}
		opts.Memory = int64(memory)
	}
	if opts.Style != "" && opts.Style != "path" && opts.Style != "host" {
		return S3Options{}, fmt.Errorf("style=%s: it is path or host", opts.Style)
	}
	return opts, nil
}

const howToGiveKeys = "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY by the environment, or a file by " +
	"AWS_SHARED_CREDENTIALS_FILE"

// NewS3 returns the place at a bucket, which must be there. It asks S3 nothing yet.
func NewS3(opts S3Options) (*S3, error) {
	if opts.Endpoint == "" {
		opts.Endpoint = "https://s3.amazonaws.com"
	}
	endpoint, err := url.Parse(opts.Endpoint)
	if err != nil || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.Host == "" ||
		endpoint.User != nil || strings.Trim(endpoint.Path, "/") != "" || endpoint.RawQuery != "" {
		return nil, fmt.Errorf("endpoint=%s is no address such as https://s3.example or http://127.0.0.1:9000",
			opts.Endpoint)
	}
	opts.fill()
	transport, err := minio.DefaultTransport(endpoint.Scheme == "https")
	if err != nil {
		return nil, err
	}
	transport.MaxIdleConnsPerHost = 64
	transport.ResponseHeaderTimeout = 0 // each call has a limit of its own, by its bytes
	lookup := map[string]minio.BucketLookupType{
		"": minio.BucketLookupAuto, "path": minio.BucketLookupPath, "host": minio.BucketLookupDNS}
	core, err := minio.NewCore(endpoint.Host, &minio.Options{
		Creds: opts.Credentials, Secure: endpoint.Scheme == "https", Transport: transport, Region: opts.Region,
		BucketLookup: lookup[opts.Style], MaxRetries: opts.Tries,
	})
	if err != nil {
		return nil, err
	}
	return &S3{core: core, opts: opts, memory: semaphore.NewWeighted(opts.Memory)}, nil
}

func (opts *S3Options) fill() {
	region := os.Getenv("AWS_REGION")
	if region == "" {
		region = os.Getenv("AWS_DEFAULT_REGION")
	}
	for _, one := range []string{region, "us-east-1"} {
		if opts.Region == "" {
			opts.Region = one
		}
	}
	orDefault(&opts.Memory, defaultMemory)
	orDefault(&opts.Part, defaultPart)
	orDefault(&opts.Patience, defaultPatience)
	orDefault(&opts.Rate, defaultRate)
	orDefault(&opts.Tries, defaultTries)
	if opts.Credentials == nil {
		opts.Credentials = credentials.NewChainCredentials([]credentials.Provider{
			&credentials.EnvAWS{}, &credentials.FileAWSCredentials{},
			&credentials.IAM{Client: &http.Client{Timeout: 5 * time.Second}},
		})
	}
}

func orDefault[N int | int64 | time.Duration](value *N, standard N) {
	if *value <= 0 {
		*value = standard
	}
}

func codeOf(err error) string {
	if answered := new(minio.ErrorResponse); errors.As(err, answered) {
		return answered.Code
	}
	return ""
}

// explained says in words for people what an error of S3 means. An object that is not there is [iofs.ErrNotExist], and
// a full disk is ENOSPC.
func (s *S3) explained(err error) error {
	said := fmt.Sprint(err)
	switch code := codeOf(err); code {
	case "":
		if errors.Is(err, context.DeadlineExceeded) {
			return errors.New("it has not answered in time") // not the deadline of the caller
		}
		return err
	case minio.NoSuchKey:
		return iofs.ErrNotExist
	case minio.NoSuchBucket:
		return fmt.Errorf("there is no bucket %q: make it first, or change the address", s.opts.Bucket)
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", minio.AccessDenied:
		return fmt.Errorf("it refuses the key (%s: %s): %s, and let that key read, write, delete and list in bucket %q",
			code, said, howToGiveKeys, s.opts.Bucket)
	case "AuthorizationHeaderMalformed", minio.InvalidRegion, "PermanentRedirect":
		return fmt.Errorf("%s: the bucket is in another region than %s: give region=", said, s.opts.Region)
	case "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "QuotaExceeded", "InsufficientStorage":
		return fmt.Errorf("%w: %s", syscall.ENOSPC, said)
	default:
		return fmt.Errorf("%s: %s", code, said)
	}
}
