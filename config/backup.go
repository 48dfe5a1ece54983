package config

import (
	"strings"
	"time"
	_ "time/tzdata" // Time zones also where the machine has no zone files.

	"github.com/robfig/cron/v3"
)

// Backup says when and how backups run.
type Backup struct {
	// Schedule says when the daemon backs up, as a cron expression of five
	// fields: minute, hour, day of month, month, day of week. Commands that are
	// run by hand ignore it.
	Schedule string `toml:"schedule" example:"30 1 * * 1-5"`
	// Timezone is the IANA name of the zone in which the schedule and the hours,
	// days, weeks, months and years of the retention are meant.
	Timezone string `toml:"timezone" example:"Europe/Amsterdam"`
	// Parallel is how many runs work at the same time, 1 to 64. A run backs up
	// one Gluster volume.
	Parallel int `toml:"parallel" example:"4"`
	// ParallelPerHost is how many of these runs work at the same time on one
	// Gluster host, the first of their volume's hosts, 1 to 64.
	ParallelPerHost int `toml:"parallel_per_host" example:"1"`
	// ParallelSnapshots is how many snapshots are created, activated or deleted
	// at the same time, 1 to 64. Gluster works on one after the other in any
	// case; more than one only means that some wait inside Gluster.
	ParallelSnapshots int `toml:"parallel_snapshots" example:"2"`
	// Spread is the time over which the runs of one moment begin, so that a
	// hundred volumes do not start together. Each volume always has the same
	// place in it. With "0s" all begin at once.
	Spread Duration `toml:"spread" example:"30m"`
	// FirstBackup is the time within which a claim that has no backup gets its
	// first one, without waiting for the schedule. With "0s" it waits.
	FirstBackup Duration `toml:"first_backup" example:"1h"`
	// Timeout is how long one run may take before it is cancelled.
	Timeout Duration `toml:"timeout" example:"12h"`
	// Retries is how often a run is tried again after a temporary error, 0 to
	// 100.
	Retries int `toml:"retries" example:"0"`
	// Verify is the time after which the daemon reads the newest backup of each
	// claim again and compares it with its manifest. With "0s" it never does.
	Verify Duration `toml:"verify" example:"30d"`
}

func (b *Backup) setDefaults() {
	*b = Backup{
		Schedule:          "0 0 * * *",
		Timezone:          "UTC",
		Parallel:          2,
		ParallelPerHost:   2,
		ParallelSnapshots: 1,
		Spread:            Duration(5 * time.Minute),
		FirstBackup:       Duration(10 * time.Minute),
		Timeout:           Duration(4 * time.Hour),
		Retries:           6,
		Verify:            Duration(7 * day),
	}
}

func (b *Backup) validate(r *report) {
	validateSchedule(r, "backup.schedule", b.Schedule)
	// LoadLocation also takes "" and "Local", which mean something else on each machine.
	if _, err := time.LoadLocation(b.Timezone); err != nil || b.Timezone == "" || b.Timezone == "Local" {
		r.add("backup.timezone", `want an IANA time zone like "Europe/Amsterdam" or "UTC", not %q`, b.Timezone)
	}
	r.between("backup.parallel", b.Parallel, 1, 64)
	r.between("backup.parallel_per_host", b.ParallelPerHost, 1, 64)
	r.between("backup.parallel_snapshots", b.ParallelSnapshots, 1, 64)
	r.positive("backup.timeout", b.Timeout)
	r.between("backup.retries", b.Retries, 0, 100)
}

// validateSchedule checks a cron expression, also that it ever comes true.
func validateSchedule(r *report, key, expression string) {
	// The parser would take a zone in front of the fields.
	if strings.Contains(expression, "=") {
		r.add(key, "want five fields without a zone, which [backup] timezone sets, not %q", expression)
		return
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	schedule, err := parser.Parse(expression)
	if err != nil {
		r.add(key, `want a cron expression of five fields like "0 0 * * *": %v`, err)
		return
	}
	if schedule.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		r.add(key, "%q is a date that does not exist", expression)
	}
}

// Retention says which versions are kept. Each rule keeps the newest backup of
// as many periods as it says; a backup that any rule keeps stays.
type Retention struct {
	// Snapshots is how long the snapshot of a backup stays on Gluster. With "0s"
	// it is deleted when the backup ends.
	Snapshots Duration `toml:"snapshots" example:"12h"`
	// SafetySnapshots is how long the snapshot that is taken before a restore
	// stays on Gluster. With "0s" it is deleted when the restore ends, also when
	// that failed.
	SafetySnapshots Duration `toml:"safety_snapshots" example:"1w"`
	// Last is how many of the newest backups are kept whatever their age, 0 or
	// more.
	Last int `toml:"last" example:"5"`
	// Hourly is for how many hours one backup is kept, 0 or more.
	Hourly int `toml:"hourly" example:"24"`
	// Daily is for how many days one backup is kept, 0 or more.
	Daily int `toml:"daily" example:"14"`
	// Weekly is for how many weeks one backup is kept, 0 or more.
	Weekly int `toml:"weekly" example:"8"`
	// Monthly is for how many months one backup is kept, 0 or more.
	Monthly int `toml:"monthly" example:"12"`
	// Yearly is for how many years one backup is kept, 0 or more.
	Yearly int `toml:"yearly" example:"5"`
	// Minimum is how many backups of a claim stay at least, where the rules keep
	// fewer, 0 or more.
	Minimum int `toml:"minimum" example:"2"`
	// DeletedClaims is how long after its newest backup the backups of a claim
	// that no longer exists stay. With "0s" they stay for good. Protected ones
	// stay in any case.
	DeletedClaims Duration `toml:"deleted_claims" example:"1w"`
}

func (t *Retention) setDefaults() {
	*t = Retention{
		Snapshots:       Duration(2 * day),
		SafetySnapshots: Duration(2 * day),
		Last:            3,
		Hourly:          0,
		Daily:           7,
		Weekly:          4,
		Monthly:         6,
		Yearly:          0,
		Minimum:         1,
		DeletedClaims:   Duration(180 * day),
	}
}

func (t *Retention) validate(r *report) {
	const most = 100000
	r.between("retention.last", t.Last, 0, most)
	r.between("retention.hourly", t.Hourly, 0, most)
	r.between("retention.daily", t.Daily, 0, most)
	r.between("retention.weekly", t.Weekly, 0, most)
	r.between("retention.monthly", t.Monthly, 0, most)
	r.between("retention.yearly", t.Yearly, 0, most)
	r.between("retention.minimum", t.Minimum, 0, most)
	if t.Last == 0 && t.Hourly == 0 && t.Daily == 0 && t.Weekly == 0 && t.Monthly == 0 && t.Yearly == 0 {
		r.add("retention.last", "no rule keeps a backup: set last, hourly, daily, weekly, monthly or yearly above 0")
	}
}
