package main

import (
	"flag"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"r-seed-1f3a754f.example/ifmatch/internal/clustertest"
	"r-seed-1f3a754f.example/ifmatch/internal/scripttest"
)

// notInCluster are the conversations over HTTP that do not run against a cluster, each with the reason.
var notInCluster = map[string]string{
	"http_behind":           "local programs write",
	"http_behind_unwatched": "local programs write",
	"http_links":            "local programs make links",
	"http_outside":          "local programs make links",
	"http_quota":            "the room of a database is not known",
	"http_tagwait":          "a tag is always known",
}

// onCluster has some scripts run against clusters.
func onCluster(t *testing.T, turn clustertest.Turn, params testscript.Params, names []string) testscript.Params {
	t.Helper()
	for _, name := range names {
		params.Files = append(params.Files, filepath.Join(params.Dir, name+".txtar"))
	}
	params.Dir = ""
	condition := params.Condition
	params.Condition = func(name string) (bool, error) {
		if name == "cluster" {
			return true, nil
		}
		return condition(name)
	}
	setup, variables := params.Setup, clustertest.Environment(t, turn)
	params.Setup = func(env *testscript.Env) error {
		env.Vars = append(env.Vars, variables...)
		return setup(env)
	}
	return params
}

// TestScriptsOnCluster runs the conversations of one server with three, each connection with the next of them.
func TestScriptsOnCluster(t *testing.T) {
	all, err := filepath.Glob("testdata/script/http_*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, path := range all {
		name := strings.TrimSuffix(filepath.Base(path), ".txtar")
		if _, not := notInCluster[name]; !not {
			names = append(names, name)
		}
	}
	if len(names)+len(notInCluster) != len(all) {
		t.Errorf("%d scripts are left out, and %d run, of %d", len(notInCluster), len(names), len(all))
	}
	params := scripttest.Params("testdata/script", slices.Concat(flagVariables(), clustertest.Variables()))
	testscript.Run(t, onCluster(t, clustertest.Connections, params, names))
}

// programsInCluster are the scripts about the program that run against a cluster. The others are about a disk, about
// commands on a directory, about what one process has by itself, or have the program refuse what the front of a cluster
// takes: a directory that is not there, or an address.
var programsInCluster = []string{
	"program_cors", "program_hangup", "program_host", "program_memory", "program_prefix", "program_proxy", "program_readonly",
	"program_required",
}

var clusterPrograms = flag.Bool("cluster-programs", false, "run all scripts about the program that TestProgramsOnCluster has")

// TestProgramsOnCluster is TestScriptsOnCluster for scripts about the program. It starts many servers.
func TestProgramsOnCluster(t *testing.T) {
	names := programsInCluster
	if !*clusterPrograms {
		names = []string{"program_prefix"}
		t.Log("one script of them: -cluster-programs is not given")
	}
	params := scripttest.Params("testdata/script", slices.Concat(flagVariables(), clustertest.Variables()))
	testscript.Run(t, onCluster(t, clustertest.Connections, params, names))
}

// TestOnCluster runs tests of one server with three. Those of the second table send more than one request on a connection.
func TestOnCluster(t *testing.T) {
	for _, table := range []struct {
		turn  clustertest.Turn
		tests map[string]func(*testing.T)
	}{
		{clustertest.Connections, map[string]func(*testing.T){
			"RFC 4918": TestRFC4918, "RFC 6585": TestRFC6585, "RFC 9110": TestRFC9110,
		}},
		{clustertest.Requests, map[string]func(*testing.T){
			"followers": func(t *testing.T) {
				all := *followOps
				defer func() { *followOps = all }()
				*followOps = all / 5 // each is several messages to the database
				TestFollowersHaveWhatTheySee(t)
			},
			"published sites": TestReadersOfASiteThatIsPublished,
		}},
	} {
		t.Run(string(table.turn), func(t *testing.T) {
			clustertest.On(t, table.turn)
			for _, name := range slices.Sorted(maps.Keys(table.tests)) {
				t.Run(name, table.tests[name])
			}
		})
	}
}
