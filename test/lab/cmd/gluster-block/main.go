// Command gluster-block is the lab's stand-in for gluster-block; it runs in
// the lab's guest, where Heketi calls it. It is not the real one: package
// standin says what differs.
package main

import (
	"fmt"
	"os"

	"github.com/glusterbackupd/glusterbackupd/test/lab/standin"
)

func main() {
	answer, err := standin.Program{}.Run(os.Args[1:])
	if err != nil {
		fail := standin.AsFail(err)
		fmt.Println(fail.Answer())
		os.Exit(fail.Code)
	}
	fmt.Println(answer)
}
