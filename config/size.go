package config

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
)

// Size is a number of bytes, zero or more. In the file it is an integer, or a
// string like "50MiB" (1024 based) or "50MB" (1000 based).
type Size int64

var (
	sizeForm = regexp.MustCompile(`^([0-9]+)(?:\.([0-9]{1,3}))? ?([KMGT]i?B|B)?$`)
	errSize  = errors.New(`want a number of bytes like "0", "50MiB" or "1.5GB"`)
)

// UnmarshalText reads the form of the file.
func (s *Size) UnmarshalText(text []byte) error {
	parts := sizeForm.FindStringSubmatch(string(text))
	if parts == nil {
		return errSize
	}
	factor := unitFactor(parts[3])
	whole, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || whole > math.MaxInt64/factor-1 {
		return errSize
	}
	// At most three decimals, so that the value is exact to the byte.
	thousandths, err := strconv.ParseInt((parts[2] + "000")[:3], 10, 64)
	if err != nil {
		return errSize
	}
	*s = Size(whole*factor + thousandths*(factor/1000) + thousandths*(factor%1000)/1000)
	return nil
}

// unitFactor returns the bytes of one unit, which sizeForm has checked.
func unitFactor(unit string) int64 {
	base := int64(1000)
	if strings.Contains(unit, "i") {
		base = 1024
	}
	factor := int64(1)
	for range strings.Index("BKMGT", (unit + "B")[:1]) {
		factor *= base
	}
	return factor
}

// MarshalText returns the form of the file.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String returns the value in the largest 1024 based unit that has no rest.
func (s Size) String() string {
	units := []string{"", "KiB", "MiB", "GiB", "TiB"}
	n, i := int64(s), 0
	for n != 0 && n%1024 == 0 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	return strconv.FormatInt(n, 10) + units[i]
}
