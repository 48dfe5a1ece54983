package kube

import (
	"fmt"

	"k8s.io/client-go/rest"
)

// RESTConfig reads a kubeconfig as New does, for those who speak to the same
// server themselves: its current context, or for "" the service account of the
// pod that this program runs in.
func RESTConfig(kubeconfig string) (*rest.Config, error) {
	config, err := load(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return config, nil
}
