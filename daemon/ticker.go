package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/glusterbackupd/glusterbackupd/schedule"
)

// slotPassed says that a slot of a schedule has come.
type slotPassed struct {
	schedule schedule.Schedule
	slot     time.Time
}

// ticker tells the service of each slot of each schedule, by gocron. What is
// due is decided from the BackupDisk and the clock alone: a tick that is lost,
// early or late changes nothing but when the decision is made.
type ticker struct {
	cron  gocron.Scheduler
	slots chan<- slotPassed
	jobs  map[schedule.Schedule]gocron.Job
	log   *slog.Logger
}

func newTicker(ctx context.Context, slots chan<- slotPassed, log *slog.Logger) (*ticker, error) {
	cron, err := gocron.NewScheduler(gocron.WithLocation(time.UTC), gocron.WithStopTimeout(time.Second))
	if err != nil {
		return nil, fmt.Errorf("gocron: %w", err)
	}
	cron.Start()
	return &ticker{cron: cron, slots: slots, jobs: map[schedule.Schedule]gocron.Job{}, log: log}, ctx.Err()
}

// watch makes these the schedules whose slots are told.
func (t *ticker) watch(ctx context.Context, schedules []schedule.Schedule) {
	used := map[schedule.Schedule]bool{}
	for _, s := range schedules {
		used[s] = true
		if t.jobs[s] != nil {
			continue
		}
		job, err := t.cron.NewJob(gocron.CronJob(s.String(), false), gocron.NewTask(func() {
			select {
			case t.slots <- slotPassed{s, s.Last(time.Now())}:
			case <-ctx.Done():
			}
		}), gocron.WithCronImplementation(schedule.Cron{Schedule: s}))
		if err != nil {
			t.log.Error("slots of a schedule are not told", "schedule", s.String(), "error", err)
			continue
		}
		t.jobs[s] = job
	}
	for s, job := range t.jobs {
		if used[s] {
			continue
		}
		if err := t.cron.RemoveJob(job.ID()); err != nil {
			t.log.Error("schedule is still told", "schedule", s.String(), "error", err)
		}
		delete(t.jobs, s)
	}
}

func (t *ticker) stop() {
	if err := t.cron.Shutdown(); err != nil {
		t.log.Warn("schedule did not stop in time", "error", err)
	}
}
