package undo

import (
	"context"
	"errors"
	"testing"

	"r-seed-1f3a754f.example/ifmatch/tree"
)

// A stubborn store removes nothing.
type stubborn struct{ Store }

func (stubborn) Remove(context.Context, string, tree.Condition) error { return errors.New("no") }

// However many steps fail, the result names few of them, and says how many there are.
func TestStepsThatFailAreNamedUpToABound(t *testing.T) {
	u := &undoing{Store: stubborn{}, plan: &Plan{Steps: make([]Step, maxLeft+3)}}
	u.plan.leave("before", "it was left by the plan")
	for i := range u.plan.Steps {
		u.plan.Steps[i] = Step{Op: Remove, Name: "f"}
	}
	if err := u.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := u.all(); len(r.Left) != maxLeft || r.More != 4 || r.Left[0].Name != "before" || r.Steps() != 0 {
		t.Errorf("%d are named, and %d more, of %d steps", len(r.Left), r.More, r.Steps())
	}
}
