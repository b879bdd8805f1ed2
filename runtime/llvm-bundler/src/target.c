/* llvm-c/Target.h defines the target initialisers as `static inline`, which have no symbol to link against.
 * llvm-sys declares them under these names. */
#include <llvm-c/Target.h>

#define FORWARD_VOID(NAME) \
  void LLVM_##NAME(void) { LLVM##NAME(); }
#define FORWARD_BOOL(NAME) \
  LLVMBool LLVM_##NAME(void) { return LLVM##NAME(); }

FORWARD_VOID(InitializeAllTargetInfos)
FORWARD_VOID(InitializeAllTargets)
FORWARD_VOID(InitializeAllTargetMCs)
FORWARD_VOID(InitializeAllAsmPrinters)
FORWARD_VOID(InitializeAllAsmParsers)
FORWARD_VOID(InitializeAllDisassemblers)
FORWARD_BOOL(InitializeNativeTarget)
FORWARD_BOOL(InitializeNativeAsmParser)
FORWARD_BOOL(InitializeNativeAsmPrinter)
FORWARD_BOOL(InitializeNativeDisassembler)
