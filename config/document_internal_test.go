package config

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
	"github.com/google/go-cmp/cmp"
)

const document = "../docs/configuration.md"

// TestDocument checks that the document describes every key as the code does:
// its tables are made of the fields' comments, tags and defaults.
func TestDocument(t *testing.T) {
	content, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, marker, found := strings.Cut(string(content), "from the comments in config/*.go. -->\n")
	if !found {
		t.Fatalf("%s has lost the mark behind which its tables stand", document)
	}
	head += "from the comments in config/*.go. -->\n"
	r := newReference(t)
	c := documented()
	r.sections("", reflect.ValueOf(c).Elem())
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(document, []byte(head+r.text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(r.text.String(), marker); diff != "" {
		t.Errorf("run go test ./config -update; code -, document +:\n%s", diff)
	}
}

// TestDocumentedExamples parses the examples of the keys together, as one file
// with Kubernetes and as one without.
func TestDocumentedExamples(t *testing.T) {
	r := newReference(t)
	r.sections("", reflect.ValueOf(documented()).Elem())
	for _, without := range []string{"volumes", "kubernetes"} {
		var text strings.Builder
		for _, section := range r.examples {
			if !strings.Contains(strings.SplitN(section, "\n", 2)[0], without) {
				text.WriteString(section)
			}
		}
		if _, err := Parse("examples", []byte(text.String())); err != nil {
			t.Errorf("without %s:\n%v\n%s", without, err, text.String())
		}
	}
}

func TestDocumentedFiles(t *testing.T) {
	content, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllSubmatch(content, -1)
	if len(blocks) < 3 {
		t.Errorf("the document has only %d files", len(blocks))
	}
	for _, block := range blocks {
		if _, err := Parse("document", block[1]); err != nil {
			t.Errorf("%v\n%s", err, block[1])
		}
	}
}

// documented is the default configuration with every section there is.
func documented() *Config {
	c := Default()
	c.Kubernetes, c.Heketi, c.Volumes = &Kubernetes{}, &Heketi{}, []Volume{{}}
	c.Heketi.setDefaults()
	c.Kubernetes.setDefaults()
	return &c
}

// reference writes the tables of the document.
type reference struct {
	t        *testing.T
	comments map[string]string // by type, and by type and field: "Backup.Parallel"
	text     strings.Builder
	examples []string // one TOML section each
}

func newReference(t *testing.T) *reference {
	t.Helper()
	r := &reference{t: t, comments: map[string]string{}}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, r.collect)
	}
	return r
}

// collect remembers the comments of struct types and their fields.
func (r *reference) collect(n ast.Node) bool {
	declaration, ok := n.(*ast.GenDecl)
	if !ok {
		return true
	}
	for _, spec := range declaration.Specs {
		named, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		r.comments[named.Name.Name] = strings.Join(strings.Fields(declaration.Doc.Text()), " ")
		if fields, ok := named.Type.(*ast.StructType); ok {
			for _, field := range fields.Fields.List {
				for _, name := range field.Names {
					r.comments[named.Name.Name+"."+name.Name] = strings.Join(strings.Fields(field.Doc.Text()), " ")
				}
			}
		}
	}
	return true
}

// sections writes every field of v that is a section.
func (r *reference) sections(path string, v reflect.Value) {
	for i := range v.NumField() {
		key := strings.TrimPrefix(path+"."+v.Type().Field(i).Tag.Get("toml"), ".")
		field, header := v.Field(i), "["+key+"]"
		if field.Kind() == reflect.Slice && field.Type().Elem().Kind() == reflect.Struct {
			field, header = field.Index(0), "[["+key+"]]"
		}
		if field = reflect.Indirect(field); field.Kind() == reflect.Struct {
			r.section(header, field)
			r.sections(key, field)
		}
	}
}

// section writes the table of one section.
func (r *reference) section(header string, v reflect.Value) {
	name := v.Type().Name()
	fmt.Fprintf(&r.text, "\n### `%s`\n\n%s\n\n", header, r.comment(name, name, header))
	r.text.WriteString("| Key | Kind | Default | Example | Meaning |\n|---|---|---|---|---|\n")
	example := header + "\n"
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Type.Kind() == reflect.Struct {
			continue
		}
		key := field.Tag.Get("toml")
		meaning := r.comment(name+"."+field.Name, field.Name, key)
		standard := "`" + r.encode(v.Field(i).Interface()) + "`"
		if strings.Contains(meaning, "Required.") || strings.Contains(meaning, "Required with") {
			standard = "none"
		}
		sample := r.encode(exampleOf(field))
		fmt.Fprintf(&r.text, "| `%s` | %s | %s | `%s` | %s |\n", key, kind(field.Type), standard, sample, meaning)
		example += key + " = " + sample + "\n"
	}
	r.examples = append(r.examples, example)
}

// comment returns a comment with the key instead of the Go name.
func (r *reference) comment(of, name, key string) string {
	text, ok := strings.CutPrefix(r.comments[of], name+" ")
	if !ok {
		r.t.Fatalf("the comment of %s does not start with the name: %q", of, r.comments[of])
	}
	return "`" + key + "` " + text
}

// encode returns the TOML of a value.
func (r *reference) encode(value any) string {
	var b bytes.Buffer
	if err := toml.NewEncoder(&b).Encode(map[string]any{"k": value}); err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(b.String(), "k = "))
}

// exampleOf reads the tag: words for a list, digits for an integer.
func exampleOf(field reflect.StructField) any {
	text := field.Tag.Get("example")
	var n int
	switch field.Type.Kind() {
	case reflect.Slice:
		return strings.Fields(text)
	case reflect.Bool:
		return text == "true"
	case reflect.Int:
		if _, err := fmt.Sscan(text, &n); err == nil {
			return n
		}
	}
	return text
}

// kind names a type as the document does.
func kind(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[Duration]():
		return "duration"
	case t == reflect.TypeFor[Size]():
		return "size"
	case t.Kind() == reflect.Slice:
		return "list of strings"
	case t.Kind() == reflect.Int:
		return "integer"
	case t.Kind() == reflect.Bool:
		return "true or false"
	}
	return "string"
}
