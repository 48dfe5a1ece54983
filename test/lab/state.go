package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/glusterbackupd/glusterbackupd/test/lab/servers"
)

// The places of a lab that runs. There is one lab per machine.
const (
	Dir   = "/run/glusterbackupd-lab"     // Keys, sockets, logs, databases and lab.json.
	Disks = "/var/tmp/glusterbackupd-lab" // The guest's disks.
	NetNS = "gblab"                       // Network namespace of all servers and of the guest.
)

// ErrDown says that no lab is up.
var ErrDown = errors.New("the lab is not up (make lab-up)")

// Kinds of claims.
const (
	File    = "file"    // A Gluster volume of its own, made through Heketi.
	Block   = "block"   // A block image on a blockhost volume, made through Heketi.
	Foreign = "foreign" // A volume of another provisioner.
	Pending = "pending" // No volume.
)

// State is the content of lab.json: what the lab consists of.
type State struct {
	NetNS             string
	Address, Address2 string // Addresses of the guest; Gluster and Heketi know the first.

	SSHUser, SSHKey, KnownHosts             string // Files, except for the user.
	HeketiURL, HeketiUser, HeketiKeyFile    string
	HeketiCLI                               string // Path of the program.
	KubeURL, Kubeconfig, KubeToken, EtcdURL string // The token is a file.

	Servers []*servers.Process // In the order in which they were started.

	Cluster string  // Heketi's id.
	Claims  []Claim // Claims in Kubernetes, with what is behind them.
	Images  []Image // Block images, also those without a claim.

	HostingVolume, HostingID string // The blockhost volume's Gluster name and Heketi id.
	ReplicaVolume            string // Made by hand, replica 2 on thin bricks, unknown to Heketi.
	ReplicaBricks            []string
	PlainVolume              string // Made by hand on a brick that is not a thin LV.
	Provisioned              bool   // Everything above is there and holds data.
}

// Claim is a claim in Kubernetes.
type Claim struct {
	Namespace, Name, Kind string
	PV                    string // "" for a Pending claim.
	HeketiID              string // Volume or block volume.
	Volume                string // Gluster volume (file) or blockhost volume (block).
	Annotated             bool   // The PV names its Heketi id.
	Filled                bool   // The volume holds the generated files.
}

// Image is a block image on the blockhost volume.
type Image struct {
	Namespace, Claim string // "" when Kubernetes has no claim for it.
	Name             string // As Heketi, gluster-block and restore-block know it.
	HeketiID         string
	GBID, IQN        string
	Size             int64 // Bytes.
	Auth             bool  // Logins need CHAP.
	FSType           string
	Filled           bool // Holds a file system with files.
}

// Claim finds a claim by namespace and name.
func (s *State) Claim(namespace, name string) (*Claim, bool) {
	for i, c := range s.Claims {
		if c.Namespace == namespace && c.Name == name {
			return &s.Claims[i], true
		}
	}
	return nil, false
}

// Image finds a block image by its name.
func (s *State) Image(name string) (*Image, bool) {
	for i, image := range s.Images {
		if image.Name == name {
			return &s.Images[i], true
		}
	}
	return nil, false
}

// ClaimImage finds the image behind a claim; two empty strings find the image
// without one.
func (s *State) ClaimImage(namespace, claim string) (*Image, bool) {
	for i, image := range s.Images {
		if image.Namespace == namespace && image.Claim == claim {
			return &s.Images[i], true
		}
	}
	return nil, false
}

// StateFile is where the state of the lab is kept.
func StateFile() string { return filepath.Join(Dir, "lab.json") }

// Load reads the state of the lab. It is ErrDown when there is none.
func Load() (*Lab, error) {
	content, err := os.ReadFile(StateFile())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrDown
	}
	if err != nil {
		return nil, err
	}
	l := &Lab{}
	if err := json.Unmarshal(content, &l.State); err != nil {
		return nil, fmt.Errorf("%s: %w", StateFile(), err)
	}
	return l, nil
}

// Save writes the state, so that another program sees either the old or the
// new one.
func (l *Lab) Save() error {
	content, err := json.MarshalIndent(l.State, "", "  ")
	if err != nil {
		return err
	}
	temp := StateFile() + ".tmp"
	if err := os.WriteFile(temp, append(content, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, StateFile())
}
