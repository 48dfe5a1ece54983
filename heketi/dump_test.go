package heketi_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/glusterbackupd/glusterbackupd/heketi"
)

func TestDump(t *testing.T) {
	const body = `{"clusterentries":{"c":{}},"volumeentries":{"v":{"Info":{"size":9007199254740993}}},` +
		`"blockvolumeentries":{"b":{"Info":{"blockvolume":{"username":"u","password":"a-chap-password"}}}},"list":[{"password":"another"}]}`
	tests := map[string]struct {
		body string
		want error
	}{
		"database":     {body: body},
		"no JSON":      {body: "<html>", want: heketi.ErrAnswer},
		"no database":  {body: `{"clusterentries":{}}`, want: heketi.ErrAnswer},
		"empty answer": {body: "", want: heketi.ErrAnswer},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			server := record(t, map[string]answer{"/db/dump": {body: tt.body}})
			dump, err := newClient(t, heketi.Options{URL: server.URL}).Dump(t.Context())
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			text := string(dump)
			if strings.Contains(text, "a-chap-password") || strings.Contains(text, "another") {
				t.Errorf("a password is in it: %s", text)
			}
			if !strings.Contains(text, "9007199254740993") || !strings.Contains(text, `"username": "u"`) || !json.Valid(dump) {
				t.Errorf("dump %s", text)
			}
		})
	}
}

func TestCredentialsAreHidden(t *testing.T) {
	authed := fixture(t, "heketi-blockvolume-info-auth.json")
	server := record(t, map[string]answer{
		"/blockvolumes": {status: 202, header: map[string][]string{"Location": {"/queue/1"}}},
		// Done: the result is elsewhere.
		"/queue/1":                {status: 303, header: map[string][]string{"Location": {"/blockvolumes/" + authID}}},
		"/blockvolumes/" + authID: {body: authed},
	})
	_, c, err := newClient(t, heketi.Options{URL: server.URL}).CreateBlockVolume(t.Context(), heketi.BlockVolumeSpec{Size: 1, Auth: true})
	if err != nil {
		t.Fatal(err)
	}
	user, password := c.Reveal()
	if !c.Given() || user == "" || len(password) < 30 {
		t.Fatalf("no credentials")
	}
	if strings.Contains(spellings(t, c), password) || strings.Contains(spellings(t, &c), password) {
		t.Error("the password can be printed")
	}
}

// A server that sends the client elsewhere gets no second token.
func TestRedirectElsewhere(t *testing.T) {
	elsewhere := record(t, map[string]answer{"/volumes/1": {body: "{}"}})
	server := record(t, map[string]answer{
		"/volumes": {status: 202, header: map[string][]string{"Location": {"/queue/1"}}},
		"/queue/1": {status: 303, header: map[string][]string{"Location": {elsewhere.URL + "/volumes/1"}}},
	})
	_, err := newClient(t, heketi.Options{URL: server.URL}).CreateVolume(t.Context(), heketi.VolumeSpec{Size: 1})
	if !errors.Is(err, heketi.ErrAnswer) || elsewhere.asked() != "" {
		t.Errorf("%v; asked elsewhere: %q", err, elsewhere.asked())
	}
}

func TestVolumeTypes(t *testing.T) {
	for _, bad := range []string{"replicated", "replicate:0", "replicate:3:1", "none:1", "disperse:x", "disperse:4:2:1"} {
		_, err := newClient(t, heketi.Options{URL: "http://127.0.0.1:1"}).CreateVolume(t.Context(), heketi.VolumeSpec{Size: 1, Type: bad})
		if !errors.Is(err, heketi.ErrName) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestCreateVolume(t *testing.T) {
	server := record(t, map[string]answer{"/volumes": {status: 500, body: "Failed: No space"}})
	_, err := newClient(t, heketi.Options{URL: server.URL}).CreateVolume(t.Context(), heketi.VolumeSpec{Size: 1, Type: "disperse:4:2"})
	if !errors.Is(err, heketi.ErrNoSpace) {
		t.Errorf("no space: %v", err)
	}
}
