package glusterd2_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gluster/glusterd2/pkg/api"
	gderrors "github.com/gluster/glusterd2/pkg/errors"
	"github.com/pborman/uuid"
)

// secret is the content of the server's file auth.
const secret = "3f0c5e0e1b2a4d5c"

// server stands in for glusterd2 where the real one, on bricks of glusterfs 10,
// cannot come to a success. Every body is marshalled from glusterd2's own types,
// statuses and texts are those of its handlers (glusterd2/commands/snapshot and
// glusterd2/commands/volumes); missing snapshots have the status 404 in one
// handler and 500 in the others, as there. Which of its answers the real server
// was seen to give is said in platform_test.go.
type server struct {
	mu      sync.Mutex
	volumes map[string]*api.VolumeInfo
	thick   string // A volume whose bricks are not thin.
	snaps   []*api.SnapInfo
	// got counts the requests by method and path.
	got map[string]int
}

func newServer() *server {
	s := &server{volumes: map[string]*api.VolumeInfo{}, thick: "thick", got: map[string]int{}}
	s.volumes["vol"] = volume("vol", api.VolStarted, "g1", "g2")
	s.volumes["stopped"] = volume("stopped", api.VolCreated, "g1")
	s.volumes["thick"] = volume("thick", api.VolStarted, "g1")
	return s
}

// volume makes a replica over the hosts.
func volume(name string, state api.VolState, hosts ...string) *api.VolumeInfo {
	v := &api.VolumeInfo{
		ID: uuid.NewRandom(), Name: name, Type: api.Replicate, Transport: "tcp", DistCount: 1, ReplicaCount: len(hosts), State: state,
		Options: map[string]string{"features/shard": "on", "shard.shard-block-size": "64MB"},
	}
	sub := api.Subvol{Name: name + "-replicate-0", Type: api.SubvolReplicate, ReplicaCount: len(hosts)}
	for _, h := range hosts {
		sub.Bricks = append(sub.Bricks, api.BrickInfo{
			ID: uuid.NewRandom(), Path: "/bricks/" + name, VolumeID: v.ID, VolumeName: name, PeerID: uuid.NewRandom(), Hostname: h,
		})
	}
	v.Subvols = []api.Subvol{sub}
	return v
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[r.Method+" "+r.URL.Path]++
	if message := unauthorized(r); message != "" {
		refuse(w, http.StatusUnauthorized, message)
		return
	}
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	switch {
	case path[0] == "volumes" && len(path) == 2:
		s.volume(w, path[1])
	case path[0] == "volumes" && path[2] == "bricks":
		s.bricks(w, path[1])
	case path[0] == "snapshots" && len(path) == 1 && r.Method == http.MethodPost:
		s.create(w, r)
	case path[0] == "snapshots" && len(path) == 1:
		s.list(w, r.URL.Query().Get("volume"))
	case path[0] == "snapshots" && len(path) == 2 && r.Method == http.MethodDelete:
		s.remove(w, path[1])
	case path[0] == "snapshots" && len(path) == 2:
		s.info(w, path[1])
	case path[0] == "snapshots" && path[2] == "status":
		s.status(w, path[1])
	case path[0] == "snapshots":
		s.activate(w, path[1], path[2] == "activate")
	default:
		http.NotFound(w, r)
	}
}

// unauthorized checks the token as glusterd2's middleware does.
func unauthorized(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "bearer ")
	if !ok {
		return "'Authorization' header is required"
	}
	signed, signature, _ := strings.Cut(token[strings.IndexByte(token, '.')+1:], ".")
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(token[:strings.LastIndexByte(token, '.')]))
	var claims struct {
		Issuer  string `json:"iss"`
		Expires int64  `json:"exp"`
		QSH     string `json:"qsh"`
	}
	if body, err := base64.RawURLEncoding.DecodeString(signed); err != nil || json.Unmarshal(body, &claims) != nil {
		return "token contains an invalid number of segments"
	}
	qsh := sha256.Sum256([]byte(r.Method + "&" + r.URL.Path))
	switch {
	case claims.Issuer != "glustercli":
		return "invalid App ID: " + claims.Issuer
	case claims.QSH != hex.EncodeToString(qsh[:]):
		return "invalid qsh claim in token"
	case signature != base64.RawURLEncoding.EncodeToString(mac.Sum(nil)):
		return "signature is invalid"
	case time.Now().Unix() > claims.Expires:
		return "Token is expired"
	}
	return ""
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body) // The client sees what is missing.
	}
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, api.ErrorResp{Errors: []api.HTTPError{{Code: int(api.ErrCodeGeneric), Message: message}}})
}

// step is the answer of a transaction that failed on a node.
func step(w http.ResponseWriter, name, message string) {
	answer(w, http.StatusInternalServerError, api.ErrorResp{Errors: []api.HTTPError{{
		Code: int(api.ErrTxnStepFailed), Message: api.ErrorCodeMap[api.ErrTxnStepFailed],
		Fields: map[string]string{"peer-id": uuid.NewRandom().String(), "step": name, "error": message},
	}}})
}

func (s *server) volume(w http.ResponseWriter, name string) {
	v, ok := s.volumes[name]
	if !ok {
		refuse(w, http.StatusNotFound, gderrors.ErrVolNotFound.Error())
		return
	}
	shown := *v
	for _, x := range s.snaps {
		if x.ParentVolName == name {
			shown.SnapList = append(shown.SnapList, x.VolInfo.Name)
		}
	}
	answer(w, http.StatusOK, api.VolumeGetResp(shown))
}

