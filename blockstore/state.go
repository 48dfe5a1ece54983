package blockstore

import (
	"maps"
	"slices"
	"strings"
)

// A State says whether the data of an image are settled. It says nothing of
// the health of the hosts that export it.
type State string

const (
	// StateReady is an image that was created and is exported by as many
	// hosts as HA asks for. Changes of authentication, and a node that was
	// replaced, leave it ready.
	StateReady State = "ready"
	// StateCreating is a create that runs, or was killed. The image may have
	// its full size and never have been used.
	StateCreating State = "creating"
	// StateDeleting is a delete that runs, was killed, or could not reach a
	// host. 'gluster-block info' shows such an image as healthy.
	StateDeleting State = "deleting"
	// StateResizing is a resize that has not reached every host. The image
	// has its new size already when the journal does.
	StateResizing State = "resizing"
	// StateReplacing is a node replacement that has left fewer hosts than HA
	// asks for.
	StateReplacing State = "replacing"
	// StateFailed is a create that failed and was not rolled back.
	StateFailed State = "failed"
	// StateUnknown is a status that this version does not know.
	StateUnknown State = "unknown"
)

// Readable says whether the image holds a user's data that are worth a
// backup. What is not readable must not be restored from.
func (s State) Readable() bool {
	switch s {
	case StateReady, StateResizing, StateReplacing, StateUnknown:
		return true
	case StateCreating, StateDeleting, StateFailed:
	}
	return false
}

// Writable says whether the image may be restored onto: no command can be
// about to change or delete it. A pending resize has already changed the image
// itself, so it is no obstacle.
func (s State) Writable() bool { return s == StateReady || s == StateResizing }

// A phase is what a host's status means here.
type phase int

const (
	phaseUnknown     phase = iota
	phaseConfiguring       // CONFIGINPROGRESS
	phaseFailed            // CONFIGFAIL
	phaseExported          // CONFIGSUCCESS, AUTH*, RSSUCCESS
	phaseReplaced          // RP*: exported, and took part in a node replacement
	phaseResizing          // RSINPROGRESS, RSFAIL: exported with the old size
	phaseCleaning          // CLEANUPINPROGRESS, CLEANUPFAIL
	phaseCleaned           // CLEANUPSUCCESS
)

// phaseOf translates a status (gluster/gluster-block utils/utils.h
// MetaStatusLookup). Those of a resize end in "-<size>".
func phaseOf(status string) phase {
	word, _, _ := strings.Cut(status, "-")
	switch word {
	case "CONFIGINPROGRESS":
		return phaseConfiguring
	case "CONFIGFAIL":
		return phaseFailed
	case "CONFIGSUCCESS", "RSSUCCESS",
		"AUTHENFORCEING", "AUTHENFORCED", "AUTHENFORCEFAIL",
		"AUTHCLEARENFORCEING", "AUTHCLEARENFORCED", "AUTHCLEARENFORCEFAIL":
		return phaseExported
	case "RPINPROGRESS", "RPSUCCESS", "RPFAIL":
		return phaseReplaced
	case "RSINPROGRESS", "RSFAIL":
		return phaseResizing
	case "CLEANUPINPROGRESS", "CLEANUPFAIL":
		return phaseCleaning
	case "CLEANUPSUCCESS":
		return phaseCleaned
	}
	return phaseUnknown
}

// State derives the state from the complete lines; see also Torn.
//
// A cleaned-up host alone does not mean a delete: replacing a node cleans up
// the old one, and for ever leaves CLEANUPINPROGRESS there when it is dead.
// What tells them apart is that after a replacement HA other hosts export the
// image.
func (j Journal) State() State {
	switch {
	case j.entryDelete != "":
		return StateDeleting
	case j.entryCreate == "FAIL":
		return StateFailed
	case j.entryCreate != "SUCCESS" || j.GBID == "" || j.Size == 0:
		return StateCreating
	}
	var count [phaseCleaned + 1]int
	for _, status := range j.Hosts {
		count[phaseOf(status)]++
	}
	exported := count[phaseExported] + count[phaseReplaced] + count[phaseResizing]
	gone := count[phaseCleaning] + count[phaseCleaned]
	switch {
	case count[phaseUnknown] > 0 && gone == 0:
		return StateUnknown
	case exported >= max(j.HA, 1) && count[phaseResizing] > 0:
		return StateResizing
	case exported >= max(j.HA, 1):
		return StateReady
	case count[phaseReplaced] > 0:
		return StateReplacing
	case gone > 0:
		return StateDeleting
	case count[phaseFailed] > 0:
		return StateFailed
	}
	return StateCreating
}

// ExportingHosts returns, sorted, the hosts that may export the image. Before
// an image is written each of them must be asked for sessions.
//
// A host may export with every last status but two: CLEANUPSUCCESS (the target
// was removed) and CONFIGFAIL (it was not set up). CONFIGINPROGRESS and
// CLEANUPINPROGRESS may export because gluster-block leaves them when the host
// did not answer or the command was killed; CLEANUPFAIL, the AUTH, RP and RS
// statuses, and statuses that are not known here, all follow a set-up. The
// names are fit for a host argument: they hold letters, digits, '.', '_', ':'
// and '-' and do not begin with a sign.
func (j Journal) ExportingHosts() []string {
	var hosts []string
	for _, h := range slices.Sorted(maps.Keys(j.Hosts)) {
		if p := phaseOf(j.Hosts[h]); p != phaseCleaned && p != phaseFailed {
			hosts = append(hosts, h)
		}
	}
	return hosts
}
