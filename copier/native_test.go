package copier_test

import (
	"testing"

	"github.com/glusterbackupd/glusterbackupd/copier"
	"github.com/glusterbackupd/glusterbackupd/copier/copiertest"
)

func newNative(t *testing.T, o copier.NativeOptions) *copier.Native {
	t.Helper()
	n, err := copier.NewNative(o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNativeConforms(t *testing.T) {
	copiertest.TestEngine(t, func() copiertest.Engine { return newNative(t, copier.NativeOptions{}) })
}
