package schedule_test

import (
	"fmt"
	"time"

	"github.com/glusterbackupd/glusterbackupd/schedule"
)

func Example() {
	amsterdam, err := time.LoadLocation("Europe/Amsterdam")
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := schedule.Parse("30 2 * * *", amsterdam)
	if err != nil {
		fmt.Println(err)
		return
	}
	now := time.Date(2018, 3, 24, 12, 0, 0, 0, amsterdam)
	for range 3 { // On the 25th the clock jumps from 02:00 to 03:00.
		now = s.Next(now)
		fmt.Println(now)
	}
	// Output:
	// 2018-03-25 03:00:00 +0200 CEST
	// 2018-03-26 02:30:00 +0200 CEST
	// 2018-03-27 02:30:00 +0200 CEST
}

func ExampleSchedule_Due() {
	s, err := schedule.Parse("0 0 * * *", time.UTC)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The daemon was down for three nights.
	last := schedule.Record{
		Started:  time.Date(2018, 12, 2, 0, 0, 20, 0, time.UTC),
		Finished: time.Date(2018, 12, 2, 0, 9, 0, 0, time.UTC),
	}
	now := time.Date(2018, 12, 5, 8, 0, 0, 0, time.UTC)
	slot, due := s.Due(last, time.Time{}, now)
	fmt.Println(slot.Format(time.DateTime), due)
	slot, due = s.Due(last, slot, now.Add(time.Minute))
	fmt.Println(slot.IsZero(), due)
	// Output:
	// 2018-12-05 00:00:00 true
	// true false
}
