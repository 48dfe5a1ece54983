package copier

import (
	"os"
	"slices"
	"strconv"
	"strings"
)

// Extended attributes are copied by name, first match wins: what
// manifest.KeepXattr keeps. Both ends keep their own security labels (a Gluster
// mount answers "not supported" to them, and every file on a disk with SELinux
// has one), and nothing of Gluster's own bookkeeping moves. POSIX ACLs are not
// among them: -A copies those.
var (
	rootXattrs = []string{
		"-x trusted.glusterfs.**", "-x trusted.gfid**", "-x trusted.pgfid.**", "-x trusted.afr.**",
		"-x trusted.ec.**", "-x trusted.bit-rot.**", "-x trusted.tier.**", "-x trusted.SGI_ACL_**",
		"+x user.**", "+x trusted.**", "+x security.capability", "-x **",
	}
	userXattrs = []string{"+x user.**", "-x **"}
)

// args returns the arguments for a checked tree.
//
// Files that already exist in Dest are replaced by a temporary file
// (".name.XXXXXX", removed by rsync when it is ended with SIGTERM) and a
// rename, never with --inplace: a file of Dest can be one of several hard links
// that the source does not have, or a link into an earlier version, and writing
// into it would change the others too.
func (r *Rsync) args(t Tree) []string {
	args := []string{
		"-aHAXS", "--numeric-ids",
		// Without this, a file that changed within the same second and has the
		// same size counts as unchanged.
		"--modify-window=-1",
		"--whole-file", "--8-bit-output", "--no-human-readable", "--stats", "--outbuf=L",
	}
	xattrs := userXattrs
	if r.root {
		xattrs = rootXattrs
	}
	for _, rule := range xattrs {
		args = append(args, "--filter="+rule)
	}
	if t.Progress != nil {
		args = append(args, "--info=progress2,flist0")
	}
	if r.limit > 0 {
		args = append(args, "--bwlimit="+strconv.FormatInt((r.limit+1023)/1024, 10))
	}
	if t.Delete {
		args = append(args, "--delete-delay")
	}
	if t.Checksum {
		args = append(args, "--checksum")
	}
	if t.Sync && r.fsync {
		args = append(args, "--fsync")
	}
	if t.DryRun {
		args = append(args, "--dry-run", "--itemize-changes")
	}
	if t.Reference != "" {
		args = append(args, "--link-dest="+t.Reference)
	}
	if t.Path != "" {
		// A name in this list is never taken as a pattern; -r is not implied
		// by -a here.
		args = append(args, "--recursive", "--from0", "--files-from=-")
	}
	// Both are absolute, so neither can look like an option or a remote host.
	return append(args, "--", contentOf(t.Source), contentOf(t.Dest))
}

// contentOf returns dir with one trailing slash, which means its content to
// rsync, not the folder as an entry.
func contentOf(dir string) string { return strings.TrimSuffix(dir, "/") + "/" }

// environment is ours without what would change rsync's behaviour or language:
// its own variables, and HOME, where popt looks for option aliases.
func environment() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		for _, p := range []string{"RSYNC_", "LC_", "LANG", "HOME=", "POSIXLY_CORRECT="} {
			if strings.HasPrefix(kv, p) {
				return true
			}
		}
		return false
	})
	return append(env, "LC_ALL=C")
}
