package s3test

import (
	"crypto/md5"
	"encoding/xml"
	"fmt"
	"strconv"
)

type xmlError struct {
	XMLName       xml.Name `xml:"Error"`
	Code, Message string
}

func failed(status int, code string) answer {
	return answer{status: status, body: marshal(xmlError{Code: code, Message: "the test says so: " + code})}
}

func marshal(v any) []byte {
	text, err := xml.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append([]byte(xml.Header), text...)
}

type begun struct {
	XMLName  xml.Name `xml:"InitiateMultipartUploadResult"`
	Bucket   string
	UploadID string `xml:"UploadId"`
}

type completed struct {
	XMLName xml.Name `xml:"CompleteMultipartUploadResult"`
	Bucket  string
	ETag    string
}

type listed struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	Contents              []object
	IsTruncated           bool
	NextContinuationToken string
}

type object struct {
	Key          string
	UploadID     string `xml:"UploadId,omitempty"`
	Size         int
	LastModified string
}

func etag(body []byte) string { return fmt.Sprintf(`"%x"`, md5.Sum(body)) }

func headers(body []byte) map[string]string {
	return map[string]string{"ETag": etag(body), "Content-Length": strconv.Itoa(len(body)),
		"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
}
