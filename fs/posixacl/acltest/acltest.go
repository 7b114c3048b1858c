// Package acltest makes POSIX access control lists for tests.
package acltest

import (
	"strconv"
	"strings"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/posixacl"
)

// tags are the numbers of linux/posix_acl.h for the letters in which entries begin here.
var tags = map[byte]uint16{'u': posixacl.Owner, 'g': posixacl.Group, 'm': posixacl.Mask, 'o': posixacl.Other}

// named are those of entries with the number of a user or a group.
var named = map[byte]uint16{'u': 0x02, 'g': 0x08}

// Of makes an ACL of a string such as "u:rw g:r u7:rw m:rw o:-", in which u7 is user 7.
func Of(t testing.TB, text string) []byte {
	t.Helper()
	var made []posixacl.Entry
	for _, field := range strings.Fields(text) {
		who, may, _ := strings.Cut(field, ":")
		e := posixacl.Entry{Tag: tags[who[0]], ID: 1<<32 - 1}
		if id, err := strconv.Atoi(who[1:]); err == nil {
			e.Tag, e.ID = named[who[0]], uint32(id)
		}
		if e.Tag == 0 {
			t.Fatalf("%q is no entry of an ACL", field)
		}
		for i, letter := range "xwr" {
			if strings.ContainsRune(may, letter) {
				e.Perm |= 1 << i
			}
		}
		made = append(made, e)
	}
	return posixacl.Encode(made)
}
