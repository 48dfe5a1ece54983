package config

import (
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// join appends a name to a key, quoted where TOML wants quotes.
func join(key, name string) string {
	name = toml.Key{name}.String()
	if key == "" {
		return name
	}
	return key + "." + name
}

// element is the key of one entry of a list, counted from 0.
func element(key string, index int) string {
	return fmt.Sprintf("%s[%d]", key, index)
}

// parent cuts the last name or index off a key.
func parent(key string) string {
	return key[:max(strings.LastIndexAny(key, ".["), 0)]
}

// displayKey writes a key as it stands in the file: the section in brackets,
// then the name. Entries of [[volumes]] are numbered from 1.
func displayKey(key string) string {
	section, name := parent(key), key
	if section != "" {
		name = strings.TrimPrefix(key[len(section):], ".")
	}
	switch {
	case strings.HasPrefix(name, "["):
		return displayKey(section) + " " + ordinal(name)
	case strings.HasSuffix(section, "]"):
		return displayKey(section) + " " + name
	case section == "" && name == "volumes":
		return "[[volumes]]"
	case section == "":
		return "[" + name + "]"
	}
	return "[" + section + "] " + name
}

// ordinal turns the index "[0]" into "entry 1".
func ordinal(index string) string {
	var n int
	if _, err := fmt.Sscanf(index, "[%d]", &n); err != nil {
		return index
	}
	return fmt.Sprintf("entry %d", n+1)
}
