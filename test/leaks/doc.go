// Package leaks sends the real daemon many calls of all kinds, the hostile ones
// among them, and then counts what it has on the machine: processes, control
// groups, mounts, namespaces, open files, goroutines, containers, snapshots and
// disk have to be back where they were before. `make leaks` makes 10,000 calls;
// the tests make some hundred. It counts only what belongs to the daemon that it
// started, so that it can run beside others, and must never be imported.
package leaks
