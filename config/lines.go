package config

import (
	"strconv"
	"strings"
)

// scanLines returns the line, counted from 1, on which each key and section of
// a TOML text first appears. Keys are written as join and element write them;
// an entry of an array of tables has its index.
//
// The parser in use keeps no position of the entries of an array of tables, so
// the text is read a second time. It must be valid TOML (v1.1); of other text
// some keys are missing in the result.
func scanLines(text string) map[string]int {
	s := &scanner{text: text, line: 1, lines: map[string]int{}, tables: map[string]int{}}
	var table string
	for s.skipBlank(); s.peek() != 0; s.skipBlank() {
		if s.peek() == '[' {
			table = s.header()
		} else {
			s.pair(table)
		}
	}
	return s.lines
}

// scanner walks over a TOML text byte by byte.
type scanner struct {
	text   string
	at     int
	line   int
	lines  map[string]int // the result
	tables map[string]int // how many entries an array of tables has so far
}

// peek returns the current byte, and 0 at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

// advance moves on by n bytes and counts the lines.
func (s *scanner) advance(n int) {
	end := min(s.at+n, len(s.text))
	s.line += strings.Count(s.text[s.at:end], "\n")
	s.at = end
}

// accept moves over the prefix when it is next.
func (s *scanner) accept(prefix string) bool {
	ok := strings.HasPrefix(s.text[s.at:], prefix)
	if ok {
		s.advance(len(prefix))
	}
	return ok
}

// skipUntil moves to the first of the bytes, or to the end.
func (s *scanner) skipUntil(stop string) {
	n := strings.IndexAny(s.text[s.at:], stop)
	if n < 0 {
		n = len(s.text)
	}
	s.advance(n)
}

// skipBlank moves over white space, commas, and comments. Where a comma may
// stand has been checked by the parser.
func (s *scanner) skipBlank() {
	for {
		switch s.peek() {
		case ' ', '\t', '\r', '\n', ',':
			s.advance(1)
		case '#':
			s.skipUntil("\n")
		default:
			return
		}
	}
}

// note remembers the line of a key that is new.
func (s *scanner) note(key string, line int) {
	if _, ok := s.lines[key]; !ok {
		s.lines[key] = line
	}
}

// header reads [table] or [[table]] and returns its key.
func (s *scanner) header() string {
	line := s.line
	s.advance(1)
	array := s.accept("[")
	names := s.names()
	var key string
	for i, name := range names {
		key = join(key, name)
		s.note(key, line)
		n, isArray := s.tables[key]
		switch {
		case array && i == len(names)-1:
			s.tables[key] = n + 1
			key = element(key, n)
			s.note(key, line)
		case isArray:
			key = element(key, n-1)
		}
	}
	s.accept("]")
	s.accept("]")
	return key
}

// pair reads one key = value below the table.
func (s *scanner) pair(table string) {
	line, key := s.line, table
	for _, name := range s.names() {
		key = join(key, name)
		s.note(key, line)
	}
	s.accept("=")
	s.value(key)
}

// names reads a dotted key. It always moves on, so that the walk ends whatever
// the text.
func (s *scanner) names() []string {
	var names []string
	for {
		s.skipBlank()
		names = append(names, s.name())
		s.skipBlank()
		if !s.accept(".") {
			return names
		}
	}
}

// name reads one part of a key, bare or quoted.
func (s *scanner) name() string {
	start := s.at
	switch s.peek() {
	case '"':
		s.quoted()
		if name, err := strconv.Unquote(s.text[start:s.at]); err == nil {
			return name
		}
	case '\'':
		s.quoted()
		return strings.Trim(s.text[start:s.at], "'")
	default:
		s.skipUntil(" \t\r\n.=]#\"'")
		if s.at == start {
			s.advance(1)
		}
	}
	return s.text[start:s.at]
}

// value reads the value of the key, and notes the keys inside of it.
func (s *scanner) value(key string) {
	s.skipBlank()
	switch s.peek() {
	case '"', '\'':
		s.quoted()
	case '[':
		s.advance(1)
		for i := 0; s.inside(']'); i++ {
			s.note(element(key, i), s.line)
			s.value(element(key, i))
		}
	case '{':
		s.advance(1)
		for s.inside('}') {
			s.pair(key)
		}
	default:
		start := s.at
		s.skipUntil(",]}#\n")
		if s.at == start {
			s.advance(1)
		}
	}
}

// inside moves to the next entry of a list or an inline table. At the end of
// it, or of the text, it moves over the end and returns false.
func (s *scanner) inside(end byte) bool {
	s.skipBlank()
	if next := s.peek(); next != end && next != 0 {
		return true
	}
	s.advance(1)
	return false
}

// quoted moves over a string of any of the four kinds.
func (s *scanner) quoted() {
	quote := s.text[s.at : s.at+1]
	long := strings.Repeat(quote, 3)
	end := quote
	if strings.HasPrefix(s.text[s.at:], long) {
		end = long
	}
	s.advance(len(end))
	for s.peek() != 0 && !s.accept(end) {
		if s.peek() == '\\' && quote == `"` {
			s.advance(1)
		}
		s.advance(1)
	}
	// A multi-line string may end with up to two quotes of its own.
	for i := 0; i < 2 && len(end) == 3 && s.accept(quote); i++ {
		continue
	}
}
