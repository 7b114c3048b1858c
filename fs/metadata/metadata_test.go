package metadata

import (
	"bytes"
	iofs "io/fs"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/fs/posixacl"
	"r-seed-1f3a754f.example/ifmatch/fs/posixacl/acltest"
)

func TestStrange(t *testing.T) {
	for _, test := range []struct {
		mode      iofs.FileMode
		acl       string
		want      iofs.FileMode
		wantACL   string
		wantAlone iofs.FileMode // where there can be no ACL
	}{
		{mode: 0o644, want: 0o644, wantAlone: 0o600},
		{mode: 0o664, want: 0o644, wantAlone: 0o600},
		{mode: 0o640, want: 0o600, wantAlone: 0o600},
		{mode: 0o604, want: 0o600, wantAlone: 0o600}, // the group was kept out
		{mode: 0o467, want: 0o466, wantAlone: 0o400},
		{mode: 0o777 | iofs.ModeSetgid | iofs.ModeSticky, want: 0o777 | iofs.ModeSticky,
			wantAlone: 0o700 | iofs.ModeSticky},
		{mode: 0o670, acl: "u:rw u7:rw g:rwx m:rwx o:-", want: 0o670, wantACL: "u:rw u7:rw g:- m:rwx o:-",
			wantAlone: 0o600},
		{mode: 0o644, acl: "u:rw u7:- g:rw m:r o:r", want: 0o644, wantACL: "u:rw u7:- g:r m:r o:r", wantAlone: 0o600},
		{mode: 0o607, acl: "u:rw g8:rwx g:rwx m:- o:rwx", want: 0o600, wantACL: "u:rw g8:rwx g:- m:- o:-",
			wantAlone: 0o600},
	} {
		before := Traits{Mode: test.mode}
		if test.acl != "" {
			before.attributes = map[string][]byte{posixacl.Access: acltest.Of(t, test.acl)}
		}
		got := before.common()
		if got.Mode != test.want || !bytes.Equal(got.attributes[posixacl.Access], acltest.Of(t, test.wantACL)) &&
			test.wantACL != "" {
			t.Errorf("%v with %q: got %v with %x", test.mode, test.acl, got.Mode, got.attributes[posixacl.Access])
		}
		if got := got.private(); got.Mode != test.wantAlone || got.attributes[posixacl.Access] != nil {
			t.Errorf("%v with %q and no ACL: got %v", test.mode, test.acl, got.Mode)
		}
	}
}
