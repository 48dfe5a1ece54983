package schedule

import (
	"fmt"
	"time"
)

// Cron lets a job of gocron (github.com/go-co-op/gocron/v2) fire exactly at the
// slots of a schedule. It is gocron's interface Cron; it holds no state, so one
// value may serve any number of jobs:
//
//	scheduler, err := gocron.NewScheduler(gocron.WithLocation(time.UTC))
//	…
//	_, err = scheduler.NewJob(gocron.CronJob(s.String(), false), task,
//		gocron.WithCronImplementation(schedule.Cron{Schedule: s}))
//
// The scheduler's location must be UTC, whatever the zone of the schedule.
// gocron takes two runs with the same date and time of day for one that a
// changed clock repeats, and drops the second: in another location it would
// drop the slots of the repeated hour, and more.
type Cron struct {
	Schedule Schedule
}

// IsValid checks that the job has the expression of the schedule, and the
// scheduler the location that is needed.
func (c Cron) IsValid(crontab string, location *time.Location, _ time.Time) error {
	if crontab != c.Schedule.String() || crontab == "" {
		return fmt.Errorf("the job is for %q, its schedule is %q", crontab, c.Schedule)
	}
	if location == nil || location.String() != time.UTC.String() {
		return fmt.Errorf("schedule %q: the scheduler works in %v, not in UTC", crontab, location)
	}
	return nil
}

// Next returns the first slot after the last run, in UTC.
func (c Cron) Next(lastRun time.Time) time.Time {
	return c.Schedule.Next(lastRun).UTC()
}
