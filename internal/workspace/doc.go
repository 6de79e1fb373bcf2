// Package workspace reads and writes the files of a workspace from the machine's
// side: single files, trees as tar streams, and snapshots of the whole. The gate
// uses it for the hosts' uploads and downloads, for snapshots and for forks.
//
// A workspace is hostile ground: its files were made by programs that may still
// work in it. Every path is resolved beneath the workspace by os.Root, so that no
// symbolic link and no rename leads out of it; only regular files are ever opened;
// what is written never goes through an existing link. Set-user-id bits, device
// files and owners of an archive are never taken over. The package decides nothing
// and keeps no state but the snapshots.
package workspace
