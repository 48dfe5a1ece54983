package heketi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/heketi"
)

// spellings returns all the ways in which a value may end up in a text.
func spellings(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		fmt.Fprintf(&b, verb+"\n", v)
	}
	content, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	b.Write(content)
	slog.New(slog.NewTextHandler(&b, nil)).Info("text", "value", v)
	slog.New(slog.NewJSONHandler(&b, nil)).Info("json", "value", v)
	return b.String()
}

// The password of a recorded block volume with CHAP appears nowhere, whatever
// happens to the answer that holds it.
func TestPasswordStaysInside(t *testing.T) {
	authed := fixture(t, "heketi-blockvolume-info-auth.json")
	var secret struct {
		BlockVolume struct{ Password string }
	}
	if err := json.Unmarshal([]byte(authed), &secret); err != nil {
		t.Fatal(err)
	}
	password := secret.BlockVolume.Password
	if len(password) < 30 {
		t.Fatalf("no password in the fixture: %q", password)
	}
	tests := map[string]answer{
		"good":            {body: authed},
		"500":             {status: 500, body: authed},
		"401":             {status: 401, body: authed},
		"404":             {status: 404, body: authed},
		"404 of heketi":   {status: 404, body: "Id not found " + authed},
		"broken JSON":     {body: strings.TrimSuffix(authed, "}")},
		"other type":      {body: strings.Replace(authed, `"size":1`, `"size":"`+password+`"`, 1)},
		"other id":        {body: strings.Replace(authed, `"id":"f`, `"id":"0`, 1)},
		"malformed name":  {body: strings.Replace(authed, "blk_authed", "/", 1)},
		"unusual headers": {status: 302, body: authed, header: map[string][]string{"Location": {"http://h/" + password}}},
	}
	for desc, a := range tests {
		t.Run(desc, func(t *testing.T) {
			server := record(t, map[string]answer{"/blockvolumes/" + authID: a, "/blockvolumes": {body: `{"blockvolumes":["` + authID + `"]}`}})
			c := newClient(t, heketi.Options{URL: server.URL})
			v, err := c.BlockVolume(t.Context(), authID)
			w, ferr := c.FindBlockVolume(t.Context(), "blk_authed")
			text := spellings(t, []any{v, w}) + spellings(t, []error{err, ferr}) + fmt.Sprint(err, ferr, remedy(err), remedy(ferr))
			if strings.Contains(text, password) {
				t.Errorf("the password appears in: %s", text)
			}
			if (desc == "good") != (err == nil && ferr == nil && v.Name == "blk_authed") {
				t.Errorf("got %v, %v, %v", v, err, ferr)
			}
		})
	}
}

func TestKeyStaysInside(t *testing.T) {
	server := record(t, map[string]answer{"/clusters": {status: 401, body: key}})
	o := heketi.Options{URL: server.URL, Key: key}
	c := newClient(t, o)
	err := c.Ping(t.Context())
	text := spellings(t, o) + spellings(t, &o) + spellings(t, struct{ Heketi heketi.Options }{o}) + spellings(t, c) + spellings(t, []error{err}) + err.Error() + remedy(err)
	hex := fmt.Sprintf("%x", key)
	decimal := strings.Trim(fmt.Sprint([]byte(key)), "[]")
	for _, form := range []string{key, hex, decimal} {
		if strings.Contains(text, form) {
			t.Errorf("the key appears as %q in: %s", form, text)
		}
	}
	if !strings.Contains(text, "hidden") {
		t.Errorf("Options do not say that there is a key: %s", text)
	}
}
