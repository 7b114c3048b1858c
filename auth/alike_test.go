package auth

import (
	"slices"
	"strings"
	"testing"
)

// TestOtherSpellings: on a name that a disk may take for that of a rule, only the effects that both grant are
// granted.
func TestOtherSpellings(t *testing.T) {
	rule := func(path string, effects Effects, who Who) Rule {
		p, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		return Rule{Path: p, Who: who, Effects: effects}
	}
	each := Who{Authenticated: true}
	p := NewPolicies(NewRules([]Rule{
		rule("/", All, each), rule("/Secret/In", List, each), rule("/drop/{user}", Create, each), rule("/Pub", All, each),
		rule("/pub", List|Read, each),
	}), Population{Users: []string{"ann"}})
	p.alike = strings.EqualFold
	access := p.Access(Principal{Name: "ann"})
	for name, want := range map[string]Effects{
		"secret": All, "SECRET/in": List, "Secret/IN/x": List, "Secret/In": List, "secret/inn": All, "drop/ANN": Create,
		"DROP/Ann/x": Create, "drop/bob": All, "Pub": List | Read, "pub/x": List | Read, "PUB": List | Read, "other/SECRET/in": All,
	} {
		if got := access.Effects(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if got := access.Subtree("SECRET"); got != List {
		t.Errorf("all below SECRET: %s, want list", got)
	}
	if !access.Seen("SECRET/IN") || !access.Effects("SECRET/IN").Has(List) {
		t.Error("SECRET/IN is not seen")
	}
}

// TestExplanationOfOtherSpellings: what is explained is what is granted, and the other spelling is named.
func TestExplanationOfOtherSpellings(t *testing.T) {
	p := office(t, `
		/       ; alice bob ; all
		/Secret ; alice     ; all
		/pub    ; alice bob ; list read`)
	p.alike = strings.EqualFold
	bob := p.Access(Principal{Name: "bob"})
	for name, want := range map[string]struct {
		effects   Effects
		seen      bool
		spellings []ExplainedName
	}{
		"other":      {All, true, nil},
		"Secret/x":   {None, false, nil},
		"secret/x":   {None, false, []ExplainedName{{"Secret/x", None}}},
		"PUB/Secret": {List | Read, true, []ExplainedName{{"pub/Secret", List | Read}}},
	} {
		got := bob.Explain(name)
		if got.Effects != want.effects || got.Effects != bob.Effects(name) || got.Seen != want.seen ||
			!slices.Equal(got.Spellings, want.spellings) || got.TooMany {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

// TestManySpellings: a name with more spellings than are looked at is granted nothing.
func TestManySpellings(t *testing.T) {
	var rules []Rule
	for i := range mostSpellings + 2 {
		p, err := ParsePath("/" + strings.Repeat("a", i+1))
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, Rule{Path: p, Who: Who{Anonymous: true}, Effects: All})
	}
	p := NewPolicies(NewRules(rules), Population{})
	p.alike = func(a, b string) bool { return true }
	access := p.Access(Principal{})
	if got := access.Effects("b"); got != None || access.Seen("b") {
		t.Errorf("%s, want none", got)
	}
	if got := access.Explain("b"); !got.TooMany || got.Effects != None {
		t.Errorf("the explanation is %+v", got)
	}
}
