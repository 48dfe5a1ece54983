package schedule_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/schedule"
)

var _ gocron.Cron = schedule.Cron{}

// fired runs a scheduler from one time to another and returns when its jobs
// fired. The clock in the bubble begins at the start of 2000.
func fired(t *testing.T, s schedule.Schedule, from, to time.Time) []time.Time {
	t.Helper()
	time.Sleep(time.Until(from))
	scheduler, err := gocron.NewScheduler(gocron.WithLocation(time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	times := make(chan time.Time, 10000)
	cron := schedule.Cron{Schedule: s}
	for range 2 { // One value serves several jobs.
		if _, err := scheduler.NewJob(gocron.CronJob(s.String(), false), gocron.NewTask(func() { times <- time.Now() }),
			gocron.WithCronImplementation(cron)); err != nil {
			t.Fatal(err)
		}
	}
	scheduler.Start()
	time.Sleep(time.Until(to))
	synctest.Wait()
	if err := scheduler.Shutdown(); err != nil {
		t.Fatal(err)
	}
	close(times)
	var all []time.Time
	for at := range times {
		all = append(all, at.Round(0).UTC())
	}
	slices.SortFunc(all, time.Time.Compare)
	return all
}

// TestGocronFiresAtSlots lets gocron work through the days on which clocks are
// changed, forward and back.
func TestGocronFiresAtSlots(t *testing.T) {
	spans := map[string][][2]string{
		"Europe/Amsterdam":    {{"2000-03-25T00:00:30Z", "2000-03-27T12:00:30Z"}, {"2000-10-28T00:00:30Z", "2000-10-30T12:00:30Z"}},
		"America/New_York":    {{"2000-04-01T00:00:30Z", "2000-04-03T12:00:30Z"}, {"2000-10-28T00:00:30Z", "2000-10-30T12:00:30Z"}},
		"Australia/Lord_Howe": {{"2000-03-25T00:00:30Z", "2000-03-27T12:00:30Z"}, {"2000-08-26T00:00:00Z", "2000-08-28T12:00:30Z"}},
		"UTC":                 {{"2000-03-25T00:00:00Z", "2000-03-27T12:00:30Z"}},
	}
	for name, span := range spans {
		place := zone(t, name)
		for _, expression := range []string{"30 2 * * *", "30 1 * * *", "0 * * * *", "*/15 * * * *", "0 0-23 * * *", "15,45 1-3 * * *"} {
			for _, ends := range span {
				synctest.Test(t, func(t *testing.T) {
					s := parse(t, expression, place)
					from, to := at(t, ends[0]), at(t, ends[1])
					var want []time.Time
					for slot := s.Next(from); !slot.After(to); slot = s.Next(slot) {
						want = append(want, slot.UTC(), slot.UTC())
					}
					if len(want) == 0 {
						t.Fatal("no slot to wait for")
					}
					if diff := cmp.Diff(want, fired(t, s, from, to)); diff != "" {
						t.Errorf("%s in %s: slots -, fired +:\n%s", expression, name, diff)
					}
				})
			}
		}
	}
}

func TestCronRefusesMisuse(t *testing.T) {
	amsterdam := zone(t, "Europe/Amsterdam")
	s := parse(t, "0 0 * * *", amsterdam)
	tests := map[string]struct {
		location *time.Location
		crontab  string
		schedule schedule.Schedule
		ok       bool
	}{
		"right":              {time.UTC, "0 0 * * *", s, true},
		"another expression": {time.UTC, "0 1 * * *", s, false},
		"location":           {amsterdam, "0 0 * * *", s, false},
		"no schedule":        {time.UTC, "", schedule.Schedule{}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			scheduler, err := gocron.NewScheduler(gocron.WithLocation(tt.location))
			if err != nil {
				t.Fatal(err)
			}
			_, err = scheduler.NewJob(gocron.CronJob(tt.crontab, false), gocron.NewTask(func() {}),
				gocron.WithCronImplementation(schedule.Cron{Schedule: tt.schedule}))
			if (err == nil) != tt.ok {
				t.Error(err)
			}
			if err := scheduler.Shutdown(); err != nil {
				t.Error(err)
			}
		})
	}
	if err := (schedule.Cron{Schedule: s}).IsValid("0 0 * * *", nil, time.Now()); err == nil {
		t.Error("no location is fine")
	}
}
