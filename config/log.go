package config

// Format is the form of log lines.
type Format string

const (
	// FormatText writes key=value pairs.
	FormatText Format = "text"
	// FormatJSON writes one JSON object per line.
	FormatJSON Format = "json"
)

// Level is the least important kind of log line that is written.
type Level string

// The levels are those of log/slog.
const (
	LevelDebug Level = "debug"
	LevelInfo  Level = "info"
	LevelWarn  Level = "warn"
	LevelError Level = "error"
)

// Log says what is logged on the standard error output.
type Log struct {
	// Level is "debug", "info", "warn" or "error": lines below it are left out.
	Level Level `toml:"level" example:"debug"`
	// Format is "text" or "json".
	Format Format `toml:"format" example:"json"`
}

func (l *Log) setDefaults() {
	*l = Log{Level: LevelInfo, Format: FormatText}
}

func (l *Log) validate(r *report) {
	switch l.Level {
	case LevelDebug, LevelInfo, LevelWarn, LevelError:
	default:
		r.add("log.level", `want "debug", "info", "warn" or "error", not %q`, string(l.Level))
	}
	switch l.Format {
	case FormatText, FormatJSON:
	default:
		r.add("log.format", `want "text" or "json", not %q`, string(l.Format))
	}
}
