// Package changeset takes what a program left in the upper directory of an overlay
// and makes it part of the directory below as a whole, or not at all: Read lists
// what is changed, Stage copies it beside the directory, Commit moves it there, and
// Recover ends a commit that was interrupted. The containerd runtime makes the
// overlays, the gate decides on the changes and commits them. Watches tell what was
// changed in a directory by a program that worked on that itself.
//
// Whatever is in the upper directory and in the directory below may have been made
// by a hostile program, which may still work in the latter. Nothing here ever
// follows a symbolic link, opens anything but regular files and directories, leaves
// the directories that it was given, or keeps a set-user-id bit. It decides nothing.
package changeset
