package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"r-seed-1f3a754f.example/ifmatch/internal/clustertest"
	"r-seed-1f3a754f.example/ifmatch/internal/scripttest"
)

// notInCluster are the scripts that do not run against a cluster, each with the reason.
var notInCluster = map[string]string{
	"http_behind":           "local programs write",
	"http_behind_unwatched": "local programs write",
	"http_links":            "local programs make links",
	"http_outside":          "local programs make links",
	"http_deleteguard":      "the guard is of one replica",
	"http_quota":            "the room of a database is not known",
	"http_tagwait":          "a tag is always known",
}

// onCluster has the scripts of some parameters run against clusters.
func onCluster(t *testing.T, turn clustertest.Turn, params testscript.Params) testscript.Params {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(params.Dir, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	params.Dir = ""
	params.Files = slices.DeleteFunc(all, func(path string) bool {
		_, not := notInCluster[strings.TrimSuffix(filepath.Base(path), ".txtar")]
		return not
	})
	setup, variables := params.Setup, clustertest.Environment(t, turn)
	params.Setup = func(env *testscript.Env) error {
		env.Vars = append(env.Vars, variables...)
		return setup(env)
	}
	return params
}

// TestScriptsOnCluster runs the conversations of one server with three, each connection with the next of them.
func TestScriptsOnCluster(t *testing.T) {
	variables := slices.Concat(flagVariables(), clustertest.Variables())
	testscript.Run(t, onCluster(t, clustertest.Connections, scripttest.Params("testdata/script", variables)))
}
