//! Copies from memory to the chip that go on by themselves, and waiting for launches before: operations of our own in cubecl's IR, whose
//! frontend has neither for LLVM (see `simd/ops.rs`).

use crate::ptx_text::WAITS_HERE;
use cubecl::prelude::*;
use cubecl_core::ir::{CanMaterialize, HasSideEffects, attributes::IndexAttr, prelude::*};
use cubecl_llvm::shared::{
    intrinsic::call_op,
    to_llvm::{
        ToLLVMDialect,
        prelude::{CastOpInterface, LlvmPointerType, VoidType, insert, insert_i32_const, llvm},
    },
};

/// LLVM's numbers of address spaces. (*User Guide for NVPTX Back-end*, Address Spaces)
const GLOBAL: u32 = 1;
const SHARED: u32 = 3;

/// Copies 16 bytes from memory to the chip, past the first cache. (PTX ISA 8.7, section 9.7.9.25.3.1)
#[cube_op(name = "swint.copy")]
#[result_ty(none)]
#[op_traits(CanMaterialize, HasSideEffects)]
struct Copy {
    from: Value,
    to: Value,
    /// How many: 16, 8 or 4.
    bytes: IndexAttr,
}

#[op_interface_impl]
impl ToLLVMDialect for Copy {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let (from, to, bytes) = (self.from(ctx), self.to(ctx), self.bytes(ctx).0);
        let [to, from] = [(to, SHARED), (from, GLOBAL)].map(|(pointer, space)| {
            let ty = LlvmPointerType::get(ctx, space).into();
            let cast = llvm::AddrSpaceCastOp::new(ctx, pointer, ty);
            insert(ctx, rewriter, &cast)
        });
        let cache = if bytes == 16 { "cg" } else { "ca" };
        let name = format!("llvm.nvvm.cp.async.{cache}.shared.global.{bytes}");
        call(self, ctx, rewriter, &name, vec![to, from])
    }
}

/// Ends a group of copies. (section 9.7.9.25.3.2)
#[cube_op(name = "swint.commit")]
#[result_ty(none)]
#[op_traits(CanMaterialize, HasSideEffects)]
struct Commit {}

#[op_interface_impl]
impl ToLLVMDialect for Commit {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        call(self, ctx, rewriter, "llvm.nvvm.cp.async.commit.group", Vec::new())
    }
}

/// Waits until at most so many groups of the unit's copies are on their way. (section 9.7.9.25.3.3)
#[cube_op(name = "swint.wait")]
#[result_ty(none)]
#[op_traits(CanMaterialize, HasSideEffects)]
struct Wait {
    left: IndexAttr,
}

#[op_interface_impl]
impl ToLLVMDialect for Wait {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let left = self.left(ctx).0 as i32;
        let left = insert_i32_const(ctx, rewriter, left);
        call(self, ctx, rewriter, "llvm.nvvm.cp.async.wait.group", vec![left])
    }
}

/// Where a kernel waits for the launches before.
#[cube_op(name = "swint.launches")]
#[result_ty(none)]
#[op_traits(CanMaterialize, HasSideEffects)]
struct Launches {}

#[op_interface_impl]
impl ToLLVMDialect for Launches {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let ty = VoidType::get(ctx).into();
        let asm = llvm::InlineAsmOp::new(ctx, ty, Vec::new(), WAITS_HERE, "~{memory}", true);
        rewriter.insert_op(ctx, &asm);
        rewriter.erase_operation(ctx, self.get_operation());
        Ok(())
    }
}

/// Makes an operation without a result a call of LLVM's intrinsic.
fn call(
    op: &impl Op,
    ctx: &mut Context,
    rewriter: &mut DialectConversionRewriter,
    name: &str,
    operands: Vec<Value>,
) -> Result<()> {
    let ty = VoidType::get(ctx).into();
    let call = call_op(ctx, name, ty, operands);
    rewriter.insert_op(ctx, &call);
    rewriter.erase_operation(ctx, op.get_operation());
    Ok(())
}

/// Begins to copy an element of 16, 8 or 4 bytes from memory to the chip.
#[cube]
#[allow(unused_variables)]
pub(super) fn copy<T: CubePrimitive>(from: &T, to: &mut T) {
    intrinsic!(|scope| {
        let bytes = T::__expand_size(scope);
        let (from, to) = (from.value(scope), to.value(scope));
        scope.register(&Copy::new(scope.ctx_mut(), from, to, bytes));
    })
}

/// [`Commit`].
#[cube]
pub(super) fn commit() {
    intrinsic!(|scope| scope.register(&Commit::new(scope.ctx_mut())))
}

/// [`Wait`].
#[cube]
#[allow(unused_variables)]
pub(super) fn wait(#[comptime] left: usize) {
    intrinsic!(|scope| scope.register(&Wait::new(scope.ctx_mut(), left)))
}

/// [`Launches`]. Once in a kernel, where all units come by: what is before it may touch constants only.
#[cube]
pub(super) fn wait_for_launches() {
    intrinsic!(|scope| scope.register(&Launches::new(scope.ctx_mut())))
}
