package daemon

import (
	"hash/fnv"
	"time"

	"github.com/glusterbackupd/glusterbackupd/catalog"
	"github.com/glusterbackupd/glusterbackupd/copier"
)

// fullCompareDue reports whether a backup at now, with the last one at last, is
// to read every file. Time is cut into periods of length every, and the first
// backup of each does. The periods of different claims begin at different times,
// so that not all of them read everything in one night. Nothing has to be
// remembered for it.
func fullCompareDue(k catalog.Key, last, now time.Time, every time.Duration) bool {
	if every < time.Second {
		return false
	}
	period := int64(every / time.Second)
	h := fnv.New32a()
	_, _ = h.Write([]byte(k.String())) // It never fails.
	shift := int64(h.Sum32()) % period
	return (last.Unix()+shift)/period != (now.Unix()+shift)/period
}

// full reports whether a backup at now is to read everything and to trust nothing that
// the previous one has.
func (d *Daemon) full(previous catalog.Backup, now time.Time) bool {
	if d.o.Full || fullCompareDue(previous.Key, previous.Time, now, d.o.FullCompare) {
		return true
	}
	damaged, err := previous.FoundDamaged()
	if damaged || err != nil {
		d.log.Warn("the last backup was found damaged, everything is read", "claim", previous.Key.String(), "backup", previous.ID, "error", err)
	}
	return damaged || err != nil
}

// tellMissed logs what a full compare found that the quick one would not have.
// On a sharded volume that is known and nothing is ever taken as unchanged.
func (d *Daemon) tellMissed(t Target, f frozen, res copier.TreeResult) {
	if len(res.Missed) > 0 && !sharded(f.volume) {
		d.log.Warn("files changed without a change of inode, size or times; earlier backups of them are outdated, this one is right",
			"claim", t.Key.String(), "volume", t.Volume, "paths", res.Missed)
	}
}
