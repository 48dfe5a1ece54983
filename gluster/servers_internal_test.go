package gluster

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// TestPreferReachable has servers that answer at once, refuse at once, and lose
// every packet.
func TestPreferReachable(t *testing.T) {
	dial := func(ctx context.Context, server string) error {
		switch server[0] {
		case 'u': // Up.
			return nil
		case 'r':
			return errors.New("refused")
		}
		<-ctx.Done()
		return ctx.Err()
	}
	tests := map[string]struct {
		servers, want []string
		took          time.Duration
	}{
		"one, not asked":      {[]string{"lost"}, []string{"lost"}, 0},
		"first is up":         {[]string{"up1", "lost"}, []string{"up1", "lost"}, 0},
		"first refuses":       {[]string{"refuses", "up1", "up2"}, []string{"up1", "up2", "refuses"}, 0},
		"first is lost":       {[]string{"lost", "up1"}, []string{"up1", "lost"}, serverTimeout},
		"only the last is up": {[]string{"refuses", "lost", "up"}, []string{"up", "refuses", "lost"}, serverTimeout},
		"none":                {[]string{"lost", "refuses"}, []string{"lost", "refuses"}, serverTimeout},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, given := time.Now(), slices.Clone(tt.servers)
				if got := preferReachable(t.Context(), tt.servers, dial); !slices.Equal(got, tt.want) {
					t.Errorf("%q, want %q", got, tt.want)
				}
				if took := time.Since(start); took != tt.took || !slices.Equal(given, tt.servers) {
					t.Errorf("took %s, want %s; servers are now %q", took, tt.took, tt.servers)
				}
			})
		})
	}
}
