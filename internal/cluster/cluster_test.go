package cluster

import (
	"strings"
	"testing"
	"time"

	"r-seed-1f3a754f.example/ifmatch/pgstore/replicas"
)

// TestStatusTellsOfReplicas with other files than the rest.
func TestStatusTellsOfReplicas(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	one := func(host, files string) replicas.Replica {
		return replicas.Replica{ID: host, Host: host, Program: "v1", Started: at, Files: files}
	}
	const differ = "NOT ALL HAVE THE SAME"
	for name, test := range map[string]struct {
		all  []replicas.Replica
		want []string
		not  string
	}{
		"none": {nil, []string{"none runs"}, differ},
		"the same": {[]replicas.Replica{one("a", "12345678ab"), one("b", "12345678ab")},
			[]string{`"a", v1, since 2026-01-02T03:04:05Z, users and rules 12345678` + "\n", `"b"`}, differ},
		"no files": {[]replicas.Replica{one("a", ""), one("b", "")}, []string{"no users and rules"}, differ},
		"others":   {[]replicas.Replica{one("a", "1"), one("b", "1"), one("c", "2")}, []string{`"c"`, differ}, "none"},
		"a wrong clock": {[]replicas.Replica{one("a", "1"), {ID: "b", Host: "b", Files: "1", Ahead: -time.Hour}},
			[]string{`"b"`, "ITS CLOCK IS OFF BY -1h0m0s\n"}, differ},
		"a clock that is nearly right": {[]replicas.Replica{{ID: "a", Host: "a", Files: "1", Ahead: time.Second}},
			[]string{`"a"`}, "CLOCK"},
		"none here": {[]replicas.Replica{one("a", "1"), one("b", "")}, []string{differ}, "none runs"},
	} {
		var out strings.Builder
		if err := replicaStatus(&out, test.all); err != nil {
			t.Fatal(err)
		}
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, &out)
			}
		}
		if strings.Contains(out.String(), test.not) {
			t.Errorf("%s: %q is in\n%s", name, test.not, &out)
		}
	}
}
