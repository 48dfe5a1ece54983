package provision

import (
	"errors"
	"slices"
	"testing"
)

func TestDeleteOthers(t *testing.T) {
	var deleted []string
	del := func(id string) error { deleted = append(deleted, id); return nil }
	err := deleteOthers([]string{"a", "b", "c"}, map[string]bool{"b": true, "": true}, del)
	if want := []string{"a", "c"}; err != nil || !slices.Equal(deleted, want) {
		t.Errorf("deleted %q, %v; want %q", deleted, err, want)
	}
	refused := errors.New("refused")
	if err := deleteOthers([]string{"a"}, nil, func(string) error { return refused }); !errors.Is(err, refused) {
		t.Errorf("error %v; want the one of the deletion", err)
	}
}