func (s *server) bricks(w http.ResponseWriter, name string) {
	v, ok := s.volumes[name]
	if !ok {
		refuse(w, http.StatusNotFound, gderrors.ErrVolNotFound.Error())
		return
	}
	var states api.BricksStatusResp
	for _, b := range v.Subvols[0].Bricks {
		states = append(states, api.BrickStatus{Info: b, Online: true, Pid: 4711, Port: 49152, FS: "xfs", Device: "/dev/mapper/vg-brick"})
	}
	slices.Reverse(states) // Their order is that of a map.
	answer(w, http.StatusOK, states)
}

func (s *server) find(name string) *api.SnapInfo {
	i := slices.IndexFunc(s.snaps, func(x *api.SnapInfo) bool { return x.VolInfo.Name == name })
	if i < 0 {
		return nil
	}
	return s.snaps[i]
}

func (s *server) create(w http.ResponseWriter, r *http.Request) {
	var q api.SnapCreateReq
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		refuse(w, http.StatusBadRequest, gderrors.ErrJSONParsingFailed.Error())
		return
	}
	v, ok := s.volumes[q.VolName]
	switch {
	case s.find(q.SnapName) != nil:
		refuse(w, http.StatusUnprocessableEntity, gderrors.ErrSnapExists.Error())
	case !ok:
		refuse(w, http.StatusUnprocessableEntity, gderrors.ErrVolNotFound.Error())
	case v.State != api.VolStarted:
		refuse(w, http.StatusUnprocessableEntity, gderrors.ErrVolNotStarted.Error())
	case q.VolName == s.thick:
		step(w, "snap-create.Validate", "one or more brick is not compatable")
	default:
		x := &api.SnapInfo{VolInfo: *v, ParentVolName: v.Name, Description: q.Description, CreatedAt: time.Now().UTC()}
		x.VolInfo.Name, x.VolInfo.ID, x.VolInfo.State = q.SnapName, uuid.NewRandom(), api.VolCreated
		if q.TimeStamp {
			x.VolInfo.Name += x.CreatedAt.Format("_GMT_2006_01_02_15_04_05")
		}
		s.snaps = append(s.snaps, x)
		answer(w, http.StatusCreated, api.SnapCreateResp(*x))
	}
}

func (s *server) list(w http.ResponseWriter, volume string) {
	if _, ok := s.volumes[volume]; volume != "" && !ok {
		refuse(w, http.StatusNotFound, gderrors.ErrVolNotFound.Error())
		return
	}
	byVolume := map[string][]api.SnapInfo{}
	for _, x := range s.snaps {
		if volume == "" || x.ParentVolName == volume {
			byVolume[x.ParentVolName] = append(byVolume[x.ParentVolName], *x)
		}
	}
	list := api.SnapListResp{}
	for name, snaps := range byVolume {
		list = append(list, api.SnapList{ParentName: name, SnapList: snaps})
	}
	answer(w, http.StatusOK, list)
}

func (s *server) info(w http.ResponseWriter, name string) {
	x := s.find(name)
	if x == nil {
		refuse(w, http.StatusNotFound, "Snapshot not found")
		return
	}
	answer(w, http.StatusOK, api.SnapGetResp(*x))
}

func (s *server) status(w http.ResponseWriter, name string) {
	x := s.find(name)
	switch {
	case x == nil:
		refuse(w, http.StatusInternalServerError, "Snapshot not found")
	case x.VolInfo.State != api.VolStarted:
		refuse(w, http.StatusBadRequest, gderrors.ErrSnapNotActivated.Error())
	default:
		status := api.SnapStatusResp{ParentName: x.ParentVolName, SnapName: name, ID: x.VolInfo.ID}
		for _, b := range x.VolInfo.Subvols[0].Bricks {
			status.BrickStatus = append(status.BrickStatus, api.SnapBrickStatus{
				Brick:  api.BrickStatus{Info: b, Online: true, Pid: 4712},
				LvData: api.LvsData{VgName: "vg", DataPercentage: 12.5, LvSize: "2.00g", PoolLV: "tp"},
			})
		}
		slices.Reverse(status.BrickStatus)
		answer(w, http.StatusOK, status)
	}
}

func (s *server) activate(w http.ResponseWriter, name string, active bool) {
	x := s.find(name)
	switch {
	case x == nil:
		refuse(w, http.StatusInternalServerError, "Snapshot not found")
	case active && x.VolInfo.State == api.VolStarted:
		refuse(w, http.StatusBadRequest, "snapshot already activated. Use force to override the behaviour")
	case !active && x.VolInfo.State != api.VolStarted:
		refuse(w, http.StatusBadRequest, gderrors.ErrSnapDeactivated.Error())
	case active:
		x.VolInfo.State = api.VolStarted
		answer(w, http.StatusOK, api.SnapshotActivateResp(*x))
	default:
		x.VolInfo.State = api.VolStopped
		answer(w, http.StatusOK, api.SnapshotDeactivateResp(*x))
	}
}

func (s *server) remove(w http.ResponseWriter, name string) {
	x := s.find(name)
	if x == nil {
		refuse(w, http.StatusInternalServerError, "Snapshot not found")
		return
	}
	s.snaps = slices.DeleteFunc(s.snaps, func(y *api.SnapInfo) bool { return x == y })
	w.WriteHeader(http.StatusNoContent)
}

// count is how often a request came.
func (s *server) count(request string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got[request]
}
