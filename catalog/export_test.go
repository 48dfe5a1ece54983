package catalog

// SetHook makes r call hook between any two changes on the disk.
func (r *Repository) SetHook(hook func(step string) error) { r.hook = hook }

// InitHook is Init with a hook.
func InitHook(root string, hook func(step string) error) (*Repository, error) {
	r, err := newRepository(root, Options{})
	if err != nil {
		return nil, err
	}
	r.hook = hook
	return r, r.full(r.init())
}
