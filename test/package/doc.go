// Package packages holds the tests of the deb and the rpm that `make package`
// leaves in dist: what is in them, what happens when they are installed,
// updated and removed in a root of their own, that two builds are equal, and,
// in the lab's guest, how the service lives under a real systemd.
package packages
