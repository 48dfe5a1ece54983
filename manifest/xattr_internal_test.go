package manifest

import "testing"

// TestMirrorsMode has the bytes that a Gluster brick may return for a file
// without an ACL of its own; local file systems turn them into the mode.
func TestMirrorsMode(t *testing.T) {
	minimal := "\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x04\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff"
	tests := map[string]struct {
		acl  string
		want bool
	}{
		"minimal":       {minimal, true},
		"with a mask":   {minimal + "\x10\x00\x06\x00\xff\xff\xff\xff", false},
		"other version": {"\x03" + minimal[1:], false},
		"cut":           {minimal[:20], false},
		"empty":         {"", false},
	}
	for desc, tt := range tests {
		if got := mirrorsMode([]byte(tt.acl)); got != tt.want {
			t.Errorf("%s: %v, want %v", desc, got, tt.want)
		}
	}
}

func TestKeepXattr(t *testing.T) {
	tests := map[string]bool{
		"user.": true, "user.x": true, "userx": false, "security.capability": true, "security.selinux": false, "security.ima": false,
		"system.posix_acl_access": true, "system.posix_acl_default": true, "system.nfs4_acl": false,
		"trusted.x": true, "trusted.gfid": false, "trusted.gfid2path.0123": false, "trusted.pgfid.x": false, "trusted.afr.dirty": false,
		"trusted.ec.size": false, "trusted.glusterfs.mdata": false, "trusted.SGI_ACL_FILE": false, "trusted.bit-rot.version": false,
	}
	for name, want := range tests {
		if got := KeepXattr(name); got != want {
			t.Errorf("KeepXattr(%q) = %v, want %v", name, got, want)
		}
	}
}
