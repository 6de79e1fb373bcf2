package seccomp

// allowArch are further allowed calls of this architecture: it has no old ones.
var allowArch []uintptr

// forbidArch are further forbidden calls of this architecture.
var forbidArch []uintptr
