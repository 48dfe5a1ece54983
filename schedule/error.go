package schedule

import "fmt"

// ExpressionError is the error for an expression that says nothing.
type ExpressionError struct {
	Expression string
	Reason     string
}

func (e *ExpressionError) Error() string {
	return fmt.Sprintf("schedule %q: %s", e.Expression, e.Reason)
}

// Remedy says what to do.
func (e *ExpressionError) Remedy() string {
	return `write five fields: minute, hour, day of month, month and day of week, like "0 0 * * *" for every ` +
		`midnight or "30 1 * * 1-5" for 01:30 from Monday to Friday; the zone is that of [backup] timezone`
}
