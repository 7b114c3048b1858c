// Package check compares the examples of clusters with the types that their programs read them into. It is a module of its
// own, so that these are no dependencies of the server. .ci/long runs it.
package check

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// TestCompose: the library of compose compares the file with its schema as it reads it.
func TestCompose(t *testing.T) {
	options, err := cli.NewProjectOptions([]string{"../compose.yaml"}, cli.WithInterpolation(true), cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	replicas := 0
	for name, service := range project.Services {
		if strings.HasPrefix(name, "replica-") {
			replicas++
			if password := service.Environment["PGPASSWORD"]; password == nil || *password == "" {
				t.Errorf("%s has no password of the database", name)
			}
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s can be reached from other machines, at %v", name, port)
			}
		}
	}
	if replicas != 3 {
		t.Errorf("there are %d replicas", replicas)
	}
}

// TestKubernetes: each field is one of its type.
func TestKubernetes(t *testing.T) {
	text, err := os.ReadFile("../kubernetes/ifmatch.yaml")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]func() any{
		"v1/PersistentVolumeClaim":      func() any { return &core.PersistentVolumeClaim{} },
		"v1/Service":                    func() any { return &core.Service{} },
		"apps/v1/Deployment":            func() any { return &apps.Deployment{} },
		"policy/v1/PodDisruptionBudget": func() any { return &policy.PodDisruptionBudget{} },
		"networking.k8s.io/v1/Ingress":  func() any { return &networking.Ingress{} },
	}
	var seen []string
	for _, one := range bytes.Split(text, []byte("\n---\n")) {
		var kind meta.TypeMeta
		if err := yaml.Unmarshal(one, &kind); err != nil {
			t.Fatal(err)
		}
		name := kind.APIVersion + "/" + kind.Kind
		seen = append(seen, name)
		into := types[name]
		if into == nil {
			t.Errorf("%s is no known type", name)
			continue
		}
		if err := yaml.UnmarshalStrict(one, into()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name := range types {
		if !slices.Contains(seen, name) {
			t.Errorf("there is no %s", name)
		}
	}
	if strings.Contains(string(text), "notAField") || yaml.UnmarshalStrict([]byte("notAField: 1"), &core.Service{}) == nil {
		t.Error("a field that no type has is taken")
	}
}
