package servers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"
)

// Env says where servers are taken from and where they run. The zero value of
// each field but Dir is usable. An Env is a plain value, safe to copy.
type Env struct {
	Bin    string // Folder of built servers; "" is CacheDir()/bin.
	Dir    string // State and logs of the servers; made when missing, never removed here.
	NetNS  string // Named network namespace to run in; "" is the host's network.
	Detach bool   // The servers outlive this program. Otherwise they are killed with it.
}

// CacheDir is the folder in which built things are kept between checkouts.
func CacheDir() string {
	base, err := os.UserCacheDir() // Honours XDG_CACHE_HOME.
	if err != nil {
		base = "/var/cache"
	}
	return filepath.Join(base, "glusterbackupd-lab")
}

// binary returns the path of a built program.
func (e Env) binary(p program) string {
	bin := e.Bin
	if bin == "" {
		bin = filepath.Join(CacheDir(), "bin")
	}
	return filepath.Join(bin, p.folder(), p.name)
}

// Dial connects from inside the network namespace. It fits http.Transport and
// client-go's rest.Config.
func (e Env) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	if e.NetNS == "" {
		return d.DialContext(ctx, network, address)
	}
	type result struct {
		conn net.Conn
		err  error
	}
	done := make(chan result, 1)
	go func() {
		// The thread is never unlocked, so it ends with this goroutine and no
		// other one inherits the namespace.
		runtime.LockOSThread()
		if err := enterNetNS(e.NetNS); err != nil {
			done <- result{nil, err}
			return
		}
		conn, err := d.DialContext(ctx, network, address)
		done <- result{conn, err}
	}()
	r := <-done
	return r.conn, r.err
}

// HTTPClient makes a client that connects from inside the namespace and
// trusts the certificates in the PEM file ca ("" for plain HTTP).
func (e Env) HTTPClient(ca string) (*http.Client, error) {
	transport := &http.Transport{DialContext: e.Dial, MaxIdleConnsPerHost: 1, IdleConnTimeout: 10 * time.Second}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: 5 * time.Second}, nil
}

// get asks a URL and is content with status 200. The certificate file may
// appear only while the server starts, so the client is made anew each time.
func (e Env) get(ctx context.Context, url, ca, token string) error {
	client, err := e.HTTPClient(ca)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 512))
		return fmt.Errorf("%s: %s: %s", url, response.Status, body)
	}
	return nil
}

// FreePort returns a TCP port of the host's loopback that nothing listens on
// at this moment.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	_, text, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}
