// Package runner runs one command, on this machine, on another one over ssh, or
// in a pod through the Kubernetes API, and returns its standard output or a
// typed error.
//
// Arguments are slices. Commands here and in pods start without a shell; over ssh,
// where the protocol knows only a command line, this package is the one place
// that quotes. Output is bounded, contexts are honoured while dialling, during
// the handshake and while the command runs, and host keys are always checked.
//
// The package does not retry commands, does not interpret their output, offers
// no terminal and no standard input, and cannot promise that a remote command
// ends when its context does: the session is closed, but the remote process may
// go on. Remote commands therefore need a time limit of their own.
//
// Arguments are logged at debug level and are visible in the process list of
// the machine that runs them: a secret must never be an argument.
package runner
