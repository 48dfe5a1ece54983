package retention_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // The zones of the tests, also where the machine has none.

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/retention"
)

// items makes backups out of times in RFC 3339; an exclamation mark behind a
// time protects the backup. The ID is the time in UTC.
func items(t *testing.T, times ...string) []retention.Item {
	t.Helper()
	var list []retention.Item
	for _, text := range times {
		text, protected := strings.CutSuffix(text, "!")
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, retention.Item{ID: at.UTC().Format("20060102T150405Z"), Time: at, Protected: protected})
	}
	return list
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	l, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// lines writes decisions as text: "+" keeps, "-" removes.
func lines(list []retention.Decision) []string {
	var all []string
	for _, d := range list {
		sign := "-"
		if d.Keep {
			sign = "+"
		}
		all = append(all, sign+" "+d.ID+" "+strings.Join(d.Reasons, "; "))
	}
	return all
}

var never = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func TestPlan(t *testing.T) {
	tests := map[string]struct {
		policy  retention.Policy
		zone    string
		backups []string
		want    []string
	}{
		"nothing there": {policy: retention.Policy{Last: 1}},
		"last": {
			policy:  retention.Policy{Last: 2},
			backups: []string{"2018-12-02T00:00:00Z", "2018-12-04T00:00:00Z", "2018-12-03T00:00:00Z"},
			want: []string{
				"- 20181202T000000Z not among the last 2",
				"+ 20181203T000000Z last 2: 2nd",
				"+ 20181204T000000Z last 2: 1st",
			},
		},
		"newest of a day": {
			policy:  retention.Policy{Daily: 1},
			backups: []string{"2018-12-01T23:59:59Z", "2018-12-02T00:00:00Z", "2018-12-02T23:59:59Z"},
			want: []string{
				"- 20181201T235959Z daily 1 reaches back to 2018-12-02",
				"- 20181202T000000Z daily 2018-12-02 keeps 20181202T235959Z",
				"+ 20181202T235959Z daily 2018-12-02",
			},
		},
		"days without a backup do not count": {
			policy:  retention.Policy{Daily: 2},
			backups: []string{"2017-01-01T00:00:00Z", "2018-01-01T00:00:00Z"},
			want:    []string{"+ 20170101T000000Z daily 2017-01-01", "+ 20180101T000000Z daily 2018-01-01"},
		},
		"all reasons": {
			policy:  retention.Policy{Last: 1, Hourly: 1, Daily: 1, Weekly: 1, Monthly: 1, Yearly: 1, Minimum: 1},
			backups: []string{"2018-12-02T03:04:05Z!"},
			want: []string{"+ 20181202T030405Z last 1: 1st; hourly 2018-12-02 03:00+00:00; daily 2018-12-02; " +
				"weekly 2018-W48; monthly 2018-12; yearly 2018; protected"},
		},
		"all objections": {
			policy:  retention.Policy{Last: 1, Hourly: 1, Weekly: 1, Yearly: 1},
			backups: []string{"2018-12-02T03:04:05Z", "2018-12-03T03:04:05Z"},
			want: []string{
				"- 20181202T030405Z not among the last 1; hourly 1 reaches back to 2018-12-03 03:00+00:00; " +
					"weekly 1 reaches back to 2018-W49; yearly 2018 keeps 20181203T030405Z",
				"+ 20181203T030405Z last 1: 1st; hourly 2018-12-03 03:00+00:00; weekly 2018-W49; yearly 2018",
			},
		},
		"protected": {
			policy:  retention.Policy{Last: 1},
			backups: []string{"2018-12-01T00:00:00Z!", "2018-12-02T00:00:00Z", "2018-12-03T00:00:00Z"},
			want: []string{
				"+ 20181201T000000Z protected",
				"- 20181202T000000Z not among the last 1",
				"+ 20181203T000000Z last 1: 1st",
			},
		},
		"minimum": {
			policy:  retention.Policy{Yearly: 5, Minimum: 2},
			backups: []string{"2018-12-01T00:00:00Z", "2018-12-02T00:00:00Z", "2018-12-03T00:00:00Z"},
			want: []string{
				"- 20181201T000000Z yearly 2018 keeps 20181203T000000Z",
				"+ 20181202T000000Z minimum 2",
				"+ 20181203T000000Z yearly 2018",
			},
		},
		"no rule": {
			policy:  retention.Policy{Minimum: 1},
			backups: []string{"2018-12-01T00:00:00Z", "2018-12-02T00:00:00Z"},
			want:    []string{"+ 20181201T000000Z the policy has no rule", "+ 20181202T000000Z the policy has no rule"},
		},
		"negative numbers are no rule": {
			policy:  retention.Policy{Last: -1, Hourly: -1, Daily: -1, Weekly: -1, Monthly: -1, Yearly: -1, Minimum: -1},
			backups: []string{"2018-12-01T00:00:00Z"},
			want:    []string{"+ 20181201T000000Z the policy has no rule"},
		},
		"later than now": {
			policy:  retention.Policy{Last: 1},
			backups: []string{"2018-12-01T00:00:00Z", "2018-12-02T00:00:00Z", "2101-01-01T00:00:00Z"},
			want: []string{
				"- 20181201T000000Z not among the last 1",
				"+ 20181202T000000Z last 1: 1st",
				"+ 21010101T000000Z later than now",
			},
		},
		"the hour that comes twice": {
			policy: retention.Policy{Hourly: 2}, zone: "Europe/Amsterdam",
			backups: []string{"2018-10-28T00:10:00Z", "2018-10-28T00:50:00Z", "2018-10-28T01:10:00Z"},
			want: []string{
				"- 20181028T001000Z hourly 2018-10-28 02:00+02:00 keeps 20181028T005000Z",
				"+ 20181028T005000Z hourly 2018-10-28 02:00+02:00",
				"+ 20181028T011000Z hourly 2018-10-28 02:00+01:00",
			},
		},
		"a day of 25 hours": {
			policy: retention.Policy{Daily: 9}, zone: "Europe/Amsterdam",
			backups: []string{"2018-10-27T21:59:59Z", "2018-10-27T22:00:00Z", "2018-10-28T22:59:59Z", "2018-10-28T23:00:00Z"},
			want: []string{
				"+ 20181027T215959Z daily 2018-10-27",
				"- 20181027T220000Z daily 2018-10-28 keeps 20181028T225959Z",
				"+ 20181028T225959Z daily 2018-10-28",
				"+ 20181028T230000Z daily 2018-10-29",
			},
		},
		"a day of 23 hours": {
			policy: retention.Policy{Daily: 9}, zone: "America/New_York",
			backups: []string{"2018-03-11T04:59:59Z", "2018-03-11T05:00:00Z", "2018-03-12T03:59:59Z", "2018-03-12T04:00:00Z"},
			want: []string{
				"+ 20180311T045959Z daily 2018-03-10",
				"- 20180311T050000Z daily 2018-03-11 keeps 20180312T035959Z",
				"+ 20180312T035959Z daily 2018-03-11",
				"+ 20180312T040000Z daily 2018-03-12",
			},
		},
		"New York in autumn": {
			policy: retention.Policy{Hourly: 1, Daily: 1}, zone: "America/New_York",
			backups: []string{"2018-11-04T05:30:00Z", "2018-11-04T06:30:00Z"},
			want: []string{
				"- 20181104T053000Z hourly 1 reaches back to 2018-11-04 01:00-05:00; daily 2018-11-04 keeps 20181104T063000Z",
				"+ 20181104T063000Z hourly 2018-11-04 01:00-05:00; daily 2018-11-04",
			},
		},
		"a day that comes twice": { // At 00:01 the clock went back to 23:01.
			policy: retention.Policy{Daily: 9}, zone: "America/St_Johns",
			backups: []string{"2010-11-07T02:30:30Z", "2010-11-07T03:00:00Z", "2010-11-07T04:00:00Z"},
			want: []string{
				"- 20101107T023030Z daily 2010-11-07 keeps 20101107T040000Z",
				"+ 20101107T030000Z daily 2010-11-06",
				"+ 20101107T040000Z daily 2010-11-07",
			},
		},
		"the year ends earlier in the east": {
			policy: retention.Policy{Monthly: 9, Yearly: 9}, zone: "Europe/Amsterdam",
			backups: []string{"2018-12-31T22:59:59Z", "2018-12-31T23:00:00Z"},
			want: []string{
				"+ 20181231T225959Z monthly 2018-12; yearly 2018",
				"+ 20181231T230000Z monthly 2019-01; yearly 2019",
			},
		},
		"week 53 goes on in the new year": {
			policy:  retention.Policy{Weekly: 9},
			backups: []string{"2020-12-27T00:00:00Z", "2020-12-28T00:00:00Z", "2021-01-03T23:59:59Z", "2021-01-04T00:00:00Z"},
			want: []string{
				"+ 20201227T000000Z weekly 2020-W52",
				"- 20201228T000000Z weekly 2020-W53 keeps 20210103T235959Z",
				"+ 20210103T235959Z weekly 2020-W53",
				"+ 20210104T000000Z weekly 2021-W01",
			},
		},
		"week 1 begins in the old year": {
			policy:  retention.Policy{Weekly: 1},
			backups: []string{"2018-12-31T00:00:00Z", "2019-01-06T00:00:00Z"},
			want: []string{
				"- 20181231T000000Z weekly 2019-W01 keeps 20190106T000000Z",
				"+ 20190106T000000Z weekly 2019-W01",
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if tt.zone != "" {
				tt.policy.Location = zone(t, tt.zone)
			}
			got := lines(retention.Plan(items(t, tt.backups...), tt.policy, never))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestPlanIsDeterministic(t *testing.T) {
	same := time.Date(2018, 12, 2, 0, 0, 0, 0, time.UTC)
	list := []retention.Item{{ID: "b", Time: same}, {ID: "c", Time: same}, {ID: "a", Time: same}}
	given := slices.Clone(list)
	want := []string{"- a not among the last 1", "- b not among the last 1", "+ c last 1: 1st"}
	if diff := cmp.Diff(want, lines(retention.Plan(list, retention.Policy{Last: 1}, same))); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if !slices.Equal(list, given) {
		t.Errorf("the input was changed: %v", list)
	}
}

func TestOrdinals(t *testing.T) {
	var list []retention.Item
	for n := range 123 {
		list = append(list, retention.Item{Time: never.AddDate(0, 0, -n)})
	}
	plan := retention.Plan(list, retention.Policy{Last: 123}, never)
	for n, want := range map[int]string{1: "1st", 2: "2nd", 3: "3rd", 4: "4th", 11: "11th", 12: "12th", 13: "13th", 21: "21st", 111: "111th", 122: "122nd", 123: "123rd"} {
		if got := plan[123-n].Reasons[0]; got != "last 123: "+want {
			t.Errorf("%d: %q", n, got)
		}
	}
}

func TestCheckClock(t *testing.T) {
	list := items(t, "2018-12-03T00:00:00Z", "2018-12-01T00:00:00Z")
	now := list[0].Time
	for _, ok := range []error{
		retention.CheckClock(nil, now), retention.CheckClock(list, now), retention.CheckClock(list, now.AddDate(5, 0, 0)),
	} {
		if ok != nil {
			t.Error(ok)
		}
	}
	err := retention.CheckClock(list, now.Add(-time.Second))
	var clock *retention.ClockError
	if !errors.Is(err, retention.ErrClock) || !errors.As(err, &clock) || clock.Newest != list[0] {
		t.Fatalf("error %v", err)
	}
	if !strings.Contains(clock.Remedy(), "20181203T000000Z") || !strings.Contains(clock.Error(), "2018-12-02T23:59:59Z") {
		t.Errorf("%v; %s", clock, clock.Remedy())
	}
}
