package daemon

import (
	"fmt"
	"testing"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
)

// TestFullCompareOncePerPeriod backs up many claims every night of three years.
func TestFullCompareOncePerPeriod(t *testing.T) {
	const day, nights = 24 * time.Hour, 1080
	perNight := make([]int, nights)
	for claim := range 100 {
		k := catalog.Key{Namespace: "shop", Claim: fmt.Sprint("claim-", claim)}
		last, since := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), 0
		for night := range nights {
			now := last.Add(day)
			since++
			if fullCompareDue(k, last, now, 30*day) {
				perNight[night]++
				since = 0
			}
			if since > 30 {
				t.Fatalf("%s: %d nights without a full compare", k, since)
			}
			last = now
		}
	}
	total := 0
	for night, n := range perNight {
		total += n
		if n > 15 {
			t.Errorf("night %d: %d of 100 claims are compared in full", night, n)
		}
	}
	if total != 100*nights/30 {
		t.Errorf("%d full compares, want %d", total, 100*nights/30)
	}
}

func TestFullCompareOff(t *testing.T) {
	k := catalog.Key{Namespace: "shop", Claim: "db"}
	if fullCompareDue(k, time.Unix(0, 0), time.Now(), 0) {
		t.Error("a full compare is due though none is wanted")
	}
}
