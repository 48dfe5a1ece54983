package daemon

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/glusterbackupd/glusterbackupd/heketi"
	"github.com/glusterbackupd/glusterbackupd/kube"
)

const (
	savedPVC    = `{"metadata":{"name":"a"},"spec":{"storageClassName":"gold"}}`
	savedFilePV = `{"metadata":{"name":"pv","annotations":{"pv.beta.kubernetes.io/gid":"2001"}},` +
		`"spec":{"capacity":{"storage":"3Gi"},"glusterfs":{"endpoints":"e","path":"vol_1"}}}`
	savedBlockPV = `{"metadata":{"name":"pv"},"spec":{"capacity":{"storage":"1Gi"},"iscsi":{"iqn":"i","chapAuthSession":true}}}`
)

func saved(t *testing.T, pv string) kube.SavedClaim {
	t.Helper()
	s, err := kube.ParseSavedClaim([]byte(savedPVC), []byte(pv))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSpecOf(t *testing.T) {
	tests := map[string]struct {
		pv         string
		parameters map[string]string
		want       volumeSpec
		fails      bool
	}{
		"file, nothing said": {pv: savedFilePV, want: volumeSpec{file: heketi.VolumeSpec{Size: 3 << 30, GID: 2001}}},
		"file, all said": {
			pv: savedFilePV,
			parameters: map[string]string{
				"VolumeType": "disperse:4:2", "snapfactor": "2.5", "volumeoptions": "client.ssl on, server.ssl on", "clusterid": "a,b", "gidMin": "1",
			},
			want: volumeSpec{file: heketi.VolumeSpec{
				Size: 3 << 30, GID: 2001, Type: "disperse:4:2", SnapshotFactor: 2.5,
				Options: []string{"client.ssl on", "server.ssl on"}, Clusters: []string{"a", "b"},
			}},
		},
		"block": {
			pv: savedBlockPV, parameters: map[string]string{"hacount": "3", "clusterids": "a", "chapauthenabled": "false", "volumetype": "none"},
			want: volumeSpec{block: heketi.BlockVolumeSpec{Size: 1 << 30, HA: 3, Auth: true, Clusters: []string{"a"}}},
		},
		"no factor": {pv: savedFilePV, parameters: map[string]string{"snapfactor": "much"}, fails: true},
		"no count":  {pv: savedBlockPV, parameters: map[string]string{"hacount": "all"}, fails: true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			got, err := specOf(kube.Class{Name: "gold", Parameters: tt.parameters}, saved(t, tt.pv))
			if (err != nil) != tt.fails {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(volumeSpec{})); err == nil && diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestGrown: files may get a larger volume, an image stays as it is.
func TestGrown(t *testing.T) {
	larger, err := saved(t, savedFilePV).Grown(5 << 30)
	if err != nil || larger.Size() != 5<<30 {
		t.Errorf("files: %d, %v", larger.Size(), err)
	}
	if same, err := saved(t, savedFilePV).Grown(1); err != nil || same.Size() != 3<<30 {
		t.Errorf("smaller: %d, %v", same.Size(), err)
	}
	if _, err := saved(t, savedBlockPV).Grown(2 << 30); err == nil {
		t.Error("an image has grown")
	}
	if same, err := saved(t, savedBlockPV).Grown(1 << 30); err != nil || same.Size() != 1<<30 {
		t.Errorf("image: %d, %v", same.Size(), err)
	}
}
