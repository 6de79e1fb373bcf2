package rules

import "golang.org/x/sys/unix"

// allowArch are further allowed calls of this architecture: the old ones.
var allowArch = []uintptr{
	unix.SYS_ACCESS, unix.SYS_ALARM, unix.SYS_ARCH_PRCTL, unix.SYS_CHMOD, unix.SYS_CHOWN, unix.SYS_CREAT,
	unix.SYS_DUP2, unix.SYS_EPOLL_CREATE, unix.SYS_EPOLL_WAIT, unix.SYS_EVENTFD, unix.SYS_FORK,
	unix.SYS_FUTIMESAT, unix.SYS_GETDENTS, unix.SYS_GETPGRP, unix.SYS_INOTIFY_INIT, unix.SYS_LCHOWN,
	unix.SYS_LINK, unix.SYS_LSTAT, unix.SYS_MKDIR, unix.SYS_MKNOD, unix.SYS_OPEN, unix.SYS_PAUSE,
	unix.SYS_PIPE, unix.SYS_POLL, unix.SYS_READLINK, unix.SYS_RENAME, unix.SYS_RMDIR, unix.SYS_SELECT,
	unix.SYS_SIGNALFD, unix.SYS_STAT, unix.SYS_SYMLINK, unix.SYS_TIME, unix.SYS_UNLINK, unix.SYS_UTIME,
	unix.SYS_UTIMES, unix.SYS_VFORK,
}

// forbidArch are further forbidden calls of this architecture.
var forbidArch = []uintptr{
	unix.SYS__SYSCTL, unix.SYS_AFS_SYSCALL, unix.SYS_CREATE_MODULE, unix.SYS_EPOLL_CTL_OLD,
	unix.SYS_EPOLL_WAIT_OLD, unix.SYS_GET_KERNEL_SYMS, unix.SYS_GETPMSG, unix.SYS_IOPERM, unix.SYS_IOPL,
	unix.SYS_MODIFY_LDT, unix.SYS_PUTPMSG, unix.SYS_QUERY_MODULE, unix.SYS_SECURITY, unix.SYS_SYSFS,
	unix.SYS_TUXCALL, unix.SYS_USELIB, unix.SYS_USTAT, unix.SYS_VSERVER,
}

// modeArch are further calls of this architecture that take the mode of a file.
var modeArch = map[uintptr]modeArgument{
	unix.SYS_CHMOD: {index: 1}, unix.SYS_CREAT: {index: 1}, unix.SYS_MKNOD: {index: 1},
	unix.SYS_OPEN: {index: 2, creates: true},
}
