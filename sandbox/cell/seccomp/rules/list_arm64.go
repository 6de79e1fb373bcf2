package rules

// allowArch are further allowed calls of this architecture: it has no old ones.
var allowArch []uintptr

// forbidArch are further forbidden calls of this architecture.
var forbidArch []uintptr

// modeArch are further calls of this architecture that take the mode of a file.
var modeArch map[uintptr]modeArgument
