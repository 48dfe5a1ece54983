package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestUses(t *testing.T) {
	claim := corev1.Volume{Name: "data", VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "db"},
	}}
	readOnly := *claim.DeepCopy()
	readOnly.PersistentVolumeClaim.ReadOnly = true
	other := *claim.DeepCopy()
	other.PersistentVolumeClaim.ClaimName = "db-2"
	ephemeral := corev1.Volume{Name: "b", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}}
	scratch := corev1.Volume{Name: "db", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
	now := metav1.Now()
	tests := map[string]struct {
		name     string
		volumes  []corev1.Volume
		phase    corev1.PodPhase
		deleting *metav1.Time
		claim    string
		want     bool
	}{
		"running":              {volumes: []corev1.Volume{claim}, phase: corev1.PodRunning, want: true},
		"pending":              {volumes: []corev1.Volume{claim}, phase: corev1.PodPending, want: true},
		"unknown":              {volumes: []corev1.Volume{claim}, phase: corev1.PodUnknown, want: true},
		"no phase yet":         {volumes: []corev1.Volume{claim}, want: true},
		"shutting down":        {volumes: []corev1.Volume{claim}, phase: corev1.PodRunning, deleting: &now, want: true},
		"read-only":            {volumes: []corev1.Volume{readOnly}, phase: corev1.PodRunning, want: true},
		"second volume":        {volumes: []corev1.Volume{scratch, other, claim}, phase: corev1.PodRunning, want: true},
		"succeeded":            {volumes: []corev1.Volume{claim}, phase: corev1.PodSucceeded},
		"failed":               {volumes: []corev1.Volume{claim}, phase: corev1.PodFailed},
		"ended and shut down":  {volumes: []corev1.Volume{claim}, phase: corev1.PodFailed, deleting: &now},
		"other claim":          {volumes: []corev1.Volume{other}, phase: corev1.PodRunning},
		"volume of that name":  {volumes: []corev1.Volume{scratch}, phase: corev1.PodRunning},
		"no volumes":           {phase: corev1.PodRunning},
		"ephemeral":            {name: "a", claim: "a-b", volumes: []corev1.Volume{ephemeral}, phase: corev1.PodRunning, want: true},
		"ephemeral of another": {name: "c", claim: "a-b", volumes: []corev1.Volume{ephemeral}, phase: corev1.PodRunning},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			if tt.claim == "" {
				tt.claim = "db"
			}
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: tt.name, DeletionTimestamp: tt.deleting},
				Spec:       corev1.PodSpec{Volumes: tt.volumes},
				Status:     corev1.PodStatus{Phase: tt.phase},
			}
			if got := uses(pod, tt.claim); got != tt.want {
				t.Errorf("uses = %t, want %t", got, tt.want)
			}
		})
	}
}
