package config

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder fills a value from the tree that the TOML parser made. Unlike the
// parser's own decoding it goes on after a wrong type, takes no key in another
// case, and notes every fault in the report.
type decoder struct{ report *report }

// table fills the struct v from the table at key.
func (d decoder) table(key string, tree map[string]any, v reflect.Value) {
	fields := fieldsByName(v.Type())
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		index, ok := fields[name]
		if !ok {
			d.report.add(join(key, name), "unknown %s%s", kindOf(key, tree[name]), suggest(name, fields))
			continue
		}
		d.value(join(key, name), tree[name], v.Field(index))
	}
}

// value fills v, whatever its kind, from the value at key.
func (d decoder) value(key string, raw any, v reflect.Value) {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.text(key, raw, u)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		d.section(key, raw, v)
	case reflect.Struct:
		if tree, ok := raw.(map[string]any); ok {
			d.table(key, tree, v)
		} else {
			d.mismatch(key, "a section", raw)
		}
	case reflect.Slice:
		d.list(key, raw, v)
	case reflect.Int:
		n, ok := raw.(int64)
		if !ok || v.OverflowInt(n) {
			d.mismatch(key, "an integer", raw)
			return
		}
		v.SetInt(n)
	case reflect.Bool:
		on, ok := raw.(bool)
		if !ok {
			d.mismatch(key, "true or false", raw)
			return
		}
		v.SetBool(on)
	default:
		s, ok := raw.(string)
		if !ok {
			d.mismatch(key, "a string", raw)
			return
		}
		v.SetString(s)
	}
}

// section makes an optional section with its defaults and fills it.
func (d decoder) section(key string, raw any, v reflect.Value) {
	tree, ok := raw.(map[string]any)
	if !ok {
		d.mismatch(key, "a section", raw)
		return
	}
	v.Set(reflect.New(v.Type().Elem()))
	if s, ok := v.Interface().(section); ok {
		s.setDefaults()
	}
	d.table(key, tree, v.Elem())
}

// list fills a list of strings or of tables. It replaces a default list.
func (d decoder) list(key string, raw any, v reflect.Value) {
	entries := reflect.ValueOf(raw)
	if entries.Kind() != reflect.Slice {
		d.mismatch(key, "a list", raw)
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), entries.Len(), entries.Len()))
	for i := range entries.Len() {
		d.value(element(key, i), entries.Index(i).Interface(), v.Index(i))
	}
}

// text fills a value that reads itself from a string. It takes an integer for
// one that is a plain number, such as a Size.
func (d decoder) text(key string, raw any, u encoding.TextUnmarshaler) {
	text, ok := raw.(string)
	if n, integer := raw.(int64); integer {
		text, ok = strconv.FormatInt(n, 10), true
	}
	if !ok {
		d.mismatch(key, "a string", raw)
		return
	}
	if err := u.UnmarshalText([]byte(text)); err != nil {
		d.report.add(key, "%v, not %q", err, text)
	}
}

// mismatch notes a value of the wrong type.
func (d decoder) mismatch(key, want string, raw any) {
	d.report.add(key, "want %s, not %s", want, typeName(raw))
}

// typeName describes a value of the TOML parser.
func typeName(raw any) string {
	switch raw := raw.(type) {
	case string:
		return "a string"
	case int64:
		return fmt.Sprintf("the integer %d", raw)
	case float64:
		return "a float"
	case bool:
		return "a boolean"
	case time.Time:
		return "a date or time"
	case map[string]any:
		return "a section"
	}
	return "a list"
}

// kindOf says whether an unknown name is a section or a key.
func kindOf(parent string, raw any) string {
	_, isTable := raw.(map[string]any)
	_, isList := raw.([]map[string]any)
	switch {
	case isTable, isList:
		return "section"
	case parent == "":
		return "key outside of any section"
	}
	return "key"
}

// suggest returns a hint when a known name is close to the unknown one.
func suggest(name string, known map[string]int) string {
	best, least := "", min(3, len(name)/2+1)
	for _, candidate := range slices.Sorted(maps.Keys(known)) {
		if n := distance(strings.ToLower(name), candidate); n < least {
			best, least = candidate, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}

// distance counts the edits that turn a into b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// fieldsByName maps the names of the file to the fields of a struct.
func fieldsByName(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		fields[t.Field(i).Tag.Get("toml")] = i
	}
	return fields
}
