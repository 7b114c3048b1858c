package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// optional are the interfaces of package tree that a value may have besides another one. A wrapper that lacks one hides
// a part of the program, and nothing else notices.
var optional = map[string][]string{
	"Store":   {"Speller", "Quotas", "Feed", "Uploads", "Undoer"},
	"View":    {"FeedView"},
	"Content": {"PartedContent"},
}

// others are the other interfaces of package tree.
var others = map[string]string{
	"Limited":     "quota.Store is the outermost store, and nothing wraps it",
	"Reservation": "a caller has it from Limited",
	"Upload":      "its methods are all that it has",
	"Drain":       "writers of answers find it by Unwrap",
	"Dates":       "a value of a State",
}

// lacking are the pairs of a type and an interface that it need not have, with the reason.
var lacking = map[string]string{
	"handler/versions.View FeedView": "it wraps nothing, and a version never changes",
}

// ofCommands are interfaces through which commands use a store. None of them is served.
var ofCommands = []string{"transfer.Source", "internal/cluster.Source", "internal/history.Store", "internal/locks.Store"}

// forTests are the packages that no program is built of.
var forTests = []string{"tree/memtree", "tree/treetest"}

// A loaded package is one of ours, checked from its source.
type loadedPackage struct {
	path  string // below the module
	info  *types.Info
	types *types.Package
}

// loadOwn type-checks the packages of the program that use package tree.
func loadOwn(t *testing.T) (tree *types.Package, all []loadedPackage) {
	t.Helper()
	type listed struct {
		ImportPath, Export, Dir string
		GoFiles, Imports        []string
	}
	list := exec.Command("go", "list", "-export", "-deps", "-json=ImportPath,Export,Dir,GoFiles,Imports", "./...")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	exports := map[string]string{}
	var ours []listed
	for lines := json.NewDecoder(bytes.NewReader(out)); ; {
		var one listed
		if err := lines.Decode(&one); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		exports[one.ImportPath] = one.Export
		path := strings.TrimPrefix(one.ImportPath, module+"/")
		if slices.Contains(one.Imports, module+"/tree") && !slices.Contains(forTests, path) {
			ours = append(ours, one)
		}
	}
	files := token.NewFileSet()
	imports := importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	if tree, err = imports.Import(module + "/tree"); err != nil {
		t.Fatal(err)
	}
	for _, one := range ours {
		var parsed []*ast.File
		for _, name := range one.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(one.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			parsed = append(parsed, file)
		}
		p := loadedPackage{
			path: strings.TrimPrefix(strings.TrimPrefix(one.ImportPath, module), "/"),
			info: &types.Info{Defs: map[*ast.Ident]types.Object{}, Types: map[ast.Expr]types.TypeAndValue{}},
		}
		if p.types, err = (&types.Config{Importer: imports}).Check(one.ImportPath, files, parsed, p.info); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return tree, all
}

// kinds yields the types that a package declares, also within functions and without a name.
func (p loadedPackage) kinds() map[string]types.Type {
	all := map[string]types.Type{}
	declared := map[types.Type]bool{}
	for _, def := range p.info.Defs {
		if named, ok := def.(*types.TypeName); ok {
			if _, generic := named.Type().(*types.TypeParam); !generic {
				all[p.path+"."+named.Name()] = named.Type()
				declared[named.Type().Underlying()] = true
			}
		}
	}
	for expr, of := range p.info.Types {
		if s, ok := of.Type.(*types.Struct); ok && of.IsType() && !declared[s] {
			all[fmt.Sprintf("%s.%s", p.path, types.ExprString(expr))] = s
		}
	}
	return all
}

// TestWrappersHideNothing: each type that is a store, a view or a content of the contract has each interface that the
// contract allows besides, or is excepted above. So has each interface that includes one of these.
func TestWrappersHideNothing(t *testing.T) {
	tree, all := loadOwn(t)
	find := func(name string) *types.Interface {
		t.Helper()
		found, ok := tree.Scope().Lookup(name).Type().Underlying().(*types.Interface)
		if !ok {
			t.Fatalf("tree.%s is no interface", name)
		}
		return found
	}
	unnamed := unnamedInterfaces(t)
	known := map[string]bool{}
	for name := range others {
		known[name] = true
	}
	excepted, commands := map[string]bool{}, map[string]bool{}
	for base, names := range optional {
		known[base] = true
		wrappers := 0
		for _, name := range names {
			known[name] = true
		}
		for _, p := range all {
			for kind, typ := range p.kinds() {
				if !has(typ, find(base)) {
					continue
				}
				if slices.Contains(ofCommands, kind) {
					commands[kind] = true
					continue
				}
				wrappers++
				for _, method := range unnamed[base] {
					if found, _, _ := types.LookupFieldOrMethod(typ, true, p.types, method); found == nil {
						t.Errorf("%s is a tree.%s without the method %s, for which package tree looks", kind, base, method)
					}
				}
				for _, name := range names {
					pair := kind + " " + name
					switch _, may := lacking[pair]; {
					case has(typ, find(name)):
					case may:
						excepted[pair] = true
					default:
						t.Errorf("%s is a tree.%s and no tree.%s: a server with it would lose that", kind, base, name)
					}
				}
			}
		}
		if wrappers < 2 {
			t.Errorf("only %d types are a tree.%s: the test finds none", wrappers, base)
		}
	}
	if len(commands) != len(ofCommands) {
		t.Errorf("of %v there are only %v", ofCommands, commands)
	}
	for pair := range lacking {
		if !excepted[pair] {
			t.Errorf("%s is excepted, and need not be", pair)
		}
	}
	for _, name := range tree.Scope().Names() {
		declared, ok := tree.Scope().Lookup(name).(*types.TypeName)
		if ok && types.IsInterface(declared.Type()) && declared.Exported() && !known[name] {
			t.Errorf("tree.%s is in none of the tables of this test: which types need it besides another interface?", name)
		}
	}
}

// unnamedInterfaces returns the methods for which package tree looks by an interface without a name, by the interface
// of the value: as in v.(interface{ Committing() bool }).
func unnamedInterfaces(t *testing.T) map[string][]string {
	t.Helper()
	names, err := filepath.Glob("tree/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declared := range file.Decls {
			function, ok := declared.(*ast.FuncDecl)
			if !ok || strings.HasSuffix(name, "_test.go") {
				continue
			}
			of := map[string]string{} // the types of the parameters
			for _, parameter := range function.Type.Params.List {
				for _, ident := range parameter.Names {
					of[ident.Name] = types.ExprString(parameter.Type)
				}
			}
			ast.Inspect(function, func(n ast.Node) bool {
				asserted, ok := n.(*ast.TypeAssertExpr)
				if !ok {
					return true
				}
				if methods, ok := asserted.Type.(*ast.InterfaceType); ok {
					base := of[types.ExprString(asserted.X)]
					if optional[base] == nil {
						t.Errorf("%s: of which interface is %s?", name, types.ExprString(asserted))
					}
					for _, m := range methods.Methods.List {
						found[base] = append(found[base], m.Names[0].Name)
					}
				}
				return true
			})
		}
	}
	if len(found["View"]) < 3 {
		t.Errorf("package tree looks for %v alone: the test finds none", found)
	}
	return found
}

// has reports whether a type, or a pointer to it, has the methods of an interface.
func has(typ types.Type, methods *types.Interface) bool {
	return types.Implements(typ, methods) || !types.IsInterface(typ) && types.Implements(types.NewPointer(typ), methods)
}
