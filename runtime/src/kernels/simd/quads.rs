//! `vpdpbusd`, which adds four products of bytes to each lane, as an operation of cubecl's IR.
//!
//! cubecl's frontend has no such operation, and LLVM finds it in no other. But its IR is open to operations of others, as long as
//! they say what they become in LLVM's.

use cubecl::prelude::*;
use cubecl_core::ir::{CanMaterialize, Pure, prelude::*};
use cubecl_llvm::shared::{
    intrinsic::call_op,
    to_llvm::{
        ToLLVMDialect,
        prelude::{cube_type_to_llvm, llvm_mangled_ty},
    },
};

/// `sums[i] + Σⱼ x[4i+j] · w[4i+j]`, of unsigned x and signed w, modulo 2^32 (Intel, *Instruction Set Reference*, VPDPBUSD).
#[cube_op(name = "swint.vpdpbusd")]
#[result_ty(same_as = sums)]
#[op_traits(Pure, CanMaterialize)]
struct Vpdpbusd {
    sums: Value,
    x: Value,
    w: Value,
}

#[op_interface_impl]
impl ToLLVMDialect for Vpdpbusd {
    fn rewrite(&self, ctx: &mut Context, rewriter: &mut DialectConversionRewriter, _: &OperandsInfo) -> Result<()> {
        let ty = cube_type_to_llvm(ctx, self.get_result(ctx).get_type(ctx));
        let (sums, x, w) = (self.sums(ctx), self.x(ctx), self.w(ctx));
        // LLVM has it of 256 bits for processors with AVX-VNNI, too.
        let name = match &*llvm_mangled_ty(ctx, ty) {
            "v16i32" => "llvm.x86.avx512.vpdpbusd.512",
            "v8i32" => "llvm.x86.avx512.vpdpbusd.256",
            other => unreachable!("no vector of {other} has quads"),
        };
        let call = call_op(ctx, name, ty, vec![sums, x, w]);
        rewriter.insert_op(ctx, &call);
        rewriter.replace_operation_with_values(ctx, self.get_operation(), vec![call.get_result(ctx)]);
        Ok(())
    }
}

/// [`Vpdpbusd`]. x and w have four elements for each of `sums`.
#[cube]
#[allow(unused_variables)]
pub(super) fn dot<L: Size, B: Size>(sums: Vector<i32, L>, x: Vector<u8, B>, w: Vector<i8, B>) -> Vector<i32, L> {
    intrinsic!(|scope| {
        let (sums, x, w) = (sums.read_value(scope), x.read_value(scope), w.read_value(scope));
        let op = Vpdpbusd::new(scope.ctx_mut(), sums, x, w);
        scope.register_with_result(&op).into()
    })
}
