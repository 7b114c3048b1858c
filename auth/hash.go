package auth

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/alexedwards/argon2id"
	"github.com/tg123/go-htpasswd"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/text/unicode/norm"
)

// A hash is the hash of a password, as the users file has it.
type hash struct {
	text    string
	kind    string
	matches func(password string) bool
}

// NoPassword stands in the place of a hash for a user who logs in by app tokens and proxies alone.
const NoPassword = "*"

// newParams are those of new hashes: the first that OWASP recommends for argon2id, 19 ms on a machine of 2026.
var newParams = argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// maxPassword bounds passwords, in bytes. bcrypt looks at the first maxBcrypt bytes only.
const (
	maxPassword = 1024
	maxBcrypt   = 72
)

// NewHash returns the argon2id hash of a password for the users file, or an error about the password.
func NewHash(password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("a password is empty")
	case len(password) > maxPassword:
		return "", fmt.Errorf("a password is longer than %d bytes", maxPassword)
	case strings.ContainsFunc(password, isControl):
		return "", errors.New("a password has control characters, which Basic authentication cannot send (RFC 7617 §2)")
	}
	return argon2id.CreateHash(normalPassword(password), &newParams)
}

// normalPassword returns a password in NFC, in which all keyboards agree (RFC 8265 §4.2.2).
func normalPassword(password string) string { return norm.NFC.String(password) }

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// Bounds of the cost of a hash: one line of the file must not occupy the machine.
const (
	maxCost       = 16      // of bcrypt: some 4 seconds
	maxMemory     = 1 << 20 // of argon2id, in KiB
	maxIterations = 64
)

var (
	bcryptForm = regexp.MustCompile(`^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)
	apr1Form   = regexp.MustCompile(`^\$apr1\$[./A-Za-z0-9]{1,8}\$[./A-Za-z0-9]{22}$`)
	shaForm    = regexp.MustCompile(`^\{SHA\}[+/A-Za-z0-9]{27}=$`)
)

// parseHash reads the second field of a line. old: apr1 and {SHA} are taken too. The text is in no error: it may be a
// password.
func parseHash(text string, old bool) (hash, error) {
	switch {
	case text == NoPassword:
		return hash{text, "none", func(string) bool { return false }}, nil
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon2id(text)
	case bcryptForm.MatchString(text):
		cost, err := bcrypt.Cost([]byte(text))
		if err != nil || cost > maxCost {
			return hash{}, fmt.Errorf("the cost of a bcrypt hash is from 4 to %d", maxCost)
		}
		return hash{text, "bcrypt", func(password string) bool {
			err := bcrypt.CompareHashAndPassword([]byte(text), []byte(password[:min(len(password), maxBcrypt)]))
			return err == nil && len(password) <= maxBcrypt
		}}, nil
	case apr1Form.MatchString(text), shaForm.MatchString(text):
		if !old {
			return hash{}, errors.New("apr1 and {SHA} are old hashes that can be guessed fast: set the password anew " +
				"(ifmatch user passwd), or take them with --old-hashes")
		}
		accept, kind := htpasswd.AcceptMd5, "apr1"
		if text[0] == '{' {
			accept, kind = htpasswd.AcceptSha, "SHA"
		}
		stored, err := accept(text)
		if err != nil || stored == nil {
			return hash{}, errors.New("the hash is malformed")
		}
		return hash{text, kind, stored.MatchesPassword}, nil
	}
	return hash{}, errors.New("the password is not hashed with argon2id or bcrypt: use ifmatch user passwd")
}

func parseArgon2id(text string) (hash, error) {
	params, salt, key, err := argon2id.DecodeHash(text)
	switch {
	case err != nil:
		return hash{}, errors.New("the argon2id hash is malformed")
	case params.Parallelism < 1, params.Iterations < 1, params.Iterations > maxIterations, params.Memory > maxMemory,
		params.Memory < 8*uint32(params.Parallelism), len(salt) < 8, len(salt) > 64, len(key) < 16, len(key) > 64:
		return hash{}, fmt.Errorf("the argon2id hash has parameters beyond m=%d,t=%d, or a short salt or key",
			maxMemory, maxIterations)
	case !strings.HasPrefix(text, fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$", params.Memory, params.Iterations,
		params.Parallelism)):
		return hash{}, errors.New("the argon2id hash is malformed")
	}
	return hash{text, "argon2id", func(password string) bool {
		ok, err := argon2id.ComparePasswordAndHash(password, text)
		return err == nil && ok
	}}, nil
}
