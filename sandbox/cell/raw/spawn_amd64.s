#include "textflag.h"

// func cloneOn(flags, stack uintptr, role *machine, pc, parentTID uintptr) (pid uintptr, errno syscall.Errno)
//
// The child jumps to interpret as if that had been called on the new stack, which
// nobody has: interpret never returns. The jump goes through a register, or the linker
// would see nosplit code that calls itself.
TEXT ·cloneOn(SB), NOSPLIT|NOFRAME, $0-56
	MOVQ	stack+8(FP), SI
	MOVQ	role+16(FP), R8
	MOVQ	pc+24(FP), R9
	SUBQ	$32, SI
	MOVQ	$0, 0(SI)	// where interpret would return to
	MOVQ	R8, 8(SI)
	MOVQ	R9, 16(SI)
	MOVQ	flags+0(FP), DI
	MOVQ	parentTID+32(FP), DX
	XORL	R10, R10
	XORL	R8, R8
	LEAQ	·interpret(SB), R12
	MOVQ	$56, AX		// clone
	SYSCALL
	TESTQ	AX, AX
	JEQ	child
	CMPQ	AX, $0xfffffffffffff001
	JLS	parent
	NEGQ	AX
	MOVQ	$-1, pid+40(FP)
	MOVQ	AX, errno+48(FP)
	RET
parent:
	MOVQ	AX, pid+40(FP)
	MOVQ	$0, errno+48(FP)
	RET
child:
	XORL	BP, BP
	JMP	R12
