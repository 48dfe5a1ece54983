package gluster

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// answer is the XML of every gluster command; which of the pointers is set
// depends on the command.
type answer struct {
	XMLName  xml.Name `xml:"cliOutput"`
	OpRet    *int     `xml:"opRet"`
	OpErrno  int      `xml:"opErrno"`
	OpErrstr string   `xml:"opErrstr"`
	Output   string   `xml:"output"`

	text []byte // All of it.

	VolInfo        *volInfoXML    `xml:"volInfo>volumes"`
	VolStatus      *volStatusXML  `xml:"volStatus>volumes"`
	SnapCreate     *namedXML      `xml:"snapCreate>snapshot"`
	SnapActivate   *namedXML      `xml:"snapActivate>snapshot"`
	SnapDeactivate *namedXML      `xml:"snapDeactivate>snapshot"`
	SnapDelete     *snapDeleteXML `xml:"snapDelete>snapshots"`
	SnapInfo       *snapInfoXML   `xml:"snapInfo"`
	SnapStatus     *snapStatusXML `xml:"snapStatus>snapshots"`
	SnapConfig     *snapConfigXML `xml:"snapConfig"`
}

type namedXML struct {
	Name string `xml:"name"`
	UUID string `xml:"uuid"`
}

type volInfoXML struct {
	Volumes []volumeXML `xml:"volume"`
	Count   *int        `xml:"count"`
}

type volumeXML struct {
	Name          string      `xml:"name"`
	ID            string      `xml:"id"`
	Status        string      `xml:"statusStr"`
	SnapshotCount *int        `xml:"snapshotCount"`
	BrickCount    int         `xml:"brickCount"`
	DistCount     int         `xml:"distCount"`
	ReplicaCount  int         `xml:"replicaCount"`
	ArbiterCount  int         `xml:"arbiterCount"`
	DisperseCount int         `xml:"disperseCount"`
	Type          string      `xml:"typeStr"`
	Bricks        []brickXML  `xml:"bricks>brick"`
	Options       []optionXML `xml:"options>option"`
}

type brickXML struct {
	Name    string `xml:"name"`
	Arbiter int    `xml:"isArbiter"`
}

type optionXML struct {
	Name  string `xml:"name"`
	Value string `xml:"value"`
}

type volStatusXML struct {
	Volumes []struct {
		Name  string    `xml:"volName"`
		Nodes []nodeXML `xml:"node"`
	} `xml:"volume"`
}

type nodeXML struct {
	Host   string `xml:"hostname"`
	Path   string `xml:"path"`
	Status int    `xml:"status"`
	PID    int    `xml:"pid"`
}

type snapDeleteXML struct {
	Snapshots []struct {
		namedXML
		Status   string `xml:"status"`
		OpErrno  int    `xml:"opErrno"`
		OpErrstr string `xml:"opErrstr"`
	} `xml:"snapshot"`
}

type snapInfoXML struct {
	Origin    *originXML    `xml:"originVolume"`
	Count     *int          `xml:"count"`
	Snapshots []snapshotXML `xml:"snapshots>snapshot"`
}

type originXML struct {
	Name string `xml:"name"`
}

type snapshotXML struct {
	namedXML
	Description string          `xml:"description"`
	CreateTime  string          `xml:"createTime"`
	VolCount    int             `xml:"volCount"`
	Volumes     []snapVolumeXML `xml:"snapVolume"`
}

type snapVolumeXML struct {
	Status string     `xml:"status"`
	Origin *originXML `xml:"originVolume"`
}

type snapStatusXML struct {
	Snapshots []struct {
		namedXML
		Volumes []struct {
			Count  int            `xml:"brickCount"`
			Bricks []snapBrickXML `xml:"brick"`
		} `xml:"volume"`
	} `xml:"snapshot"`
}

type snapBrickXML struct {
	Path    string `xml:"path"`
	VG      string `xml:"volumeGroup"`
	Running string `xml:"brick_running"`
	PID     string `xml:"pid"`
	Data    string `xml:"data_percentage"`
	Size    string `xml:"lvSize"`
}

type snapConfigXML struct {
	System *struct {
		SoftLimit        string `xml:"softLimit"`
		AutoDelete       string `xml:"autoDelete"`
		ActivateOnCreate string `xml:"activateOnCreate"`
	} `xml:"systemConfig"`
	Volumes []struct {
		Name      string `xml:"name"`
		HardLimit int    `xml:"effectiveHardLimit"`
	} `xml:"volumeConfig>volume"`
}

// parseAnswer reads one document and nothing else.
func parseAnswer(out []byte) (*answer, error) {
	d := xml.NewDecoder(bytes.NewReader(out))
	var a answer
	if err := d.Decode(&a); err != nil {
		return nil, fmt.Errorf("%w %q: %v", ErrAnswer, firstLine(strings.TrimSpace(string(out))), err) //nolint:errorlint // The parser's errors are words only.
	}
	if a.OpRet == nil {
		return nil, fmt.Errorf("%w: no opRet", ErrAnswer)
	}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return &a, nil
		}
		if text, ok := token.(xml.CharData); err != nil || !ok || len(bytes.TrimSpace(text)) > 0 {
			return nil, fmt.Errorf("%w: something follows the XML document", ErrAnswer)
		}
	}
}

// parseTime reads createTime, which is UTC: without zone up to version 8, with
// " +0000" from 9 on.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02 15:04:05 -0700", time.DateTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: time %q", ErrAnswer, s)
}

// splitBrick splits "HOST:/PATH"; the host may be an IPv6 address.
func splitBrick(s string) (host, path string, err error) {
	host, path, ok := strings.Cut(s, ":/")
	if !ok || host == "" || path == "" {
		return "", "", fmt.Errorf("%w: brick %q", ErrAnswer, s)
	}
	return host, "/" + path, nil
}

// parsePercent reads LVM's and Gluster's percentages; some locales print a comma.
func parsePercent(s string) (float64, error) {
	f, err := strconv.ParseFloat(strings.Replace(strings.TrimSuffix(s, "%"), ",", ".", 1), 64)
	if err != nil || f < 0 || f > 100 {
		return 0, fmt.Errorf("%w: percentage %q", ErrAnswer, s)
	}
	return f, nil
}
