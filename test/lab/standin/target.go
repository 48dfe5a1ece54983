package standin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// target is LIO's configuration tree, normally /sys/kernel/config/target.
type target struct{ root string }

func (t target) tpg(i image) string { return filepath.Join(t.root, "iscsi", i.IQN(), "tpgt_1") }

// export makes a fileio backstore of the file and an iSCSI target with
// generated ACLs on the host's portal, as gluster-block's targets have them.
func (t target) export(i image, file string) error {
	store, err := t.backstore(i, file)
	if err != nil {
		return fmt.Errorf("backstore: %w", err)
	}
	tpg := t.tpg(i)
	for _, dir := range []string{tpg, filepath.Join(tpg, "np", i.Host+":3260"), filepath.Join(tpg, "lun", "lun_0")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	settings := [][2]string{
		{"attrib/generate_node_acls", "1"},
		{"attrib/cache_dynamic_acls", "1"},
		{"attrib/demo_mode_write_protect", "0"},
		{"attrib/authentication", "0"},
	}
	if i.Password != "" {
		settings = append(settings,
			[2]string{"attrib/authentication", "1"}, [2]string{"auth/userid", i.GBID}, [2]string{"auth/password", i.Password})
	}
	if err := os.Symlink(store, filepath.Join(tpg, "lun", "lun_0", "storage")); err != nil {
		return err
	}
	return set(tpg, append(settings, [2]string{"enable", "1"})...)
}

// backstore makes a storage object that bears the block's name.
func (t target) backstore(i image, file string) (string, error) {
	if err := os.MkdirAll(filepath.Join(t.root, "iscsi"), 0o755); err != nil { // Loads the fabric module.
		return "", err
	}
	for n := 0; ; n++ {
		adapter := filepath.Join(t.root, "core", "fileio_"+strconv.Itoa(n))
		if err := os.Mkdir(adapter, 0o755); errors.Is(err, fs.ErrExist) {
			continue
		} else if err != nil {
			return "", err
		}
		dir := filepath.Join(adapter, i.Name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return "", err
		}
		return dir, set(dir,
			[2]string{"control", fmt.Sprintf("fd_dev_name=%s,fd_dev_size=%d", file, i.Size)},
			[2]string{"enable", "1"},
			[2]string{"attrib/emulate_tpu", "1"}, // Discards of the initiator punch holes, as with tcmu-runner.
			[2]string{"wwn/vpd_unit_serial", i.GBID})
	}
}

// set writes settings below dir, in order.
func set(dir string, settings ...[2]string) error {
	for _, s := range settings {
		name := filepath.Join(dir, s[0])
		if err := os.WriteFile(name, []byte(s[1]), 0o644); err != nil {
			return fmt.Errorf("set %s: %w", name, errors.Unwrap(err))
		}
	}
	return nil
}

// unexport removes target and backstore; what is missing is fine.
func (t target) unexport(i image) error {
	tpg := t.tpg(i)
	if _, err := os.Stat(tpg); err == nil {
		if err := set(tpg, [2]string{"enable", "0"}); err != nil {
			return err
		}
	}
	stores, err := filepath.Glob(filepath.Join(t.root, "core", "fileio_*", i.Name))
	if err != nil {
		return err
	}
	doomed := []string{
		filepath.Join(tpg, "lun", "lun_0", "storage"), filepath.Join(tpg, "lun", "lun_0"),
		filepath.Join(tpg, "np", i.Host+":3260"), tpg, filepath.Dir(tpg),
	}
	for _, store := range stores {
		doomed = append(doomed, store, filepath.Dir(store))
	}
	for _, name := range doomed {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
