package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"r-seed-1f3a754f.example/ifmatch/internal/servertest"
)

// wantLinearizable returns how long the check has taken.
func wantLinearizable(t *testing.T, recorded []porcupine.Operation, n int, seed uint64) time.Duration {
	t.Helper()
	begun := time.Now()
	result, info := porcupine.CheckOperationsVerbose(model, recorded, servertest.Patience)
	if result != porcupine.Ok {
		t.Fatalf("history %d of seed %d is not linearizable (%s):\n%ssee %s",
			n, seed, result, stuck(info, recorded), picture(t, info))
	}
	return time.Since(begun)
}

// stuck describes the end of the longest order that explains a part of a history, and the operations that cannot be
// next.
func stuck(info porcupine.LinearizationInfo, recorded []porcupine.Operation) string {
	var order []porcupine.Operation
	for _, some := range info.PartialLinearizationsOperations()[0] {
		if len(some) > len(order) {
			order = some
		}
	}
	var b strings.Builder
	line := func(op porcupine.Operation) {
		fmt.Fprintf(&b, "  client %d, %d to %d µs: %s\n", op.ClientId, op.Call/1000, op.Return/1000, model.DescribeOperation(op.Input, op.Output))
	}
	state := world{}
	for i, op := range order {
		state, _ = state.do(op.Input.(operation))
		if i >= len(order)-10 {
			line(op)
		}
	}
	rest := slices.DeleteFunc(slices.Clone(recorded), func(op porcupine.Operation) bool { return slices.Contains(order, op) })
	end := int64(math.MaxInt64)
	for _, op := range rest {
		end = min(end, op.Return)
	}
	fmt.Fprintf(&b, "now there is %v, and next is one of\n", state)
	for _, op := range rest {
		if op.Call <= end {
			line(op)
		}
	}
	return b.String()
}

// picture writes the picture that porcupine draws to a file that stays.
func picture(t *testing.T, info porcupine.LinearizationInfo) string {
	file, err := os.CreateTemp("", "linearizability-*.html")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := porcupine.Visualize(model, info, file); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}
