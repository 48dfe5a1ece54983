package config_test

import (
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/config"
)

func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		text      string
		want      time.Duration
		canonical string
	}{
		{"0", 0, "0s"},
		{"0s", 0, "0s"},
		{"2d", 2 * day, "2d"},
		{"1w", 7 * day, "7d"},
		{"1w2d3h4m5s", 9*day + 3*time.Hour + 4*time.Minute + 5*time.Second, "9d3h4m5s"},
		{"36h", 36 * time.Hour, "1d12h"},
		{"90m", 90 * time.Minute, "1h30m"},
		{"600s", 10 * time.Minute, "10m"},
		{"1h0m30s", time.Hour + 30*time.Second, "1h0m30s"},
		{"1.5h", 90 * time.Minute, "1h30m"},
		{"250ms", 250 * time.Millisecond, "250ms"},
		{"36525d", 36525 * day, "36525d"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got := duration(t, tt.text)
			if time.Duration(got) != tt.want || got.String() != tt.canonical {
				t.Errorf("%s is %v, %s; want %v, %s", tt.text, time.Duration(got), got, tt.want, tt.canonical)
			}
			if again := duration(t, got.String()); again != got {
				t.Errorf("%s reads as %s", got, again)
			}
		})
	}
}

func TestDurationFaults(t *testing.T) {
	for _, text := range []string{
		"", " ", "d", "2", "2 d", "-1h", "+1h", "1d2w", "1h1d", "2d-1h", "1h-1m", "1.5d", "2days", "36526d",
		"5217w7d", "99999999999999999999d", "99999999999999999999h", "2562047h", "1e3s",
	} {
		var d config.Duration
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q reads as %s", text, d)
		}
	}
}

func TestSize(t *testing.T) {
	tests := []struct {
		text      string
		want      int64
		canonical string
	}{
		{"0", 0, "0"},
		{"1", 1, "1"},
		{"512B", 512, "512"},
		{"1024", 1024, "1KiB"},
		{"1KB", 1000, "1000"},
		{"50MiB", 50 << 20, "50MiB"},
		{"50 MiB", 50 << 20, "50MiB"},
		{"1.5GiB", 3 << 29, "1536MiB"},
		{"2.5GB", 2_500_000_000, "2500000000"},
		{"0.001KiB", 1, "1"},
		{"3TB", 3_000_000_000_000, "2929687500KiB"},
		{"4TiB", 4 << 40, "4TiB"},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			var got, again config.Size
			if err := got.UnmarshalText([]byte(tt.text)); err != nil {
				t.Fatal(err)
			}
			if int64(got) != tt.want || got.String() != tt.canonical {
				t.Errorf("%s is %d, %s; want %d, %s", tt.text, int64(got), got, tt.want, tt.canonical)
			}
			if err := again.UnmarshalText([]byte(got.String())); err != nil || again != got {
				t.Errorf("%s reads as %s, %v", got, again, err)
			}
		})
	}
}

func TestSizeFaults(t *testing.T) {
	for _, text := range []string{
		"", "-1", "+1", "1,5MiB", "50M", "50Mbit", "50mib", "MiB", ".5MiB", "1.MiB", "1.2345MiB", "1e3",
		"9223372036854775807TiB", "99999999999999999999", "8388608TiB", "50MiB/s",
	} {
		var s config.Size
		if err := s.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q reads as %d", text, int64(s))
		}
	}
}
