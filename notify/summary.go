package notify

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what is sent. Chat systems cut long texts, and a cluster whose
// Gluster is down fails for every claim with the same words.
const (
	maxText     = 20  // Failures in the text for people.
	maxDocument = 500 // Failures in the JSON document.
	maxError    = 500 // Bytes of one error.
)

// Version is the version of the webhook's document. It rises when a field
// changes its meaning or goes away, not when one is added.
const Version = 1

// Summary is how one slot of the schedule went.
type Summary struct {
	// Slot is the time at which the schedule was due.
	Slot              time.Time
	Started, Finished time.Time
	// Host is where the daemon runs.
	Host    string
	Results Results
	// Failed are the failed claims, in the order in which they are to be
	// shown.
	Failed []Failure
}

// Results counts the claims of a slot.
type Results struct {
	Done      int `json:"done"`
	Failed    int `json:"failed"`
	Excluded  int `json:"excluded"`
	Uncovered int `json:"uncovered"`
}

// Failure is a claim whose run failed. Error must not hold secrets.
type Failure struct {
	Claim  string `json:"claim"` // NAMESPACE/CLAIM.
	Volume string `json:"volume"`
	Error  string `json:"error"`
}

// OK says whether nothing failed. A claim that is excluded or not covered is no
// failure of a slot.
func (s Summary) OK() bool { return s.Results.Failed == 0 && len(s.Failed) == 0 }

// Text is the summary for people: one line of counts, and one for each failed
// claim.
func (s Summary) Text() string {
	var b strings.Builder
	verdict := "ok"
	if !s.OK() {
		verdict = "FAILED"
	}
	r := s.Results
	fmt.Fprintf(&b, "glusterbackupd on %s, slot %s: %s. %d done, %d failed, %d excluded, %d not covered, in %s.\n",
		s.Host, s.Slot.UTC().Format(time.RFC3339), verdict, r.Done, r.Failed, r.Excluded, r.Uncovered,
		s.Finished.Sub(s.Started).Round(time.Second))
	for _, f := range s.Failed[:min(len(s.Failed), maxText)] {
		fmt.Fprintf(&b, "%s (%s): %s\n", f.Claim, f.Volume, line(f.Error))
	}
	if more := len(s.Failed) - maxText; more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	return b.String()
}

// line makes one line of an error, and a short one.
func line(text string) string { return cut(strings.Join(strings.Fields(text), " ")) }

func cut(text string) string {
	if len(text) <= maxError {
		return text
	}
	text = text[:maxError]
	for !utf8.ValidString(text) && text != "" { // A rune may be cut in two.
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text + "…"
}

// document is what the webhook gets; docs/monitoring/README.md describes it.
func (s Summary) document() ([]byte, error) {
	failed := make([]Failure, 0, min(len(s.Failed), maxDocument)) // [] and not null without any.
	for _, f := range s.Failed[:cap(failed)] {
		f.Error = cut(f.Error)
		failed = append(failed, f)
	}
	return json.Marshal(struct {
		Version  int       `json:"version"`
		OK       bool      `json:"ok"`
		Text     string    `json:"text"`
		Host     string    `json:"host"`
		Slot     time.Time `json:"slot"`
		Started  time.Time `json:"started"`
		Finished time.Time `json:"finished"`
		Results  Results   `json:"results"`
		Failed   []Failure `json:"failed"`
		Omitted  int       `json:"omitted"`
	}{
		Version, s.OK(), s.Text(), s.Host, s.Slot.UTC(), s.Started.UTC(), s.Finished.UTC(),
		s.Results, failed, len(s.Failed) - len(failed),
	})
}
