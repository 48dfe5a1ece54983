package manifest

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// errEscape says that a string is not what Escape makes.
var errEscape = errors.New("bad percent escape")

const hexDigits = "0123456789ABCDEF"

// Escape makes valid UTF-8 without control bytes from any bytes: '%', bytes
// below 0x20, 0x7F and bytes that are no valid UTF-8 become %XX. Unescape
// returns the original.
func Escape(raw string) string {
	if !needsEscape(raw) {
		return raw
	}
	var out strings.Builder
	for i := 0; i < len(raw); {
		_, size := utf8.DecodeRuneInString(raw[i:])
		if size == 1 && escapes(raw[i]) {
			out.WriteByte('%')
			out.WriteByte(hexDigits[raw[i]>>4])
			out.WriteByte(hexDigits[raw[i]&15])
		} else {
			out.WriteString(raw[i : i+size])
		}
		i += size
	}
	return out.String()
}

// escapes tells for a byte that is no part of a longer rune.
func escapes(c byte) bool {
	return c == '%' || c < 0x20 || c >= 0x7f
}

func needsEscape(raw string) bool {
	for i := range len(raw) {
		if raw[i] < utf8.RuneSelf && escapes(raw[i]) {
			return true
		}
	}
	return !utf8.ValidString(raw)
}

// Unescape returns the bytes that Escape was given. Anything that Escape would
// not have made is an error, so each byte string has one escaped form.
func Unescape(s string) (string, error) {
	raw := s
	if strings.Contains(s, "%") {
		var out strings.Builder
		for rest := s; rest != ""; {
			before, after, found := strings.Cut(rest, "%")
			out.WriteString(before)
			if !found {
				break
			}
			if len(after) < 2 {
				return "", fmt.Errorf("%w in %q", errEscape, s)
			}
			high, low := strings.IndexByte(hexDigits, after[0]), strings.IndexByte(hexDigits, after[1])
			if high < 0 || low < 0 {
				return "", fmt.Errorf("%w in %q", errEscape, s)
			}
			out.WriteByte(byte(high<<4 | low)) //nolint:gosec // Both are below 16.
			rest = after[2:]
		}
		raw = out.String()
	}
	if Escape(raw) != s {
		return "", fmt.Errorf("%w in %q", errEscape, s)
	}
	return raw, nil
}
