package standin

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// Fail is an error as gluster-block reports it. Code is also the exit status
// (gluster/gluster-block: 2 missing, 17 exists, 28 low space, 255 other).
type Fail struct {
	Code    int
	Message string
}

func (f *Fail) Error() string { return f.Message }

// Answer renders an error as the JSON that --json asks for.
func (f *Fail) Answer() string {
	return fmt.Sprintf(`{ "RESULT": "FAIL", "errCode": %d, "errMsg": %s }`, f.Code, quote(f.Message))
}

// AsFail turns any error into one that can be reported.
func AsFail(err error) *Fail {
	var fail *Fail
	switch {
	case errors.As(err, &fail):
		return fail
	case errors.Is(err, syscall.ENOSPC):
		return &Fail{28, err.Error()}
	}
	return &Fail{255, err.Error()}
}

// quote writes a string as json-c does, with escaped slashes.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "/", `\/`, "\n", `\n`).Replace(s) + `"`
}

// list writes strings as json-c's spaced form does.
func list(items []string) string {
	if len(items) == 0 {
		return "[ ]"
	}
	quoted := make([]string, len(items))
	for i, item := range items {
		quoted[i] = quote(item)
	}
	return "[ " + strings.Join(quoted, ", ") + " ]"
}

func (i image) info() string {
	return fmt.Sprintf(`{ "NAME": %s, "VOLUME": %s, "GBID": %s, "SIZE": %s, "HA": %d, "IOTIMEOUT": "0 Seconds", "PASSWORD": %s, "EXPORTED ON": %s }`,
		quote(i.Name), quote(i.Volume), quote(i.GBID), quote(human(i.Size)), i.HA, quote(i.Password), list(i.exported()))
}

func (i image) createAnswer() string {
	text := fmt.Sprintf(`{ "IQN": %s`, quote(i.IQN()))
	if i.Password != "" {
		text += fmt.Sprintf(`, "USERNAME": %s, "PASSWORD": %s`, quote(i.GBID), quote(i.Password))
	}
	return text + fmt.Sprintf(`, "PORTAL(S)": %s, "RESULT": "SUCCESS" }`, list([]string{i.Host + ":3260"}))
}

func (i image) deleteAnswer() string {
	return fmt.Sprintf(`{ "SUCCESSFUL ON": %s, "RESULT": "SUCCESS" }`, list([]string{i.Host}))
}

// human writes a size as gluster-block's info does, rounded to one decimal.
func human(size int64) string {
	units := []string{"Bytes", "KiB", "MiB", "GiB", "TiB", "PiB"}
	value, unit := float64(size), 0
	for value >= 1024 && unit < len(units)-1 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %s", value, units[unit])
}
